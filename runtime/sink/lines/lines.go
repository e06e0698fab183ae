package lines

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// Bounds of the queue.
const (
	groupsMax = 64
	bytesMax  = 8 << 20
	// groupsMaxBatched is groupsMax where groups wait for others.
	groupsMaxBatched = 1024
)

// Batching says for how long groups wait for others, to share a sync with them.
type Batching struct {
	Every time.Duration // 0: not at all
	Bytes int           // that are written without waiting, and queued at most; 0: 8 MiB
}

// Target is a place that takes lines. It is used by one goroutine at a time.
type Target interface {
	// Claim is sink.Sink's.
	Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error)
	// Write writes a group's data messages and returns the group's token.
	Write(g *sink.Group) (string, error)
	// Flush makes safe what was written.
	Flush() error
	// Close gives back what is open. What was not flushed need not become safe.
	Close() error
}

// Sink implements sink.Sink on a Target. It starts no goroutine: Wait writes.
type Sink struct {
	target   Target
	batching Batching
	writes   sync.Mutex // guards target

	mu     sync.Mutex
	queue  []*sink.Group
	bytes  int
	first  time.Time // when the first of the queue came
	full   bool      // somebody waits for room in the queue
	failed error
	closed bool
	wake   chan struct{} // for Wait
	space  chan struct{} // for Publish

	handed []*sink.Group // given out by the last Wait
	result []sink.Confirmed
}

var errClosed = errors.New("the sink is closed")

// New returns a Sink on a Target.
func New(t Target) *Sink { return NewBatched(t, Batching{}) }

// NewBatched returns a Sink on a Target whose groups wait for each other.
func NewBatched(t Target, b Batching) *Sink {
	if b.Bytes == 0 {
		b.Bytes = bytesMax
	}
	return &Sink{target: t, batching: b, wake: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Claim implements sink.Sink.
func (s *Sink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	s.drop(nil)
	s.writes.Lock()
	defer s.writes.Unlock()
	return s.target.Claim(ctx, hint, initial)
}

// Publish implements sink.Sink.
func (s *Sink) Publish(ctx context.Context, g *sink.Group) error {
	for {
		ok, err := s.push(g)
		if ok || err != nil {
			return err
		}
		select {
		case <-s.space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Sink) push(g *sink.Group) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state(); err != nil {
		return false, err
	}
	most := groupsMax
	if s.batching.Every > 0 {
		most = groupsMaxBatched
	}
	if len(s.queue) > 0 && (len(s.queue) >= most || s.bytes+g.Bytes > s.batching.Bytes) {
		s.full = true
		signal(s.wake)
		return false, nil
	}
	if len(s.queue) == 0 && s.batching.Every > 0 {
		s.first = time.Now()
	}
	s.queue = append(s.queue, g)
	s.bytes += g.Bytes
	signal(s.wake)
	return true, nil
}

func (s *Sink) state() error {
	if s.closed {
		return errClosed
	}
	return s.failed
}

// Wait implements sink.Sink. After an error of the target only Claim helps:
// what reached the place is known to nobody.
func (s *Sink) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	s.release()
	for {
		groups, due, err := s.take()
		if err != nil {
			return nil, err
		}
		if len(groups) > 0 {
			return s.write(groups)
		}
		if err := s.sleep(ctx, due); err != nil {
			return nil, err
		}
	}
}

// sleep waits until something happened, or for as long as due says.
func (s *Sink) sleep(ctx context.Context, due time.Duration) error {
	var timeout <-chan time.Time
	if due > 0 {
		timer := time.NewTimer(due)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-s.wake:
		return nil
	case <-timeout:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take moves the queue to handed, which a later call releases; or says when that
// is due.
func (s *Sink) take() (groups []*sink.Group, due time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state(); err != nil {
		return nil, 0, err
	}
	if every := s.batching.Every; every > 0 && len(s.queue) > 0 && !s.full && s.bytes < s.batching.Bytes {
		if due := every - time.Since(s.first); due > 0 {
			return nil, due, nil
		}
	}
	s.handed = append(s.handed[:0], s.queue...)
	clear(s.queue)
	s.queue, s.bytes, s.full = s.queue[:0], 0, false
	signal(s.space)
	return s.handed, 0, nil
}

// Do calls f while nothing is written. Its error is that of the target: only
// Claim helps.
func (s *Sink) Do(f func() error) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if err := f(); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *Sink) write(groups []*sink.Group) ([]sink.Confirmed, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.result = s.result[:0]
	for _, g := range groups {
		token, err := s.target.Write(g)
		if err != nil {
			return nil, s.fail(err)
		}
		s.result = append(s.result, sink.Confirmed{Group: g, Token: token})
	}
	if err := s.target.Flush(); err != nil {
		return nil, s.fail(err)
	}
	return s.result, nil
}

func (s *Sink) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	signal(s.space)
	signal(s.wake)
	return err
}

func (s *Sink) release() {
	s.mu.Lock()
	groups := s.handed
	s.handed = nil
	s.mu.Unlock()
	for _, g := range groups {
		if g.Done != nil {
			g.Done()
		}
	}
}

// drop gives up what is queued, and clears or sets the failure.
func (s *Sink) drop(failed error) {
	s.mu.Lock()
	s.handed = append(s.handed, s.queue...)
	s.queue, s.bytes, s.full, s.failed = nil, 0, false, failed
	signal(s.space)
	signal(s.wake)
	s.mu.Unlock()
	s.release()
}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.drop(nil)
	if was {
		return nil
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	return s.target.Close()
}
