package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// ackEvery is every how many messages of a run the server acknowledges.
const ackEvery = 128

// expectHeader makes the server compare the stream's last sequence.
const expectHeader = "Nats-Expected-Last-Sequence"

// streamLog is a stream as a chain.Log. A run is one of JetStream's fast-ingest
// batches in the mode "gap: fail": the server takes a message of it only when
// it took all before it.
type streamLog struct {
	stream  string
	control string // a subject of the stream
	notify  func(chain.Ack)

	mu   sync.Mutex // guards what connecting changes
	nc   *nats.Conn
	sub  *nats.Subscription
	base string // "<inbox>.<writer>-"
	uses uint64 // connections used so far

	payload atomic.Int64 // the server's max_payload

	msg     nats.Msg // the one being sent
	scratch []byte
	heads   heads
}

func newStreamLog(stream, control string) *streamLog {
	return &streamLog{stream: stream, control: control}
}

// Notify implements chain.Log.
func (l *streamLog) Notify(f func(chain.Ack)) { l.notify = f }

// use subscribes to answers on the connection, unless it is the one in use.
func (l *streamLog) use(nc *nats.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.payload.Store(nc.MaxPayload())
	if l.nc == nc && l.sub != nil && l.sub.IsValid() {
		return nil
	}
	l.drop()
	inbox := nc.NewInbox()
	sub, err := nc.Subscribe(inbox+".>", l.onReply)
	if err != nil {
		return unavailable(l.stream, err)
	}
	writer := strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix) // unique, one token
	l.nc, l.sub, l.base = nc, sub, inbox+"."+writer+"-"
	l.uses++
	return nil
}

// session names the connection as it is now: another one after each reconnect.
func (l *streamLog) session() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc == nil {
		return 0
	}
	return l.uses<<32 | l.nc.Stats().Reconnects&(1<<32-1)
}

func (l *streamLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *streamLog) drop() {
	if l.sub != nil {
		_ = l.sub.Unsubscribe() // fails only on a closed connection, where it has ended
	}
	l.nc, l.sub = nil, nil
}

var errClosed = errors.New("the sink is closed")

// conn returns the connection and the start of reply subjects.
func (l *streamLog) conn() (*nats.Conn, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc == nil {
		return nil, "", errClosed
	}
	return l.nc, l.base, nil
}

// MessageBytesMax implements chain.Log.
func (l *streamLog) MessageBytesMax() int { return int(l.payload.Load()) }

// Send implements chain.Log.
func (l *streamLog) Send(m *chain.Outgoing) error {
	if m.Number == 1 && m.Session != l.session() {
		return chain.ErrSession
	}
	op := byte('1') // append
	switch {
	case m.Last:
		op = '2' // the last: commit
	case m.Number == 1:
		op = '0' // start
	}
	return l.publish(m, op)
}

func (l *streamLog) publish(m *chain.Outgoing, op byte) error {
	nc, base, err := l.conn()
	if err != nil {
		return err
	}
	b := appendReply(l.scratch[:0], base, m.Run, m.Number, op)
	reply := len(b)
	b = strconv.AppendUint(b, m.Expect, 10)
	l.scratch = b
	l.msg.Subject, l.msg.Data, l.msg.Reply = m.Subject, m.Body, view(b[:reply])
	l.msg.Header = l.heads.of(m, view(b[reply:]))
	return nc.PublishMsg(&l.msg)
}

// End implements chain.Log. The number of the message that ends a run is the
// one behind its last; it is not stored.
func (l *streamLog) End(run, sent uint64) error {
	nc, base, err := l.conn()
	if err != nil {
		return err
	}
	return nc.PublishRequest(l.control, string(appendReply(nil, base, run, sent+1, '3')), nil)
}

// appendReply appends "<inbox>.<batch id>.<flow>.<gap mode>.<number>.<operation>.$FI".
func appendReply(dst []byte, base string, run, number uint64, op byte) []byte {
	dst = strconv.AppendUint(append(dst, base...), run, 10)
	dst = strconv.AppendUint(append(dst, '.'), ackEvery, 10)
	dst = strconv.AppendUint(append(dst, ".fail."...), number, 10)
	return append(dst, '.', op, '.', '$', 'F', 'I')
}

// view returns b as text without a copy: nats.go copies a message while it
// publishes it, and keeps nothing of it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (l *streamLog) onReply(m *nats.Msg) {
	if ack, ok := parseReply(m.Subject, m.Header, m.Data); ok {
		if ack.Err != nil {
			ack.Err = l.explain(ack.Err)
		}
		l.notify(ack)
	}
}

// Put implements chain.Log.
func (l *streamLog) Put(ctx context.Context, m *chain.Outgoing) error {
	if m.Session != l.session() {
		return chain.ErrSession
	}
	nc, _, err := l.conn()
	if err != nil {
		return err
	}
	msg := nats.Msg{Subject: m.Subject, Data: m.Body, Header: l.heads.of(m, strconv.FormatUint(m.Expect, 10))}
	answer, err := nc.RequestMsgWithContext(ctx, &msg)
	if err != nil {
		return fmt.Errorf("publish a marker: %w", err)
	}
	var ack struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return fmt.Errorf("answer to a marker: %w", err)
	}
	if ack.Error != nil {
		return l.explain(ack.Error)
	}
	if ack.Seq != m.Expect+1 {
		return fmt.Errorf("a marker expected as message %d is %d", m.Expect+1, ack.Seq)
	}
	return nil
}

// State implements chain.Log.
func (l *streamLog) State(ctx context.Context) (chain.State, error) {
	var info struct {
		Created time.Time `json:"created"`
		State   struct {
			Messages uint64    `json:"messages"`
			FirstSeq uint64    `json:"first_seq"`
			LastSeq  uint64    `json:"last_seq"`
			LastTime time.Time `json:"last_ts"`
		} `json:"state"`
	}
	session := l.session() // before it is read: a reconnect meanwhile makes it old
	if err := l.api(ctx, "STREAM.INFO", nil, &info); err != nil {
		return chain.State{}, err
	}
	return chain.State{Session: session, Created: info.Created, FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq,
		Messages: info.State.Messages, LastWrite: info.State.LastTime}, nil
}

// Get implements chain.Log: STREAM.MSG.GET is answered by the leader alone,
// unlike a direct get.
func (l *streamLog) Get(ctx context.Context, seq uint64) (*chain.Record, error) {
	var answer struct {
		Message struct {
			Seq     uint64 `json:"seq"`
			Headers []byte `json:"hdrs"`
		} `json:"message"`
	}
	if err := l.api(ctx, "STREAM.MSG.GET", fmt.Appendf(nil, `{"seq":%d}`, seq), &answer); err != nil {
		return nil, err
	}
	rec := &chain.Record{Seq: answer.Message.Seq, Headers: map[string]string{}}
	if len(answer.Message.Headers) > 0 {
		h, err := nats.DecodeHeadersMsg(answer.Message.Headers)
		if err != nil {
			return nil, fmt.Errorf("headers of message %d: %w", seq, err)
		}
		for name := range h {
			rec.Headers[name] = h.Get(name)
		}
	}
	return rec, nil
}

// api asks JetStream's API about the stream.
func (l *streamLog) api(ctx context.Context, what string, request []byte, answer any) error {
	nc, _, err := l.conn()
	if err != nil {
		return err
	}
	m, err := nc.RequestWithContext(ctx, "$JS.API."+what+"."+l.stream, request)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := errors.Join(json.Unmarshal(m.Data, &failed), json.Unmarshal(m.Data, answer)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if failed.Error != nil {
		return l.explain(failed.Error)
	}
	return nil
}
