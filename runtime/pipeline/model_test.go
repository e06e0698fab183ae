package pipeline

import (
	"bytes"
	"context"
	"strconv"
	"sync"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// broker is a modelled stream: what JetStream with the anchor and the chain
// amounts to. It outlives the sinks that write to it.
type broker struct {
	mu       sync.Mutex
	messages []stored
	epoch    uint64
	fail     []error // returned by the next calls of Publish, one each
}

// stored is a message as the stream keeps it, all views copied.
type stored struct {
	Kind                sink.MessageKind
	Subject, Key, Body  string
	Headers             string
	Base                sdk.Position
	Place               sink.Place
	TxRows              uint64
	TxLast, SubjectLast bool
	KeyHeader           bool
	Epoch               uint64 // of its writer
	Fingerprint         string // of what its place's transaction was made by
	Replay              uint64 // of the message
	Replays             uint64 // up to the message
	Original            string
}

// store returns a message as it is kept behind others. Only some carry their
// group's base, as with the chain; the others name the last one that did.
func (w *modelSink) store(before []stored, g *sink.Group, i int) stored {
	m := &g.Messages[i]
	base := g.Base
	if n := len(before); n > 0 && m.Place.Tx != "" && !m.Rebase && n%7 != 0 {
		base = before[n-1].Base
	}
	s := stored{Kind: m.Kind, Subject: string([]byte(m.Subject)), Key: string(m.Key), Body: string(m.Body),
		Headers: string(m.Headers), Base: base, Place: m.Place, TxRows: m.TxRows, TxLast: m.TxLast, SubjectLast: m.SubjectLast, KeyHeader: m.KeyHeader, Epoch: w.epoch, Fingerprint: w.fingerprint}
	s.Replay, s.Original = m.Replay, m.Original
	if s.Replays = m.Replay; m.Replay == 0 && len(before) > 0 {
		s.Replays = before[len(before)-1].Replays
	}
	s.Place.Tx = string(bytes.Clone([]byte(m.Place.Tx)))
	return s
}

// crash returns the broker as it is after its writer died: what was not
// acknowledged had arrived up to some message. The broker itself may have lost
// the tail of what it had acknowledged.
func (b *broker) crash(w *modelSink, arrived, lost int) *broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &broker{messages: append([]stored(nil), b.messages...), epoch: b.epoch}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.window {
		for i := range g.Messages {
			if arrived > 0 {
				arrived--
				c.messages = append(c.messages, w.store(c.messages, g, i))
			}
		}
	}
	c.messages = c.messages[:max(1, len(c.messages)-lost)]
	return c
}

// data returns the messages that a pure function of the log must give.
func (b *broker) data() []stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []stored
	for _, m := range b.messages {
		if m.Kind == sink.KindData || m.Kind == sink.KindTxEnd {
			m.Base, m.Epoch, m.Fingerprint = "", 0, "" // where a batch began and who wrote is no matter of the transaction
			out = append(out, m)
		}
	}
	return out
}

func (b *broker) kinds(k sink.MessageKind) []stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []stored
	for _, m := range b.messages {
		if m.Kind == k {
			out = append(out, m)
		}
	}
	return out
}

// modelSink writes to a broker. Groups stay in its window until Wait takes
// them: that is when they arrive and are acknowledged.
type modelSink struct {
	b           *broker
	fingerprint string
	epoch       uint64

	mu     sync.Mutex
	window []*sink.Group
	ready  chan struct{}
	stuck  bool // nothing is ever acknowledged
	done   []*sink.Group
	out    []sink.Confirmed
	closed bool

	refuse int // bytes of a message from which on its row is refused
}

// RefusedBytes implements sink.Bounded.
func (s *modelSink) RefusedBytes() int { return s.refuse }

func newModelSink(b *broker) *modelSink { return &modelSink{b: b, ready: make(chan struct{}, 1)} }

func (s *modelSink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.mu.Lock()
	s.window, s.done = nil, nil
	s.mu.Unlock()
	a := sink.Anchor{Found: len(s.b.messages) > 0}
	if !a.Found {
		pos, err := initial(ctx)
		if err != nil {
			return a, err
		}
		a.Base = pos
	} else {
		last := s.b.messages[len(s.b.messages)-1]
		a.Base, a.At, a.Complete, a.Fingerprint, a.Replays = last.Base, last.Place, last.TxLast, last.Fingerprint, last.Replays
		if hint.Exact && hint.Token == s.b.token() {
			a.Base, a.At, a.Complete = hint.Position, sink.Place{}, false
		}
	}
	for _, m := range s.b.messages {
		if m.Kind == sink.KindData && m.Replay == 0 {
			a.Messages++
		}
	}
	if n := len(s.b.messages); n > 0 {
		a.Writer = s.b.messages[n-1].Epoch
	}
	if hint.Claiming != nil {
		if err := hint.Claiming(s.b.epoch + 1); err != nil {
			return a, err
		}
	}
	s.b.epoch++
	s.epoch, a.Epoch = s.b.epoch, s.b.epoch
	m := stored{Kind: sink.KindMarker, Base: a.Base, Place: a.At, TxLast: a.Complete, Epoch: s.epoch, Fingerprint: s.fingerprint, Replays: a.Replays}
	if a.At.Tx != "" && !a.Complete {
		m.Fingerprint = a.Fingerprint
	}
	s.b.messages = append(s.b.messages, m)
	return a, nil
}

