package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// CodeStreamConfig is the code of a fault in the settings of a stream that is there.
const CodeStreamConfig = "stream_config"

// ownerKey is the metadata that a stream made by cdcd carries: its pipeline.
const ownerKey = "cdcd.pipeline"

const setupTimeout = 10 * time.Second

// wanted is how the stream should be. discard: new refuses messages rather
// than deletes unread ones; the database's log is the buffer then.
func (s *Sink) wanted() jetstream.StreamConfig {
	maxBytes := int64(s.cfg.MaxBytes)
	if maxBytes == 0 {
		maxBytes = -1
	}
	return jetstream.StreamConfig{
		Name:              s.cfg.Stream,
		Description:       "changes of pipeline " + s.env.Pipeline + ", written by cdcd",
		Subjects:          []string{s.tpl.All(s.env.Pipeline)},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxAge:            s.cfg.MaxAge.Std(),
		MaxBytes:          maxBytes,
		Replicas:          s.cfg.Replicas,
		DenyDelete:        true,
		DenyPurge:         true,
		AllowBatchPublish: true,
		Duplicates:        min(time.Second, max(s.cfg.MaxAge.Std(), time.Second)), // no message has an id
		Metadata:          map[string]string{ownerKey: s.env.Pipeline},
	}
}

// ensureStream makes the stream, or checks the one that is there. A stream
// that a checkpoint knows of is not made again in silence.
func (s *Sink) ensureStream(ctx context.Context, nc *nats.Conn, hint sink.Hint) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return s.setupFault(err)
	}
	st, err := js.Stream(ctx, s.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if hint.Token != "" {
			return goneFault(s.cfg.Stream)
		}
		if st, err = js.CreateStream(ctx, s.wanted()); err != nil {
			return s.setupFault(err)
		}
		return s.check(st.CachedInfo().Config) // an older server of a cluster leaves out what it doesn't know
	}
	if err != nil {
		return s.setupFault(err)
	}
	have := st.CachedInfo().Config
	if err := s.check(have); err != nil {
		return err
	}
	return s.adapt(ctx, js, have)
}

// adapt brings the limits of a stream that cdcd made to what the configuration says.
func (s *Sink) adapt(ctx context.Context, js jetstream.JetStream, have jetstream.StreamConfig) error {
	want := s.wanted()
	if have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.Replicas == want.Replicas {
		return nil
	}
	if have.Metadata[ownerKey] != s.env.Pipeline {
		s.env.Log.Warn("the stream's limits are not those of the configuration; it was not made by cdcd, so they stay",
			"stream", s.cfg.Stream, "max_age", have.MaxAge, "max_bytes", have.MaxBytes, "replicas", have.Replicas)
		return nil
	}
	have.MaxAge, have.MaxBytes, have.Replicas = want.MaxAge, want.MaxBytes, want.Replicas
	_, err := js.UpdateStream(ctx, have)
	return s.setupFault(err)
}

// check finds settings with which messages could be lost, doubled or refused.
func (s *Sink) check(have jetstream.StreamConfig) error {
	want := s.wanted()
	edit := "nats stream edit " + s.cfg.Stream + " "
	var found []error
	bad := func(wrong bool, hint, format string, args ...any) {
		if wrong {
			found = append(found, fault.New(fault.Environment, CodeStreamConfig, s.cfg.Stream, hint, format, args...))
		}
	}
	if owner := have.Metadata[ownerKey]; owner != "" && owner != s.env.Pipeline {
		bad(true, "give each pipeline a stream of its own", "the stream belongs to pipeline %s", owner)
	}
	bad(len(have.Subjects) != 1 || have.Subjects[0] != want.Subjects[0],
		fmt.Sprintf("%s--subjects '%s'", edit, want.Subjects[0]), "its subjects are %v, not %v", have.Subjects, want.Subjects)
	bad(have.Storage != jetstream.FileStorage, "make the stream anew with file storage", "it is kept in memory")
	bad(have.Retention != jetstream.LimitsPolicy, "make the stream anew with limits retention", "its retention deletes what was consumed")
	bad(have.Discard != jetstream.DiscardNew, edit+"--discard new", "it deletes old messages when it is full, read or not")
	bad(have.MaxMsgsPerSubject > 0, edit+"--max-msgs-per-subject=-1", "it keeps only %d messages of each subject", have.MaxMsgsPerSubject)
	bad(!have.AllowBatchPublish, edit+"--allow-batched", "it does not take batches (allow_batched)")
	bad(have.Sealed, "make the stream anew", "it is sealed")
	bad(have.NoAck, edit+"--ack", "it gives no acknowledgements (no_ack)")
	bad(have.Mirror != nil || len(have.Sources) > 0, "use a stream that nothing else feeds", "it is filled from other streams")
	bad(have.AllowRollup, edit+"--no-allow-rollup", "messages may roll it up (allow_rollup_hdrs)")
	bad(have.PersistMode == jetstream.AsyncPersistMode, "make the stream anew with the default persist mode", "it acknowledges before it writes (persist_mode: async)")
	bad(have.SubjectTransform != nil, "take the transform away", "it renames subjects")
	if !have.DenyDelete || !have.DenyPurge {
		s.env.Log.Warn("messages of the stream may be deleted: deny_delete and deny_purge are not both set", "stream", s.cfg.Stream)
	}
	return errors.Join(found...)
}

// setupFault makes what JetStream says about a stream into a fault; nil stays nil.
func (s *Sink) setupFault(err error) error {
	if err == nil {
		return nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		if api.ErrorCode == 10025 || api.Code == 503 {
			return unavailable(s.cfg.Stream, err)
		}
		return fault.New(fault.Environment, CodeStreamConfig, s.cfg.Stream,
			"look at what JetStream says: limits of the account or the server, or subjects that another stream has", "set up the stream: %w", err)
	}
	return unavailable(s.cfg.Stream, err)
}

func unavailable(stream string, err error) error {
	return fault.New(fault.Retryable, sink.CodeSinkUnreachable, stream,
		"check that the NATS server runs and that JetStream has a leader", "JetStream does not answer: %w", err)
}

func goneFault(stream string) error {
	return fault.New(fault.Environment, sink.CodeStreamGone, stream,
		"restore the stream; or begin anew: give the pipeline and its stream new names",
		"the stream that the pipeline wrote to is not there any more")
}
