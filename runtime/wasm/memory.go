package wasm

import (
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
// wazero asks for it through Allocate and Reallocate, and says through Free that
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

// Allocate reserves the address space. It is called once: vet allows one memory.
func (a *arena) allocate(most uint64) *arena {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(int64(most), a.limit)
	if a.reserved == nil && n > 0 {
		if p, err := reserve(int(n)); err == nil {
			a.reserved = p
			a.ledger.mappings.Add(1)
		}
	}
	return a
}

// Reallocate opens the first size bytes; nil refuses.
func (a *arena) Reallocate(size uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	opened := a.opened.Load()
	more := int64(size) - opened
	if size > uint64(len(a.reserved)) || more > 0 && !a.ledger.take(more) {
		a.refused = true
		return nil
	}
	if more > 0 {
		if err := open(a.reserved[opened:size]); err != nil {
			a.ledger.committed.Add(-more)
			a.refused = true
			return nil
		}
		a.opened.Store(int64(size))
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
