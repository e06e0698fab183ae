package jetstream

import (
	"context"
	"log/slog"
	"time"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/sdk"
)

// Sink publishes one pipeline's messages to its stream. It implements
// sink.Sink and sink.LastWritten.
type Sink struct {
	cfg   Config
	env   sink.Env
	tpl   *subject.Template
	log   *streamLog
	chain *chain.Chain
}

// Open returns a Sink; it connects with the first Claim.
func Open(cfg Config, env sink.Env) (*Sink, error) {
	tpl, err := subject.Parse(cfg.Subject)
	if err != nil {
		return nil, err
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	log := newStreamLog(cfg.Stream, tpl.Control(env.Pipeline))
	return &Sink{cfg: cfg, env: env, tpl: tpl, log: log, chain: chain.New(chain.Config{
		Pipeline:     env.Pipeline,
		Stream:       cfg.Stream,
		Control:      tpl.Control(env.Pipeline),
		Fingerprint:  env.Fingerprint,
		Now:          env.Now,
		Log:          env.Log,
		GapsAccepted: cfg.GapsAccepted,
	}, log)}, nil
}

// Claim implements sink.Sink. It makes the stream if it is not there.
func (s *Sink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return sink.Anchor{}, err
	}
	if err := s.ensureStream(ctx, nc, hint); err != nil {
		return sink.Anchor{}, err
	}
	if err := s.log.use(nc); err != nil {
		return sink.Anchor{}, err
	}
	return s.chain.Claim(ctx, hint, initial)
}

// Publish implements sink.Sink.
func (s *Sink) Publish(ctx context.Context, g *sink.Group) error { return s.chain.Publish(ctx, g) }

// Wait implements sink.Sink.
func (s *Sink) Wait(ctx context.Context) ([]sink.Confirmed, error) { return s.chain.Wait(ctx) }

// LastWritten implements sink.LastWritten.
func (s *Sink) LastWritten(ctx context.Context) (time.Time, error) {
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.log.use(nc); err != nil {
		return time.Time{}, err
	}
	return s.chain.LastWritten(ctx)
}

// Close implements sink.Sink.
func (s *Sink) Close(ctx context.Context) error {
	err := s.chain.Close(ctx)
	s.log.close()
	return err
}
