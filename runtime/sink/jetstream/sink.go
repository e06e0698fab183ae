package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// Open returns a sink; it connects with the first Claim.
func Open(cfg Config, env sink.Env) (*stream.Sink, error) {
	tpl, err := subject.Parse(cfg.Subject)
	if err != nil {
		return nil, err
	}
	control := tpl.Control(env.Pipeline)
	return stream.Open(stream.Spec{
		Name: cfg.Stream, Section: "sink.jetstream", Control: control, History: control,
		Settings: cfg.wanted(tpl, env.Pipeline), SyncAlways: env.SyncAlways, WholeTx: cfg.Atomic, Shared: cfg.shared(),
		GapsAccepted: cfg.GapsAccepted, DeadLetters: cfg.DeadLetters.Beside(cfg.Stream),
		Claims: cfg.ClaimsBucket(), ClaimsBytesMax: int64(cfg.Claims.MaxBytes), RefuseLarge: cfg.TooLarge == stream.TooLargeDeadLetter,
	}, env), nil
}

// wanted is how the stream should be.
func (c *Config) wanted(tpl *subject.Template, pipeline string) jetstream.StreamConfig {
	s := stream.Settings(c.Stream, pipeline, tpl.All(pipeline))
	s.MaxAge, s.Replicas = c.MaxAge.Std(), c.Replicas
	if c.MaxBytes > 0 {
		s.MaxBytes = int64(c.MaxBytes)
	}
	if c.shared() { // nobody's alone; the broker drops what is sent again within two minutes
		s.Description, s.Metadata = "changes written by cdcd, and others", nil
		s.Duplicates = 2 * time.Minute
	}
	return s
}

// examine implements sink.Kind's Examine.
func examine(ctx context.Context, config any, env sink.Env) []checkup.Result {
	s, err := Open(*config.(*Config), env)
	if err != nil {
		return []checkup.Result{stream.Failed("stream", err)}
	}
	return s.Examine(ctx)
}
