package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/deadletters"
	"github.com/cdcd-io/cdcd/state"
)

const (
	deadBatch    = 50 // dead letters published between two notes of it
	deadRetryMin = time.Second
	deadRetryMax = time.Minute
	// deadDrain is how long the last dead letters of a pipeline that has ended may take.
	deadDrain = 5 * time.Second
)

// deadPublisher publishes what a pipeline keeps of refused rows, in the
// background: a stream that can't be reached holds up nothing, and what it lacks
// stays noted in the state.
type deadPublisher struct {
	letters *DeadLetters
	news    <-chan struct{}
	to      *deadletters.Publisher
	log     *slog.Logger
}

// deadPublisher returns nil where nothing is to be published.
func (b *builder) deadPublisher(c config.Pipeline) (*deadPublisher, error) {
	d, ok := c.Sink.Value.(sink.DeadLettered)
	if !ok || !slices.ContainsFunc(c.Steps, func(s config.Step) bool { return s.OnError == config.OnErrorDeadLetter }) {
		return nil, nil
	}
	want, ok := d.DeadLetterStream()
	if !ok {
		return nil, nil
	}
	letters, err := OpenDeadLetters(b.store, c.Name, c.Source.Kind)
	if err != nil {
		return nil, err
	}
	to := deadletters.New(c.Name, want, func(ctx context.Context) (*nats.Conn, error) { return b.nats.conn(ctx, c.Name+".dlq") })
	return &deadPublisher{letters: letters, news: letters.kept.Outbox(), to: to, log: b.d.log.With("pipeline", c.Name, "stream", want.Name)}, nil
}

// run publishes until ctx ends, and then what is left, for a while. A failing state
// ends it: the pipeline says why.
func (p *deadPublisher) run(ctx context.Context) {
	wait, told := deadRetryMin, ""
	timer := time.NewTimer(0) // what an earlier run has left
	defer timer.Stop()
	for {
		select {
		case <-p.news:
		case <-timer.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadDrain)
			defer cancel()
			if err := p.publish(last); err != nil {
				p.log.Info("dead letters are left to be published by the next start", "error", err)
			}
			return
		}
		err := p.publish(ctx)
		if err == nil {
			wait, told = deadRetryMin, ""
			continue
		}
		if f := fault.Of(err); f.Code != told && ctx.Err() == nil {
			told = f.Code
			p.log.Warn("dead letters are kept, and can't be published", "error", err, "hint", f.Hint)
		}
		timer.Reset(wait)
		wait = min(2*wait, deadRetryMax)
	}
}

// publish publishes what is in the outbox.
func (p *deadPublisher) publish(ctx context.Context) error {
	for {
		kept, err := p.letters.kept.Unpublished(deadBatch)
		if err != nil || len(kept) == 0 {
			return err
		}
		list := make([]deadletters.Letter, len(kept))
		for i := range kept {
			list[i] = p.letter(&kept[i])
		}
		n, err := p.to.Publish(ctx, list)
		if err := errors.Join(err, p.letters.kept.Published(kept[:n])); err != nil {
			return err
		}
	}
}

// letter renders a dead letter as the API shows it.
func (p *deadPublisher) letter(d *state.DeadLetter) deadletters.Letter {
	row := d.Batch.Row(0)
	short := p.letters.describe(d)
	full := short
	full.Key, full.Content = p.letters.render(row)
	short.Key = full.Key
	s := row.Schema()
	return deadletters.Letter{ID: short.ID, Step: d.Step, DB: s.DB, Table: s.Table, Body: asJSON(full), Short: asJSON(short)}
}

func asJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // of strings, numbers and JSON
		panic(err)
	}
	return text
}
