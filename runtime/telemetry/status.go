package telemetry

import "time"

// Status is one pipeline at one moment. Counters count since the pipeline was
// started.
type Status struct {
	Pipeline string    `json:"pipeline"`
	State    string    `json:"state"` // a word: "streaming", "halted"
	Reason   string    `json:"reason,omitempty"`
	Code     string    `json:"code,omitempty"` // of the fault behind the state, for cdcd explain
	Since    time.Time `json:"since"`
	// Ready says that the state is one in which data flows or could flow.
	Ready bool `json:"ready"`

	Source Source `json:"source"`
	Steps  []Step `json:"steps"`
	Sink   Sink   `json:"sink"`

	// LagSeconds is now minus the commit time of the last acknowledged
	// transaction while there is something to deliver, else 0.
	LagSeconds   float64   `json:"lag_seconds"`
	DeadLetters  uint64    `json:"dead_letters"`
	Checkpoints  uint64    `json:"checkpoints"`
	CheckpointAt time.Time `json:"checkpoint_at"` // zero before the first
}

// Source is what a pipeline's source has done.
type Source struct {
	Kind         string `json:"kind"`
	Connected    bool   `json:"connected"`
	Position     string `json:"position"` // for people: "binlog.000007:4711"
	Rows         uint64 `json:"rows"`
	Bytes        uint64 `json:"bytes"`
	Transactions uint64 `json:"transactions"`
	Reconnects   uint64 `json:"reconnects"`
}

// Step is what a step has done with the rows that it was given.
type Step struct {
	Name        string `json:"name"`
	Module      string `json:"module"`
	Digest      string `json:"digest,omitempty"`
	Rows        uint64 `json:"rows"`
	Dropped     uint64 `json:"dropped"`
	DeadLetters uint64 `json:"dead_letters"`
	MemoryBytes uint64 `json:"memory_bytes"` // linear memory of its instance
}

// Sink is what a pipeline's sink has confirmed.
type Sink struct {
	Kind     string `json:"kind"`
	Messages uint64 `json:"messages"` // of data; control messages are not counted
	Bytes    uint64 `json:"bytes"`
}
