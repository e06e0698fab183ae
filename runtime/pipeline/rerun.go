package pipeline

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// RunSpec is the run that a pipeline is to do of a source that can be run again.
type RunSpec struct {
	// Number is that of the run, or of the first one that may be: where the sink has
	// been told of a later one, the run is that, or the one behind it.
	Number uint64
	// Due is when the run was to begin; in milliseconds. A run of the same time that
	// the sink has whole is this one.
	Due time.Time
	// Began, when set, is told which run it is, before the sink is.
	Began func(cdc.Run) error
}

// rerun is a run as an attempt does it.
type rerun struct {
	cdc.Run
	source cdc.Rerunner
	fresh  bool // the sink has not been told of it
}

// whichRun finds out by the sink's anchor in which run delivery stands, and which
// is to be done: one that was begun is gone on with. over says that the sink has
// all of it.
func (a *attempt) whichRun(anchor sink.Anchor) (over bool, err error) {
	p := a.p
	want := p.spec.Run
	if want == nil {
		return false, nil
	}
	source, ok := p.spec.Source.(cdc.Rerunner)
	if !ok {
		return false, fault.New(fault.Config, CodeNotRerun, p.spec.Name, "leave the schedule out", "a source of kind %s can't be run again", p.spec.SourceKind)
	}
	have, err := source.RunOf(anchor.Base)
	if err != nil {
		return false, err
	}
	due := want.Due.UnixMilli()
	switch a.rerun = (rerun{Run: have, source: source}); {
	case have.Number < want.Number, have.Ended && have.Due != due:
		a.rerun.Run = cdc.Run{Number: max(want.Number, have.Number+1), Due: due, Began: p.spec.Now().UnixMilli(), Messages: anchor.Messages}
		a.rerun.fresh = true
	case have.Ended:
		over = true
	}
	if want.Began != nil {
		err = want.Began(a.rerun.Run)
	}
	p.cond.mu.Lock()
	p.cond.run = a.rerun.Run
	p.cond.mu.Unlock()
	return over, err
}

// beginRun has the sink told that a run begins, if one does, at a position behind all before
// it, and confirmed that, before anything is read. What is known of tables'
// definitions is of the part of the log that earlier runs read: between the two
// nobody has followed them.
func (a *attempt) beginRun(ctx context.Context, anchor sink.Anchor, last state.Checkpoint) (sink.Anchor, state.Checkpoint, error) {
	p := a.p
	if !a.rerun.fresh {
		return anchor, last, nil
	}
	to, err := a.rerun.source.Rerun(ctx, anchor.Base, a.rerun.Run)
	if err != nil {
		return anchor, last, err
	}
	if err := p.spec.State.Schemas().Forget(); err != nil {
		return anchor, last, err
	}
	moved := at(anchor, to)
	token, err := a.announce(ctx, a.renderer(moved).runMessage(to, a.rerun.Run, nil))
	if err != nil {
		return anchor, last, err
	}
	a.movedTo(&last, moved, token)
	if err := p.spec.State.Commit(last); err != nil {
		return anchor, last, err
	}
	p.log.Info("run begun", "run", a.rerun.Number, "due", a.rerun.DueAt(), "position", to)
	return moved, last, nil
}

// endRun sends what says that the run is delivered, behind all of it.
func (a *attempt) endRun(ctx context.Context) error {
	if a.render.inside() {
		return fault.New(fault.Fatal, CodeSourceStopped, a.p.spec.Name, "this is a mistake in cdcd: please report it",
			"the source ended a run inside a transaction")
	}
	end, err := a.rerun.source.EndRun(a.end)
	if err != nil {
		return err
	}
	messages := a.data - a.rerun.Messages
	return a.told(ctx, a.render.runMessage(end, a.rerun.Run, &messages), end)
}

// at returns an anchor that stands at an exact position.
func at(a sink.Anchor, to sdk.Position) sink.Anchor {
	a.Base, a.At, a.Complete = to, sink.Place{}, false
	return a
}

// movedTo makes a checkpoint of where the sink was told that delivery stands.
func (a *attempt) movedTo(c *state.Checkpoint, to sink.Anchor, token string) {
	c.Position, c.Exact, c.Token, c.Time, c.Messages = to.Base, true, token, a.p.spec.Now(), to.Messages
	c.Replays = to.Replays
	c.At, c.Complete, c.Before, c.LogPos = "", false, to.Messages, ""
	c.Changes, _ = a.p.spec.State.Changed()
	c.Number++
}
