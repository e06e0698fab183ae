package nats

import (
	"context"
	"errors"
	"strconv"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/lines"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

// CodeRefused is the code of messages that the server did not take.
const CodeRefused = "nats_publish_refused"

// flushPatience is how long the server may take to answer that it has all.
const flushPatience = 5 * time.Second

// Sink publishes to whoever listens. It implements sink.Sink and sink.Bounded.
type Sink struct {
	*lines.Sink
	t           *target
	refuseLarge bool
}

// Open returns a sink; it connects with the first Claim.
func Open(cfg Config, env sink.Env) *Sink {
	t := &target{Cursor: lines.Cursor{Name: env.Pipeline}, env: env}
	return &Sink{lines.New(t), t, cfg.TooLarge == stream.TooLargeDeadLetter}
}

// RefusedBytes implements sink.Bounded.
func (s *Sink) RefusedBytes() int {
	if !s.refuseLarge || s.t.nc == nil {
		return 0
	}
	return stream.RefusedBytes(int(s.t.nc.MaxPayload()))
}

// target is a lines.Target. The position is in the checkpoint alone: what was
// published behind it is published again after a crash, with the same Cdc-Seq.
type target struct {
	lines.Cursor
	env     sink.Env
	nc      *natsio.Conn
	session uint64 // reconnects of the connection, at the claim
	before  error  // that the connection had had last, then
	count   uint64 // data messages so far
	heads   stream.Heads
	out     chain.Outgoing
	msg     natsio.Msg
}

// Claim implements lines.Target.
func (t *target) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	nc, err := t.env.NATS(ctx)
	if err != nil {
		return sink.Anchor{}, err
	}
	t.nc, t.session, t.before = nc, nc.Stats().Reconnects, nc.LastError()
	if err := t.Flush(); err != nil { // reached, and nothing of an earlier claim on its way
		return sink.Anchor{}, err
	}
	a, err := t.Cursor.Claim(ctx, hint, initial)
	t.count = a.Messages
	return a, err
}

// Write implements lines.Target. Nothing is answered before Flush.
func (t *target) Write(g *sink.Group) (string, error) {
	check := chain.Checker{Pipeline: t.env.Pipeline, BytesMax: int(t.nc.MaxPayload())}
	if err := check.Check(g); err != nil {
		return "", err
	}
	for i := range g.Messages {
		m := &g.Messages[i]
		t.encode(m)
		t.msg.Subject, t.msg.Data, t.msg.Header = m.Subject, m.Body, t.heads.Of(&t.out)
		if err := t.nc.PublishMsg(&t.msg); err != nil {
			return "", t.unreachable(err)
		}
	}
	return t.Token(g), nil
}

// encode makes out the message's headers: those of a stream, but for what
// concerns the stream itself.
func (t *target) encode(m *sink.Message) {
	if m.Kind == sink.KindData && m.Replay == 0 {
		t.count++
	}
	v := &t.out.Values
	*v = [chain.HeaderCount]string{chain.HeaderSeq: strconv.FormatUint(t.count, 10)}
	t.out.Extra = m.Headers
	if m.Kind != sink.KindData {
		v[chain.HeaderKind] = m.Kind.String()
	}
	if m.Replay > 0 {
		v[chain.HeaderOriginal], v[chain.HeaderReplay] = m.Original, strconv.FormatUint(m.Replay, 10)
	}
	if m.Place.Tx != "" {
		v[chain.HeaderPos] = m.Place.String()
	}
	if m.TxRows > 0 {
		v[chain.HeaderTxRows] = strconv.FormatUint(m.TxRows, 10)
	}
	if m.TxLast {
		v[chain.HeaderTxLast] = "1"
	}
	if m.SubjectLast {
		v[chain.HeaderSubjectLast] = "1"
	}
	if m.KeyHeader {
		v[chain.HeaderKey] = string(m.Key)
	}
}

// Flush implements lines.Target: the server has read everything, on the
// connection that it was written to. What a lost one had may be gone.
func (t *target) Flush() error {
	if err := t.nc.FlushTimeout(flushPatience); err != nil {
		return t.unreachable(err)
	}
	if t.nc.Stats().Reconnects != t.session {
		return t.unreachable(errors.New("the connection was lost before the server answered"))
	}
	if err := t.nc.LastError(); err != t.before && errors.Is(err, natsio.ErrPermissionViolation) {
		return fault.New(fault.Environment, CodeRefused, t.env.Pipeline,
			"let the user publish to the pipeline's subjects, and start the pipeline again", "the server refuses messages: %w", err)
	}
	return nil
}

func (t *target) unreachable(err error) error {
	return fault.New(fault.Retryable, sink.CodeSinkUnreachable, t.env.Pipeline,
		"check that the NATS server runs; the pipeline goes on behind its last checkpoint", "publish: %w", err)
}

// Close implements lines.Target; the connection is the daemon's.
func (t *target) Close() error { return nil }
