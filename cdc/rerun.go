package cdc

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// Rerunner is what a source has that reads to an end and can do so again, from
// the beginning, as often as it is asked to: each time is a run. What is known of
// a run is part of the positions of what it gives, so that wherever delivery
// stands, the position says in which run.
type Rerunner interface {
	// Rerun returns the position at which a run begins: as of now, behind base in
	// the order of positions, with the run noted in it. It checks what a beginning
	// needs, as Initial does.
	Rerun(ctx context.Context, base sdk.Position, r Run) (sdk.Position, error)
	// RunOf returns the run that a position belongs to; the zero Run for none.
	RunOf(pos sdk.Position) (Run, error)
	// EndRun returns the position behind the run that pos belongs to.
	EndRun(pos sdk.Position) (sdk.Position, error)
}

// Run is one of the runs of a Rerunner.
type Run struct {
	Number uint64 `json:"n"` // rises from run to run, from 1
	// Due is when the run was to begin, and Began when it did; in milliseconds
	// since the Unix epoch.
	Due   int64 `json:"due"`
	Began int64 `json:"began"`
	// Messages is how many data messages the sink had when it began.
	Messages uint64 `json:"m"`
	// Ended says that the run is delivered, and that the sink was told so.
	Ended bool `json:"end,omitempty"`
}

// DueAt returns Due as a time.
func (r Run) DueAt() time.Time { return time.UnixMilli(r.Due).UTC() }

// BeganAt returns Began as a time.
func (r Run) BeganAt() time.Time { return time.UnixMilli(r.Began).UTC() }
