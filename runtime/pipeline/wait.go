package pipeline

import (
	"context"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/state"
)

// askSink claims the sink, and returns where delivery stands.
func (a *attempt) askSink(ctx context.Context, last state.Checkpoint) (sink.Anchor, error) {
	p := a.p
	hint := sink.Hint{Token: last.Token, Position: last.Position, Exact: last.Exact, Messages: last.Messages,
		Replays: last.Replays, Claiming: func(epoch uint64) error { return p.spec.State.Claiming(epoch, last.Restored) }}
	anchor, err := p.spec.Sink.Claim(ctx, hint, p.spec.Source.Initial)
	if err == nil {
		a.behindReplayed(&anchor)
	}
	return anchor, err
}

// wait receives the sink's confirmations, in order.
func (a *attempt) wait(ctx context.Context) error {
	defer close(a.confirmed)
	var pending []sink.Confirmed
	for f := range a.sent {
		if f.group != nil {
			a.p.count.waiting.Store(f.commitTime) // stays when this attempt fails: it is not confirmed
			for len(pending) == 0 {
				var err error
				if pending, err = a.p.spec.Sink.Wait(ctx); err != nil {
					f.release()
					return a.cause(ctx, err)
				}
			}
			if pending[0].Group != f.group {
				f.release()
				return fault.New(fault.Fatal, CodeSinkBroken, a.p.spec.Name, "this is a mistake in cdcd: please report it",
					"the sink confirmed another group than the next")
			}
			f.token = pending[0].Token
			pending = pending[1:]
			a.p.count.waiting.Store(0)
		}
		select {
		case a.confirmed <- f:
		case <-ctx.Done():
			f.release()
			return context.Cause(ctx)
		}
	}
	return nil
}
