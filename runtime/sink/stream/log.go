package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
)

// ackEvery is every how many messages of an atomic run the server is asked for
// an answer, which says no more than that it still listens.
const ackEvery = 128

// atomicDefault is how many messages a server takes in an atomic batch unless
// its max_batch_size says otherwise.
const atomicDefault = 1000

// streamLog is a stream as a chain.Log. A flowing run is one of JetStream's
// fast-ingest batches in the mode "gap: fail": the server takes a message of it
// only when it took all before it. An atomic run is an atomic batch: the server
// stages its messages, and stores them when the batch is committed.
type streamLog struct {
	stream  string
	control string // a subject of the stream
	notify  func(chain.Ack)
	rights  rights.Watch
	need    rights.Needed
	refused atomic.Pointer[rights.Denial] // why messages don't get into the stream

	mu   sync.Mutex // guards what connecting changes
	nc   *nats.Conn
	sub  *nats.Subscription
	base string // "<inbox>.<writer>-"
	uses uint64 // connections used so far

	payload   atomic.Int64 // the server's max_payload
	atomicMax atomic.Int64 // the server's max_batch_size

	flow    int           // every how many messages of the run the server answers
	watched *nats.Conn    // whose reconnects are told; guarded by mu
	run     atomic.Uint64 // that was sent last

	read struct { // guarded by mu: where the frames of what State told last are to go
		session uint64
		pipe    io.WriteCloser
	}

	open    openBatches
	frames  frames   // of the run, where the server is in this process
	msg     nats.Msg // the one being sent, where it is not
	scratch []byte
	heads   Heads
}

