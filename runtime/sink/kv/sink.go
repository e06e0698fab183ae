package kv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

// Sink keeps a bucket. It implements sink.Sink, sink.LastWritten,
// sink.Historian and sink.Audited. It hands groups on to the stream's Sink;
// what it adds are truncations, see sweep.go.
type Sink struct {
	*stream.Sink
	control string // subject of control messages
	name    string // of the stream

	mu     sync.Mutex
	sent   int                  // groups that the stream has not confirmed
	own    map[*sink.Group]bool // of them, those that a sweep made
	sweep  *sweep               // a truncation that is being carried out; nil for none
	free   chan struct{}        // closed when there is no sweep any more
	closed bool
	last   sink.Message // that was sent last: its place
	result []sink.Confirmed
}

var errClosed = errors.New("the sink is closed")

// Open returns a Sink; it connects with the first Claim.
func Open(cfg Config, env sink.Env) (*Sink, error) {
	spec, err := cfg.spec(env)
	if err != nil {
		return nil, err
	}
	return &Sink{Sink: stream.Open(spec, env), control: spec.Control, name: spec.Name, own: map[*sink.Group]bool{}}, nil
}

// Claim implements sink.Sink.
func (s *Sink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	s.drop(false)
	a, err := s.Sink.Claim(ctx, hint, initial)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent, s.last = 0, sink.Message{Place: a.At, TxLast: a.Complete}
	clear(s.own)
	return a, err
}

// Publish implements sink.Sink. A group with a truncation waits for its turn in
// Wait, and so do those behind it.
func (s *Sink) Publish(ctx context.Context, g *sink.Group) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	for i := range g.Messages {
		m := &g.Messages[i]
		if m.Kind == sink.KindHistory || m.Kind == sink.KindSchema {
			m.Subject = s.kept(m)
		}
	}
	at := truncation(g.Messages)
	if at < 0 {
		return s.forward(ctx, g, false)
	}
	sw := &sweep{group: g, at: at}
	s.begin(sw)
	if err := s.forward(ctx, sw.piece(0, at), true); err != nil { // empty or not: it wakes Wait
		s.end(sw)
		return err
	}
	return nil
}

// kept returns the subject of a control message that must not take the place of
// the one before it: records of the source's history, and tables' definitions.
func (s *Sink) kept(m *sink.Message) string {
	sum := sha256.Sum256(m.Body)
	name := hex.EncodeToString(sum[:16])
	if m.Kind == sink.KindHistory {
		return historySubject(s.control, name)
	}
	return s.control + ".schema." + name
}

func historySubject(control, name string) string { return control + ".history." + name }

// forward hands a group to the stream; own says that it is this sink's, and not
// the pipeline's.
func (s *Sink) forward(ctx context.Context, g *sink.Group, own bool) error {
	s.mu.Lock()
	s.sent++
	if own {
		s.own[g] = true
	}
	before := s.last
	if n := len(g.Messages); n > 0 {
		s.last = sink.Message{Place: g.Messages[n-1].Place, TxLast: g.Messages[n-1].TxLast}
	}
	s.mu.Unlock()
	err := s.Sink.Publish(ctx, g)
	if err != nil {
		s.mu.Lock()
		s.sent--
		delete(s.own, g)
		s.last = before
		s.mu.Unlock()
	}
	return err
}

// Wait implements sink.Sink.
func (s *Sink) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	for {
		sw, alone, err := s.next()
		if err != nil {
			return nil, err
		}
		if alone {
			if err := s.step(ctx, sw); err != nil {
				return nil, err
			}
			continue
		}
		confirmed, err := s.Sink.Wait(ctx)
		if result := s.note(confirmed, sw); len(result) > 0 || err != nil {
			return result, err
		}
	}
}

// next returns the sweep, and whether the stream has everything before it.
func (s *Sink) next() (sw *sweep, alone bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errClosed
	}
	return s.sweep, s.sweep != nil && s.sent == 0, nil
}

// note takes the sink's own groups out of what was confirmed.
func (s *Sink) note(confirmed []sink.Confirmed, sw *sweep) []sink.Confirmed {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result = s.result[:0]
	for _, c := range confirmed {
		s.sent--
		if !s.own[c.Group] {
			s.result = append(s.result, c)
			continue
		}
		delete(s.own, c.Group)
		if sw != nil {
			sw.token = c.Token
		}
	}
	return s.result
}

// turn waits until no truncation is being carried out.
func (s *Sink) turn(ctx context.Context) error {
	for {
		s.mu.Lock()
		free, busy, closed := s.free, s.sweep != nil, s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return errClosed
		case !busy:
			return nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Sink) begin(sw *sweep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sw.behind = s.last
	s.sweep, s.free = sw, make(chan struct{})
}

// end ends a sweep, and reports whether it was still there to be ended.
func (s *Sink) end(sw *sweep) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweep != sw || sw == nil {
		return false
	}
	s.sweep = nil
	close(s.free)
	return true
}

// drop gives up a sweep whose group the stream was not given.
func (s *Sink) drop(closed bool) {
	s.mu.Lock()
	s.closed = s.closed || closed
	sw := s.sweep
	s.mu.Unlock()
	if s.end(sw) && sw.group.Done != nil {
		sw.group.Done()
	}
}

// Close implements sink.Sink.
func (s *Sink) Close(ctx context.Context) error {
	s.drop(true)
	return s.Sink.Close(ctx)
}

// truncation returns the index of the first message that empties a table; -1
// without.
func truncation(messages []sink.Message) int {
	for i := range messages {
		if messages[i].Kind == sink.KindData && strings.HasSuffix(messages[i].Subject, ".>") {
			return i
		}
	}
	return -1
}
