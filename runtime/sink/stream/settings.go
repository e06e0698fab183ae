package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// CodeStreamConfig is the code of a fault in the settings of a stream that is there.
const CodeStreamConfig = "stream_config"

// ownerKey is the metadata that a stream made by cdcd carries: its pipeline.
const ownerKey = "cdcd.pipeline"

const setupTimeout = 10 * time.Second

// Settings returns how a stream should be that is one pipeline's alone. discard:
// new refuses messages rather than deletes unread ones; the database's log is
// the buffer then.
func Settings(name, pipeline string, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               name,
		Description:        "changes of pipeline " + pipeline + ", written by cdcd",
		Subjects:           subjects,
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           -1,
		Replicas:           1,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowBatchPublish:  true,
		AllowAtomicPublish: true,
		Duplicates:         time.Second, // no message has an id
		Metadata:           map[string]string{ownerKey: pipeline},
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
	st, err := js.Stream(ctx, s.spec.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if hint.Token != "" {
			return goneFault(s.spec.Name)
		}
		if st, err = js.CreateStream(ctx, s.spec.Settings); err != nil {
			return s.setupFault(err)
		}
		return s.check(st.CachedInfo().Config) // an older server of a cluster leaves out what it doesn't know
	}
	if err != nil {
		return s.setupFault(err)
	}
	have := st.CachedInfo().Config
	if err := s.check(have); err != nil || s.spec.Shared {
		return err
	}
	return s.adapt(ctx, js, have)
}

// adapt brings the limits of a stream that cdcd made to what the configuration says.
func (s *Sink) adapt(ctx context.Context, js jetstream.JetStream, have jetstream.StreamConfig) error {
	want := &s.spec.Settings
	atomic := have.AllowAtomicPublish || !s.spec.batches()
	each := !s.spec.Latest || have.MaxMsgsPerSubject == want.MaxMsgsPerSubject
	if have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.Replicas == want.Replicas && atomic && each {
		return nil
	}
	if have.Metadata[ownerKey] != s.env.Pipeline {
		s.env.Log.Warn("the stream's limits are not those of the configuration; it was not made by cdcd, so they stay",
			"stream", s.spec.Name, "max_age", have.MaxAge, "max_bytes", have.MaxBytes, "replicas", have.Replicas)
		return nil
	}
	have.MaxAge, have.MaxBytes, have.Replicas, have.AllowAtomicPublish = want.MaxAge, want.MaxBytes, want.Replicas, true
	have.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	_, err := js.UpdateStream(ctx, have)
	return s.setupFault(err)
}

// check finds settings with which messages could be lost, doubled or refused.
func (s *Sink) check(have jetstream.StreamConfig) error {
	if s.spec.Shared {
		return s.checkShared(have)
	}
	want := &s.spec.Settings
	edit := "nats stream edit " + s.spec.Name + " "
	var found []error
	bad := func(wrong bool, hint, format string, args ...any) {
		if wrong {
			found = append(found, fault.New(fault.Environment, CodeStreamConfig, s.spec.Name, hint, format, args...))
		}
	}
	if owner := have.Metadata[ownerKey]; owner != "" && owner != s.env.Pipeline {
		bad(true, "give each pipeline a stream of its own", "the stream belongs to pipeline %s", owner)
	}
	bad(!sameSubjects(have.Subjects, want.Subjects),
		fmt.Sprintf("%s--subjects '%s'", edit, strings.Join(want.Subjects, ",")), "its subjects are %v, not %v", have.Subjects, want.Subjects)
	bad(have.Storage != jetstream.FileStorage, "make the stream anew with file storage", "it is kept in memory")
	bad(have.Retention != jetstream.LimitsPolicy, "make the stream anew with limits retention", "its retention deletes what was consumed")
	bad(have.Discard != jetstream.DiscardNew, edit+"--discard new", "it deletes old messages when it is full, read or not")
	bad(!s.spec.Latest && have.MaxMsgsPerSubject > 0, edit+"--max-msgs-per-subject=-1", "it keeps only %d messages of each subject", have.MaxMsgsPerSubject)
	bad(s.spec.Latest && have.MaxMsgsPerSubject < 1, fmt.Sprintf("%s--max-msgs-per-subject=%d", edit, want.MaxMsgsPerSubject), "it is no bucket: it keeps all messages of a key")
	bad(s.spec.Latest && have.DiscardNewPerSubject, edit+"--no-discard-per-subject", "it refuses a key's next value (discard_new_per_subject)")
	bad(!have.AllowBatchPublish, edit+"--allow-batched", "it does not take batches (allow_batched)")
	bad(s.spec.batches() && !have.AllowAtomicPublish && have.Metadata[ownerKey] != s.env.Pipeline, edit+"--allow-batch",
		"it does not take atomic batches (allow_atomic), which atomic: true and durability: fsync rest on")
	bad(have.Sealed, "make the stream anew", "it is sealed")
	bad(have.NoAck, edit+"--ack", "it gives no acknowledgements (no_ack)")
	bad(have.Mirror != nil || len(have.Sources) > 0, "use a stream that nothing else feeds", "it is filled from other streams")
	bad(!s.spec.Latest && have.AllowRollup, edit+"--no-allow-rollup", "messages may roll it up (allow_rollup_hdrs)")
	bad(have.PersistMode == jetstream.AsyncPersistMode, "make the stream anew with the default persist mode", "it acknowledges before it writes (persist_mode: async)")
	bad(have.SubjectTransform != nil, "take the transform away", "it renames subjects")
	if want.DenyDelete && !have.DenyDelete || want.DenyPurge && !have.DenyPurge {
		s.env.Log.Warn("messages of the stream may be deleted: deny_delete and deny_purge are not both set", "stream", s.spec.Name)
	}
	return errors.Join(found...)
}