func newStreamLog(stream, control string) *streamLog {
	l := &streamLog{stream: stream, control: control}
	l.atomicMax.Store(atomicDefault)
	l.rights.Tell = l.denied
	return l
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
	l.watch(nc)
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

// pipe returns where frames go now; nil for a server elsewhere.
func (l *streamLog) pipe() io.WriteCloser {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc == nil {
		return nil
	}
	return pipeOf(l.nc)
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

// AtomicMax implements chain.Log.
func (l *streamLog) AtomicMax() int { return int(l.atomicMax.Load()) }

// Send implements chain.Log.
func (l *streamLog) Send(m *chain.Outgoing) error {
	if m.Number == 1 {
		if err := l.begin(m.Session); err != nil {
			return err
		}
	}
	if d := l.refused.Load(); d != nil && m.Number == 1 {
		return d.Fault(l.stream, l.need)
	}
	l.run.Store(m.Run)
	nc, base, err := l.conn()
	if err != nil {
		return err
	}
	if m.Atomic {
		return l.stage(nc, base, m)
	}
	op := byte('1') // append
	switch {
	case m.Last:
		op = '2' // the last: commit
	case m.Number == 1:
		op, l.flow = '0', m.Every // start
	}
	b := l.appendReply(l.scratch[:0], base, m.Run, m.Number, op)
	reply := len(b)
	b = strconv.AppendUint(b, m.Expect, 10)
	l.scratch = b
	if l.frames.to != nil {
		if m.Shared {
			return l.frames.add(m, b[:reply])
		}
		return l.frames.add(m, b[:reply], line{expectHeader, view(b[reply:])})
	}
	l.msg.Subject, l.msg.Data, l.msg.Reply = m.Subject, m.Body, view(b[:reply])
	l.msg.Header = l.heads.of(m, view(b[reply:]), nil)
	return nc.PublishMsg(&l.msg)
}

// begin finds out how the messages of a run go, on the connection on which the
// stream was read.
func (l *streamLog) begin(session uint64) error {
	if session != l.session() {
		return chain.ErrSession
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read.session != session { // read again meanwhile, on another connection
		return chain.ErrSession
	}
	l.frames.begin(l.read.pipe)
	return nil
}

// Flush implements chain.Log. nats.go flushes by itself.
func (l *streamLog) Flush() error { return l.frames.flush() }

// stage sends a message of an atomic batch. The server compares the stream's
// last sequence for the first one alone, and would answer each.
func (l *streamLog) stage(nc *nats.Conn, base string, m *chain.Outgoing) error {
	if m.Number == 1 {
		if err := l.beginBatch(nc, base, m); err != nil {
			return err
		}
	}
	b := appendStaged(l.scratch[:0], base, m.Run, m.Number)
	reply := len(b)
	b = strconv.AppendUint(b, m.Expect, 10)
	expect := len(b)
	b = strconv.AppendUint(b, m.Number, 10)
	number := len(b)
	b = l.appendBatch(b, base, m.Run)
	l.scratch = b
	if m.Last {
		l.open.endBatch(m.Run)
	}
	answer := b[:reply]
	if !m.Last && m.Number != 1 && m.Number%ackEvery != 0 {
		answer = nil
	}
	in := batch{id: view(b[number:]), number: view(b[expect:number])}
	if l.frames.to != nil {
		return l.frames.stage(m, answer, view(b[reply:expect]), in)
	}
	l.msg.Subject, l.msg.Data, l.msg.Reply = m.Subject, m.Body, view(answer)
	l.msg.Header = l.heads.of(m, view(b[reply:expect]), &in)
	return nc.PublishMsg(&l.msg)
}

// End implements chain.Log. The number of the message that ends a run is the
// one behind its last; it is not stored.
func (l *streamLog) End(run, sent uint64, atomic bool) error {
	nc, base, err := l.conn()
	if err != nil {
		return err
	}
	if atomic {
		l.open.endBatch(run)
	}
	if l.frames.to != nil {
		return l.endFrames(base, run, sent+1, atomic)
	}
	if !atomic {
		return nc.PublishRequest(l.control, string(l.appendReply(nil, base, run, sent+1, '3')), nil)
	}
	return nc.PublishMsg(&nats.Msg{Subject: l.control, Reply: string(appendStaged(nil, base, run, sent+1)), Header: nats.Header{
		batchHeader:  {string(l.appendBatch(nil, base, run))},
		numberHeader: {strconv.FormatUint(sent+1, 10)},
		commitHeader: {"eob"},
	}})
}

func (l *streamLog) endFrames(base string, run, number uint64, atomic bool) error {
	if !atomic {
		l.frames.end(l.control, l.appendReply(nil, base, run, number, '3'))
		return l.frames.flush()
	}
	in := batch{id: string(l.appendBatch(nil, base, run)), number: strconv.FormatUint(number, 10)}
	if err := l.frames.add(&chain.Outgoing{Subject: l.control}, appendStaged(nil, base, run, number),
		line{batchHeader, in.id}, line{numberHeader, in.number}, line{commitHeader, "eob"}); err != nil {
		return err
	}
	return l.frames.flush()
}

// appendReply appends "<inbox>.<batch id>.<flow>.<gap mode>.<number>.<operation>.$FI".
func (l *streamLog) appendReply(dst []byte, base string, run, number uint64, op byte) []byte {
	dst = strconv.AppendUint(append(dst, base...), run, 10)
	dst = strconv.AppendInt(append(dst, '.'), int64(l.flow), 10)
	dst = strconv.AppendUint(append(dst, ".fail."...), number, 10)
	return append(dst, '.', op, '.', '$', 'F', 'I')
}

// appendStaged appends "<inbox>.<batch id>.<number>.$AB", where an atomic batch
// is answered.
func appendStaged(dst []byte, base string, run, number uint64) []byte {
	dst = strconv.AppendUint(append(dst, base...), run, 10)
	dst = strconv.AppendUint(append(dst, '.'), number, 10)
	return append(dst, '.', '$', 'A', 'B')
}

// appendBatch appends the name of an atomic batch, "<writer>-<run>".
func (l *streamLog) appendBatch(dst []byte, base string, run uint64) []byte {
	return strconv.AppendUint(append(dst, base[strings.LastIndexByte(base, '.')+1:]...), run, 10)
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
	msg := nats.Msg{Subject: m.Subject, Data: m.Body, Header: l.heads.of(m, strconv.FormatUint(m.Expect, 10), nil)}
	var answer *nats.Msg
	err = l.ask(ctx, []string{m.Subject}, func(ctx context.Context) error {
		answer, err = nc.RequestMsgWithContext(ctx, &msg)
		return err
	})
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
	if d := l.refused.Load(); d != nil {
		return chain.State{}, d.Fault(l.stream, l.need)
	}
	session, pipe := l.session(), l.pipe() // before it is read: a reconnect meanwhile makes them old
	if err := l.api(ctx, "STREAM.INFO", nil, &info); err != nil {
		return chain.State{}, err
	}
	l.mu.Lock()
	l.read.session, l.read.pipe = session, pipe
	l.mu.Unlock()
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

// answerPatience is how long an answer of the API may take before the question is
// put again: a leader takes those on their way into its death, and nobody gets
// those that come before there is the next.
const answerPatience = time.Second

// api asks JetStream's API about the stream.
func (l *streamLog) api(ctx context.Context, what string, request []byte, answer any) error {
	nc, _, err := l.conn()
	if err != nil {
		return err
	}
	var m *nats.Msg
	subject := "$JS.API." + what + "." + l.stream
	err = l.ask(ctx, []string{subject}, func(ctx context.Context) error {
		for {
			one, cancel := context.WithTimeout(ctx, answerPatience)
			m, err = nc.RequestWithContext(one, subject, request)
			cancel()
			if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
	})
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