func (s *modelSink) Recount(_ context.Context, at sink.Anchor, f func(string)) (bool, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	n, found := uint64(0), uint64(0)
	for _, m := range s.b.messages {
		if m.Kind != sink.KindData {
			continue
		}
		if n++; n <= at.Messages && m.Place.Tx == at.At.Tx {
			found++
			f(m.Subject)
		}
	}
	return found == at.At.N+1, nil
}

// token names the last message: no other is ever called the same.
func (b *broker) token() string {
	n := len(b.messages)
	return strconv.FormatUint(b.messages[n-1].Epoch, 10) + "/" + strconv.Itoa(n)
}

func (s *modelSink) Publish(ctx context.Context, g *sink.Group) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if len(s.b.fail) > 0 {
		err := s.b.fail[0]
		s.b.fail = s.b.fail[1:]
		return err
	}
	if s.b.epoch != s.epoch {
		return fault.New(fault.Retryable, sink.CodeFenced, "", "", "epoch %d is over", s.epoch)
	}
	s.mu.Lock()
	s.window = append(s.window, g)
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return ctx.Err()
}

// unstick lets a stuck sink acknowledge what it was given.
func (s *modelSink) unstick() {
	s.mu.Lock()
	s.stuck = false
	s.mu.Unlock()
	s.ready <- struct{}{}
}

func (s *modelSink) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	for {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		s.b.mu.Lock()
		s.mu.Lock()
		for _, g := range s.done {
			g.Done()
		}
		s.out, s.done = s.out[:0], s.done[:0]
		for _, g := range s.window {
			if s.stuck || s.b.epoch != s.epoch {
				break
			}
			for i := range g.Messages {
				s.b.messages = append(s.b.messages, s.store(s.b.messages, g, i))
			}
			s.out = append(s.out, sink.Confirmed{Group: g, Token: s.b.token()})
			s.done = append(s.done, g)
		}
		s.window = s.window[len(s.out):]
		s.mu.Unlock()
		s.b.mu.Unlock()
		if len(s.out) > 0 {
			return s.out, nil
		}
	}
}

func (s *modelSink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// modelStep is a deterministic connector: it drops, doubles and refuses rows by
// their key, and routes some.
type modelStep struct {
	onError OnError
	shift   int64 // added to the keys: another configuration
	builder sdk.Builder
	out     Output
	closed  int
	saw     []string // places of the rows that it was given
}

func (s *modelStep) Name() string     { return "model" }
func (s *modelStep) OnError() OnError { return s.onError }
func (s *modelStep) Memory() int64    { return 1 << 20 }
func (s *modelStep) Close(context.Context) (any, error) {
	s.closed++
	return "all freed", nil
}

func (s *modelStep) Process(_ context.Context, in *sdk.Batch) (Output, error) {
	s.builder.Reset()
	s.out = Output{Failed: s.out.Failed[:0]}
	i := 0
	for t := range in.Txs() {
		s.builder.CopyTx(in.Tx(t))
		for ; i < in.Rows() && in.Row(i).TxIndex() == t; i++ {
			s.row(in.Row(i), i)
		}
	}
	s.out.Batch = s.builder.Seal(in.Schemas())
	return s.out, nil
}

func (s *modelStep) row(r sdk.Row, i int) {
	s.saw = append(s.saw, string(r.Tx().ID())+"#"+strconv.FormatUint(r.Ordinal(), 10))
	switch key := r.After().Int(0) + s.shift; key % 7 {
	case 0:
		s.out.Dropped++
	case 1:
		s.out.Failed = append(s.out.Failed, Failure{Row: i, Reason: "key ends badly"})
	case 2, 3:
		for range key%7 + 1 {
			s.builder.CopyRow(r)
		}
	case 4:
		s.builder.BeginRow(r.Schema(), r.Op(), sdk.RowAfter|sdk.RowDest, r.Ordinal())
		s.builder.SetDest([]byte("routed.to "+strconv.FormatInt(key%3, 10)), []byte("k"), []byte("A: b\n"))
		s.builder.After().SetSlot(0, uint64(key))
		s.builder.SetBytes(s.builder.After(), 1, r.After().Bytes(1))
		s.builder.EndRow()
	default:
		s.builder.CopyRow(r)
	}
}
