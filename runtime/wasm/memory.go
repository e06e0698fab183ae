package wasm

import (
	"fmt"
	"sync"
	"sync/atomic"
)

const pageBytes = 64 << 10

// ledger is the guest memory of the whole host.
type ledger struct {
	committed atomic.Int64 // bytes opened to guests
	most      int64
	mappings  atomic.Int64
}

func (l *ledger) take(n int64) bool {
	if l.committed.Add(n) > l.most {
		l.committed.Add(-n)
		return false
	}
	return true
}

// arena is the linear memory of one instance: address space reserved up to the
// instance's limit, opened as the guest grows, given back in unmap.
//
// wazero asks for more through Reallocate, and says through Free that
// it is done with it; it forgets to after a failed instantiation, and says so
// too early when a call is cancelled. Free therefore does nothing, and the
// Instance, which knows when no call is running, unmaps.
type arena struct {
	ledger *ledger
	limit  int64

	mu       sync.Mutex
	reserved []byte
	opened   atomic.Int64
	refused  bool // a growth was refused: an explanation for the trap that follows
}

// prepare reserves the address space and opens the memory that the module
// begins with. wazero panics when its first request is refused.
func (a *arena) prepare(least int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := reserve(int(a.limit))
	if err != nil {
		return fmt.Errorf("reserving %d bytes of address space: %w", a.limit, err)
	}
	a.reserved = p
	a.ledger.mappings.Add(1)
	if a.grow(least) == nil {
		return fmt.Errorf("%d bytes are more than is left for guests", least)
	}
	return nil
}

// Reallocate opens the first size bytes; nil refuses.
func (a *arena) Reallocate(size uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grow(int64(size))
}

func (a *arena) grow(size int64) []byte {
	opened := a.opened.Load()
	more := size - opened
	if size > int64(len(a.reserved)) || more > 0 && !a.ledger.take(more) {
		a.refused = true
		return nil
	}
	if more > 0 {
		if err := open(a.reserved[opened:size]); err != nil {
			a.ledger.committed.Add(-more)
			a.refused = true
			return nil
		}
		a.opened.Store(size)
	}
	return a.reserved[:size:size]
}

// Free implements experimental.LinearMemory; see arena.
func (a *arena) Free() {}

// unmap gives the memory back and returns how much it was. Further calls do nothing.
func (a *arena) unmap() (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reserved == nil {
		return 0, nil
	}
	opened := a.opened.Swap(0)
	err := release(a.reserved)
	a.reserved = nil
	a.ledger.committed.Add(-opened)
	a.ledger.mappings.Add(-1)
	return opened, err
}

func (a *arena) growthRefused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}
