package pipeline

import (
	"context"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// ReplayPreview is what would become of a dead letter.
type ReplayPreview struct {
	ReplayResult
	Messages []PreviewMessage
}

// PreviewMessage is a message that would be published.
type PreviewMessage struct{ Subject, Key, Body string }

// Preview tells what would become of dead letters, in instances of the steps of its
// own, and changes nothing. What connectors keep is as the last batch left it: each
// letter is looked at as if it were the only one. It may be called in any state.
func (p *Pipeline) Preview(ctx context.Context, letters []state.DeadLetterKey, force bool, f func(ReplayPreview)) error {
	q := *newPreview(p)
	a := &attempt{p: &q}
	a.render = a.renderer(sink.Anchor{})
	defer a.closeSteps(ctx)
	var err error
	if q.spec.Steps != nil {
		if a.steps, err = q.spec.Steps(ctx); err != nil {
			return err
		}
	}
	for _, k := range letters {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		one, err := a.preview(ctx, k, force)
		if err != nil {
			return err
		}
		f(one)
	}
	return nil
}

// newPreview returns a pipeline whose condition is nobody's.
func newPreview(p *Pipeline) *Pipeline { return New(p.spec) }

func (a *attempt) preview(ctx context.Context, k state.DeadLetterKey, force bool) (one ReplayPreview, err error) {
	one.ReplayResult = ReplayResult{Letter: k, Outcome: Replayed}
	d, from, ok, err := a.mayReplay(&one.ReplayResult, force)
	if err != nil || !ok {
		return one, err
	}
	a.seq++
	d.Batch.SetSeq(a.seq)
	out, err := a.runSteps(ctx, a.steps[from:], d.Batch, &flight{}, func(_ Step, _ sdk.Row, reason string) error {
		one.Outcome, one.Reason = ReplayRefused, reason
		return nil
	})
	a.written = a.written[:0]
	if err != nil {
		return one, err
	}
	if out.Rows() == 0 && one.Outcome == Replayed {
		one.Outcome = ReplayDropped
	}
	group, err := a.render.replayed(out, "", newReplayed(k, 1), nil)
	if err != nil {
		return one, err
	}
	for i := range group.Messages {
		if m := &group.Messages[i]; m.Kind == sink.KindData {
			one.Messages = append(one.Messages, PreviewMessage{string([]byte(m.Subject)), string(m.Key), string(m.Body)})
		}
	}
	group.Done()
	return one, nil
}
