package pipeline

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// CodePositionRefused is the code of the fault of an order to move the position
// that can't be carried out. It is withdrawn with it.
const CodePositionRefused = "position_refused"

// move carries out a person's order to go on elsewhere in the log, if there is
// one, and returns the anchor from there on.
//
// The sink decides where delivery stands, so it is told: a heartbeat with the new
// position, confirmed before anything is read. The order is taken away once it is;
// a crash before that puts another one behind it, with nothing between. What
// connectors keep goes back with the position.
func (a *attempt) move(ctx context.Context, anchor sink.Anchor, last state.Checkpoint, again bool) (sink.Anchor, state.Checkpoint, error) {
	p := a.p
	order, ok, err := p.spec.State.MoveOrdered()
	if err != nil || !ok {
		return anchor, last, err
	}
	to, err := a.locate(ctx, anchor, order, again)
	if err != nil {
		if fault.Of(err).Class != fault.Retryable { // it would be refused for ever
			if derr := p.spec.State.MoveDone(nil); derr != nil {
				return anchor, last, derr
			}
		}
		return anchor, last, err
	}
	if _, err := p.spec.State.RollBack(state.Cut{Base: to, Messages: anchor.Messages, Replays: anchor.Replays, Moved: true}, func(end sdk.Position) (bool, error) { return p.spec.Source.Covers(to, end) }); err != nil {
		return anchor, last, err
	}
	moved := at(anchor, to)
	token, err := a.announce(ctx, a.renderer(moved).heartbeat(to, ""))
	if err != nil {
		return anchor, last, err
	}
	a.movedTo(&last, moved, token)
	if err := p.spec.State.MoveDone(&last); err != nil {
		return anchor, last, err
	}
	p.log.Warn("the position was moved, as ordered", "from", anchor.Base, "at", anchor.At.String(), "to", to)
	return moved, last, nil
}

// locate finds the ordered place and checks that it may be gone to.
func (a *attempt) locate(ctx context.Context, anchor sink.Anchor, order state.MoveOrder, again bool) (sdk.Position, error) {
	refuse := func(hint, format string, args ...any) error {
		return fault.New(fault.Environment, CodePositionRefused, a.p.spec.Name, hint, format, args...)
	}
	if again {
		return "", refuse("run the pipeline until it has caught up, then order it again", "the state is a copy that has not caught up with the sink")
	}
	if a.unfinished != nil {
		anchor.At = *a.unfinished
	}
	if anchor.At.Tx != "" && !anchor.Complete {
		return "", refuse("run the pipeline until it has delivered that transaction, stop it, then order it again",
			"delivery stands inside transaction %s: its rest would be missing", anchor.At.Tx)
	}
	if a.p.spec.Run != nil {
		return "", refuse("nothing to do: each run copies the tables as they are then", "each run of a pipeline with a schedule begins at the log's end")
	}
	locator, ok := a.p.spec.Source.(cdc.Locator)
	if !ok {
		return "", refuse("begin anew: give the pipeline and its sink new names", "a source of kind %s can't be told where to go on", a.p.spec.SourceKind)
	}
	to, err := locator.Locate(ctx, order.To)
	if err != nil || !order.Back {
		return to, err
	}
	back, err := a.p.spec.Source.Covers(anchor.Base, to)
	if err == nil && !back {
		return "", refuse("cdcd position set goes anywhere, and leaves out what lies between", "%s does not lie before %s, where delivery stands", order.To, anchor.Base)
	}
	return to, err
}

// announce gives the sink a group before anything is read, and waits until it has
// it.
func (a *attempt) announce(ctx context.Context, group *sink.Group) (token string, err error) {
	p := a.p
	if err := p.spec.Sink.Publish(ctx, group); err != nil {
		return "", err
	}
	for {
		confirmed, err := p.spec.Sink.Wait(ctx)
		if err != nil {
			return "", err
		}
		for _, c := range confirmed {
			if c.Group == group {
				return c.Token, nil
			}
		}
	}
}
