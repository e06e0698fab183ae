package pipeline

import (
	"context"

	"github.com/cdcd-io/cdcd/sdk"
)

// Step is one connector of a pipeline. It is used by one goroutine.
type Step interface {
	// Name is unique in the pipeline.
	Name() string
	// OnError says what becomes of rows that the step refuses.
	OnError() OnError
	// Process runs the step over a batch. The same rows give the same output,
	// however they are cut into batches.
	Process(ctx context.Context, in *sdk.Batch) (Output, error)
	// Memory returns the bytes that the step's instance holds now. It may be
	// called from any goroutine.
	Memory() int64
	// Close ends the step and returns what it gave back: the unload receipt.
	Close(ctx context.Context) (receipt any, err error)
}

// Output is what a step made of a batch, good until its next Process.
type Output struct {
	// Batch has the rows to go on with, in the order of the input. Its directory
	// of transactions is the input's, entry for entry; rows that replace one row
	// follow each other and have its ordinal.
	Batch *sdk.Batch
	// Failed are the input rows that the step refused, in order. They are not in
	// Batch.
	Failed []Failure
	// Dropped is how many input rows the step left out.
	Dropped int
	// Writes are what the step's connector changed in its values, in order.
	Writes []Write
}

// Write is a change that a connector made to its values for an input row.
type Write struct {
	Row        int // index in the input
	Key, Value []byte
	Gone       bool // deleted
}

// Failure is an input row that a step refused.
type Failure struct {
	Row    int // index in the input
	Reason string
}

// OnError says what becomes of a row that a step refuses.
type OnError string

// The policies for refused rows.
const (
	Halt       OnError = "halt"
	DeadLetter OnError = "dead_letter"
	Skip       OnError = "skip"
)

// Receipt is what a step gave back when it ended.
type Receipt struct {
	Step    string `json:"step"`
	Receipt any    `json:"receipt,omitempty"`
	Error   string `json:"error,omitempty"`
}
