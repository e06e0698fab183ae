package stream

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/sdk"
)

// Spec says which stream a Sink writes, and how.
type Spec struct {
	Name    string // of the stream
	Section string // where it stands in the configuration, for hints: "sink.jetstream"
	Control string // subject of control messages; one of the stream's, without wildcards
	History string // subjects of the messages of KindHistory; may have wildcards
	// Settings is how the stream should be. One that is there must agree in what
	// delivery rests on; its limits follow if cdcd made it.
	Settings jetstream.StreamConfig
	// SyncAlways says that the server syncs before it answers: messages then go
	// in atomic batches, one sync each. WholeTx lets these hold whole transactions.
	SyncAlways, WholeTx bool
	// Shared says that others write to the stream, too. Settings.Subjects then has
	// the one pattern of this pipeline's subjects.
	Shared bool
	// Latest says that the stream keeps the last messages of each subject alone,
	// Settings.MaxMsgsPerSubject of them.
	Latest bool
	// DeadLetters is the stream of dead letters beside it; empty for none.
	DeadLetters string
	// GapsAccepted is how many messages deleted from the middle are known about.
	GapsAccepted uint64
	// Claims is the object store for the bodies of messages that are too large;
	// empty for none. ClaimsBytesMax is its limit; 0 for none.
	Claims         string
	ClaimsBytesMax int64
	// RefuseLarge leaves rows to be refused whose messages are too large.
	RefuseLarge bool
}

// batches reports whether messages go in atomic batches.
func (s *Spec) batches() bool { return s.WholeTx || s.SyncAlways && !s.Shared }

// Sink publishes one pipeline's messages to its stream. It implements
// sink.Sink, sink.LastWritten, sink.Historian, sink.Recounter, sink.Audited and sink.Bounded.
type Sink struct {
	spec  Spec
	env   sink.Env
	log   *streamLog
	chain *chain.Chain
	// claims is nil unless large bodies go to an object store.
	claims *claims
	audit  audit
}

// Open returns a Sink; it connects with the first Claim.
func Open(spec Spec, env sink.Env) *Sink {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	log := newStreamLog(spec.Name, spec.Control)
	var store *claims
	if spec.Claims != "" {
		store = &claims{bucket: spec.Claims, spec: &spec, env: &env}
	}
	log.need = spec.rights(env.Pipeline)
	return &Sink{spec: spec, env: env, log: log, claims: store, chain: chain.New(chain.Config{
		Atomic:       spec.batches(),
		WholeTx:      spec.WholeTx,
		Shared:       spec.Shared,
		Latest:       spec.Latest,
		Expires:      spec.Settings.MaxAge > 0,
		Pipeline:     env.Pipeline,
		Stream:       spec.Name,
		Control:      spec.Control,
		Fingerprint:  env.Fingerprint,
		Now:          env.Now,
		Log:          env.Log,
		GapsAccepted: spec.GapsAccepted,
	}, log)}
}

// Claim implements sink.Sink. It makes the stream if it is not there.
func (s *Sink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return sink.Anchor{}, err
	}
	if err := s.log.meet(ctx, nc); err != nil {
		return sink.Anchor{}, err
	}
	err = s.log.ask(ctx, []string{apiPrefix + "STREAM."}, func(ctx context.Context) error { return s.ensureStream(ctx, nc, hint) })
	if err != nil {
		return sink.Anchor{}, err
	}
	if err := s.log.use(nc); err != nil {
		return sink.Anchor{}, err
	}
	if s.claims != nil {
		if err := s.claims.ensure(ctx, nc); err != nil {
			return sink.Anchor{}, err
		}
	}
	if s.spec.batches() {
		if err := s.log.askAtomicMax(ctx); err != nil {
			return sink.Anchor{}, err
		}
	}
	return s.chain.Claim(ctx, hint, initial)
}

// Publish implements sink.Sink. It goes no further once Audit has found what a
// new claim would not accept.
func (s *Sink) Publish(ctx context.Context, g *sink.Group) error {
	if f := s.audit.halt.Load(); f != nil {
		return f
	}
	if s.claims != nil {
		for i := range g.Messages {
			if m := &g.Messages[i]; m.Claim == nil && !s.chain.Fits(g, m) {
				if err := s.claims.put(ctx, m, s.log.MessageBytesMax()); err != nil {
					return err
				}
			}
		}
	}
	return s.chain.Publish(ctx, g)
}

// refusedReserve is what headers may take of the server's max_payload, the
// position of a long history included, before a row is refused for its size.
const refusedReserve = 32 << 10

// RefusedBytes implements sink.Bounded. What it returns depends on the server
// alone, so that a row is refused or not wherever its batch begins.
func (s *Sink) RefusedBytes() int {
	if !s.spec.RefuseLarge {
		return 0
	}
	return RefusedBytes(s.log.MessageBytesMax())
}

// RefusedBytes returns for sink.Bounded how large a message may be where the server
// takes so many bytes with its headers.
func RefusedBytes(most int) int { return max(most-refusedReserve, most/2) }

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
	if s.claims != nil {
		s.claims.close()
	}
	return err
}
