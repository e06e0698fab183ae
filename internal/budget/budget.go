package budget

import (
	"context"
	"sync"
)

// Budget is a number of bytes shared by everything that holds data. Each share
// (one per pipeline) has a guaranteed minimum. Of the rest a share takes at most
// as much as it leaves free, so that one that stands still holds half of the rest
// and not all, and k of them leave one part in k+1.
type Budget struct {
	mu     sync.Mutex
	free   int64         // bytes beyond the guaranteed minimums; negative when overdrawn
	waiter chan struct{} // closed and replaced whenever bytes come free
}

// New returns a Budget of the given bytes.
func New(bytes int64) *Budget {
	return &Budget{free: bytes, waiter: make(chan struct{})}
}

// Share is one pipeline's part of a Budget.
type Share struct {
	b     *Budget
	min   int64 // guaranteed bytes
	taken int64 // of them, out of the shared rest
	used  int64
}

// Share sets aside a guaranteed minimum and returns the share. The minimum may
// exceed what is left: it is then an addition to the budget rather than a
// reason to refuse a pipeline. Close ends it.
func (b *Budget) Share(bytesMin int64) *Share {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := min(bytesMin, max(b.free, 0))
	b.free -= taken
	return &Share{b: b, min: bytesMin, taken: taken}
}

// Close gives the guaranteed minimum back. The share's reservations must have
// been released. Further calls do nothing.
func (s *Share) Close() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.free += s.taken
	s.min, s.taken = 0, 0
	s.b.wake()
}

// wake has everybody who waits look again. The caller holds mu.
func (b *Budget) wake() {
	close(b.waiter)
	b.waiter = make(chan struct{})
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
// acquired exceed the budget by at most one reservation for each share.
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
	had, has := s.beyond(s.used), s.beyond(s.used+n)
	if left := s.b.free - (has - had); has > had && has > left && s.used > 0 {
		return false
	}
	s.set(s.used + n)
	return true
}

// beyond returns what of the bytes is not guaranteed.
func (s *Share) beyond(used int64) int64 { return max(0, used-s.min) }

// set changes what is used. The caller holds mu.
func (s *Share) set(used int64) {
	s.b.free -= s.beyond(used) - s.beyond(s.used)
	s.used = used
}

// Resize makes the reservation one of n bytes, at once: what was read became
// something of another size. Growing may overdraw the budget, by no more than
// what is under way at the time; whoever acquires next waits for that too.
// Without a reservation, or after Release, it does nothing.
func (r *Reservation) Resize(n int64) {
	if r == nil || r.n == 0 || r.n == n {
		return
	}
	b := r.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	less := n < r.n
	r.s.set(r.s.used + n - r.n)
	r.n = n
	if less {
		b.wake()
	}
}

// Release gives the bytes back.
func (r *Reservation) Release() { r.Resize(0) }

// Used returns the bytes that the share holds.
func (s *Share) Used() int64 {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.used
}