func sameSubjects(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// checkShared finds settings of a shared stream with which messages could be
// lost on the way into it. What becomes of them later is for its owner to say.
func (s *Sink) checkShared(have jetstream.StreamConfig) error {
	all := s.spec.Settings.Subjects[0]
	edit := "nats stream edit " + s.spec.Name + " "
	var found []error
	bad := func(wrong bool, hint, format string, args ...any) {
		if wrong {
			found = append(found, fault.New(fault.Environment, CodeStreamConfig, s.spec.Name, hint, format, args...))
		}
	}
	owner := have.Metadata[ownerKey]
	bad(owner != "", "use another stream, or a new name: the chain of messages of that pipeline must not be broken",
		"the stream belongs to pipeline %s alone", owner)
	bad(!slices.ContainsFunc(have.Subjects, func(p string) bool { return covers(p, all) }),
		fmt.Sprintf("%s--subjects '%s'", edit, strings.Join(append(slices.Clone(have.Subjects), all), ",")),
		"its subjects %v do not cover %s", have.Subjects, all)
	bad(have.Storage != jetstream.FileStorage, "make the stream anew with file storage", "it is kept in memory")
	bad(!have.AllowBatchPublish, edit+"--allow-batched", "it does not take batches (allow_batched)")
	bad(have.Sealed, "make the stream anew", "it is sealed")
	bad(have.NoAck, edit+"--ack", "it gives no acknowledgements (no_ack)")
	bad(have.Mirror != nil, "use a stream that is no mirror", "it mirrors another stream")
	bad(have.PersistMode == jetstream.AsyncPersistMode, "make the stream anew with the default persist mode", "it acknowledges before it writes (persist_mode: async)")
	return errors.Join(found...)
}

// covers reports whether each subject that matches b matches a.
func covers(a, b string) bool {
	for a != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		switch {
		case x == ">":
			return y != ""
		case y == "" || y == ">" || x != "*" && x != y:
			return false
		}
	}
	return b == ""
}

// setupFault makes what JetStream says about a stream into a fault; nil stays nil.
func (s *Sink) setupFault(err error) error {
	if err == nil || fault.HasCode(err, sink.CodeDenied) {
		return err
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		if api.ErrorCode == 10025 || api.Code == 503 {
			return unavailable(s.spec.Name, err)
		}
		if most := s.spec.Settings.MaxBytes; most > 0 && (api.ErrorCode == codeStorageResources || api.ErrorCode == codeAccountResources) {
			return fault.New(fault.Environment, CodeStreamConfig, s.spec.Name,
				"lower max_bytes under "+s.spec.Section+", or give the server's JetStream (max_file_store, nats.embedded.max_store) or the account more",
				"max_bytes asks for %v, in %d replicas, which is more than may still be promised: %w", unit.Bytes(most), s.spec.Settings.Replicas, err)
		}
		return fault.New(fault.Environment, CodeStreamConfig, s.spec.Name,
			"look at what JetStream says: limits of the account or the server, or subjects that another stream has", "set up the stream: %w", err)
	}
	return unavailable(s.spec.Name, err)
}

func unavailable(stream string, err error) error {
	if fault.HasCode(err, sink.CodeDenied) {
		return err
	}
	return fault.New(fault.Retryable, sink.CodeSinkUnreachable, stream,
		"check that the NATS server runs and that JetStream has a leader", "JetStream does not answer: %w", err)
}

func goneFault(stream string) error {
	return fault.New(fault.Environment, sink.CodeStreamGone, stream,
		"restore the stream; or begin anew: give the pipeline and its stream new names",
		"the stream that the pipeline wrote to is not there any more")
}
