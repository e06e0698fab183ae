package sinktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// Run is what a pipeline does with a sink: claim, publish from where the sink
// says, keep the checkpoint's hint.
type Run struct {
	Feed *Feed
	Hint sink.Hint // the last checkpoint's; brought up to date as groups are confirmed
	// Groups is how many groups are published; 0 for as many as ctx allows.
	Groups int
	Seed   uint64
	// Pause is called before each group, for writers that freeze; nil for none.
	Pause func()
	// Confirmed counts the data messages that were confirmed.
	Confirmed int
	// Anchor is what the last claim said.
	Anchor sink.Anchor

	exact bool // the last group, or the anchor, ends between transactions
}

// Do claims the sink and publishes, until Groups are confirmed, ctx ends, or
// something is wrong. Faults of class Retryable from Wait are waited out,
// except for those that a new claim must resolve: these are returned.
func (r *Run) Do(ctx context.Context, s sink.Sink) error {
	a, err := s.Claim(ctx, r.Hint, initialOf(r.Feed))
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	r.Anchor, r.exact = a, a.At.Tx == ""
	cursor, err := r.Feed.From(a)
	if err != nil {
		return err
	}
	if a.Messages != cursor.Messages() {
		return fmt.Errorf("the anchor %+v has %d messages before it, not %d", a, cursor.Messages(), a.Messages)
	}
	r.Hint.Messages = a.Messages
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.publish(run, s, cursor); err != nil {
			cancel(err)
		}
	})
	err = r.confirm(run, s)
	cancel(err)
	wg.Wait()
	if cause := context.Cause(run); err != nil && cause != nil {
		return cause
	}
	return err
}

func (r *Run) publish(ctx context.Context, s sink.Sink, cursor *Cursor) error {
	rng := rand.New(rand.NewPCG(r.Seed, 3))
	for i := 0; r.Groups == 0 || i < r.Groups; i++ {
		if r.Pause != nil {
			r.Pause()
		}
		var g *sink.Group
		switch rng.IntN(16) {
		case 0:
			g = cursor.Empty()
		case 1:
			g = cursor.Heartbeat()
		default:
			g = cursor.Next(rng.IntN(40)+1, rng.IntN(3) == 0)
		}
		if err := s.Publish(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) confirm(ctx context.Context, s sink.Sink) error {
	for next := uint64(0); r.Groups == 0 || next < uint64(r.Groups); {
		confirmed, err := s.Wait(ctx)
		if retry := fault.HasCode(err, sink.CodeStreamFull) || fault.HasCode(err, sink.CodeSinkUnreachable); retry {
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			return err
		}
		if len(confirmed) == 0 {
			return errors.New("Wait returned neither groups nor an error")
		}
		for _, c := range confirmed {
			if c.Group.Number != next {
				return fmt.Errorf("group %d confirmed, want %d", c.Group.Number, next)
			}
			next++
			r.note(c)
		}
	}
	return nil
}

// note is the checkpoint: what the pipeline writes down of a confirmed group.
func (r *Run) note(c sink.Confirmed) {
	msgs := c.Group.Messages
	for i := range msgs {
		if msgs[i].Kind == sink.KindData {
			r.Confirmed++
			r.Hint.Messages++
		}
	}
	if n := len(msgs); n > 0 { // an empty group ends where the one before it did
		r.exact = msgs[n-1].TxLast || msgs[n-1].Place.Tx == ""
	}
	r.Hint.Token, r.Hint.Position, r.Hint.Exact = c.Token, c.Group.End, r.exact
}

func initialOf(f *Feed) func(context.Context) (sdk.Position, error) {
	return func(context.Context) (sdk.Position, error) { return f.Initial(), nil }
}
