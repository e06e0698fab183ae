package budget

import (
	"context"
	"sync"
)

// Budget is a number of bytes shared by everything that holds data. Each share
// (one per pipeline) has a guaranteed minimum, so that a stopped pipeline can't
// starve the others; the rest is first come, first served.
type Budget struct {
	mu     sync.Mutex
	free   int64 // bytes beyond the guaranteed minimums
	total  int64
	waiter chan struct{} // closed and replaced whenever bytes come free
}

// New returns a Budget of the given bytes.
func New(bytes int64) *Budget {
	return &Budget{free: bytes, total: bytes, waiter: make(chan struct{})}
}

// Share is one pipeline's part of a Budget.
type Share struct {
	b    *Budget
	min  int64 // guaranteed bytes, taken out of the shared rest
	used int64
}

// Share sets aside a guaranteed minimum and returns the share. The minimum may
// exceed what is left: it is then an addition to the budget rather than a
// reason to refuse a pipeline.
func (b *Budget) Share(bytesMin int64) *Share {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free -= min(bytesMin, max(b.free, 0))
	return &Share{b: b, min: bytesMin}
}

// Reservation is bytes held. Release gives them back once; further calls do
// nothing.
type Reservation struct {
	s *Share
	n int64
}

// Bytes returns how many bytes are held.
func (r *Reservation) Bytes() int64 { return r.n }

// Acquire waits until n bytes can be reserved. A share that holds nothing gets
// one reservation at once, whatever its size and whatever others hold: a big
// row is slow, never stuck, and a stopped pipeline stops no other. So the bytes
// in use exceed the budget by at most one reservation for each share.
func (s *Share) Acquire(ctx context.Context, n int64) (*Reservation, error) {
	for {
		s.b.mu.Lock()
		if s.take(n) {
			s.b.mu.Unlock()
			return &Reservation{s: s, n: n}, nil
		}
		wait := s.b.waiter
		s.b.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Share) take(n int64) bool {
	beyond := max(0, s.used+n-s.min) - max(0, s.used-s.min)
	if beyond > s.b.free && s.used > 0 {
		return false
	}
	s.used += n
	s.b.free -= beyond
	return true
}

// Release gives the bytes back.
func (r *Reservation) Release() {
	if r == nil || r.n == 0 {
		return
	}
	b := r.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	beyond := max(0, r.s.used-r.s.min) - max(0, r.s.used-r.n-r.s.min)
	r.s.used -= r.n
	b.free += beyond
	r.n = 0
	close(b.waiter)
	b.waiter = make(chan struct{})
}

// Used returns the bytes that the share holds.
func (s *Share) Used() int64 {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.used
}
