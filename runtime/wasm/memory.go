package wasm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cdcd-io/cdcd/internal/fault"
)

const pageBytes = 64 << 10

// arenaMaps is how many mappings an arena may be to the system: the part that
// is a snapshot's, what was opened behind it, what is reserved.
const arenaMaps = 3

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
	refused  *refusal // of a growth: an explanation for the trap that follows
}

// prepare reserves the address space and opens the memory that the instance
// begins with: the module's, or the snapshot's. wazero panics when its first
// request is refused.
func (a *arena) prepare(least int64, s *snapshot) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused = a.ledger.take(0, arenaMaps); a.refused != nil {
		return fmt.Errorf("no mappings are left")
	}
	p, err := reserve(int(a.limit))
	if err != nil {
		a.ledger.give(0, arenaMaps)
		return fmt.Errorf("reserving %d bytes of address space: %w", a.limit, err)
	}
	a.reserved = p
	if s == nil {
		if a.grow(least) == nil {
			return fmt.Errorf("%d bytes are more than is left for guests", least)
		}
		return nil
	}
	if a.refused = a.fits(s.size); a.refused == nil {
		a.refused = a.ledger.take(s.size, 0)
	}
	if a.refused != nil {
		return fmt.Errorf("%d bytes are more than is left for guests", s.size)
	}
	a.opened.Store(s.size)
	if err := s.file.mapOver(a.reserved); err != nil {
		return err
	}
	return open(a.reserved[s.file.size:s.size])
}

// Reallocate opens the first size bytes; nil refuses.
func (a *arena) Reallocate(size uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grow(int64(size))
}

func (a *arena) grow(size int64) []byte {
	opened := a.opened.Load()
	if more := size - opened; more > 0 {
		r := a.fits(size)
		if r == nil {
			r = a.ledger.take(more, 0)
		}
		if r != nil {
			a.refused = r
			return nil
		}
		if err := open(a.reserved[opened:size]); err != nil {
			a.ledger.give(more, 0)
			a.refused = &refusal{whose: "the system"}
			return nil
		}
		a.opened.Store(size)
	}
	return a.reserved[:size:size]
}

// fits refuses what is more than the instance may have.
func (a *arena) fits(size int64) *refusal {
	if size <= int64(len(a.reserved)) {
		return nil
	}
	return &refusal{whose: "the step", most: a.limit}
}

// adopt has the memory, whose content is the snapshot's, share its pages.
func (a *arena) adopt(s *snapshot) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.file.mapOver(a.reserved)
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
	if err := release(a.reserved); err != nil {
		return 0, err
	}
	opened := a.opened.Swap(0)
	a.reserved = nil
	a.ledger.give(opened, arenaMaps)
	return opened, nil
}

func (a *arena) mapped() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reserved != nil
}

// growthRefused returns what the last refusal of memory was for; nil without one.
func (a *arena) growthRefused() *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// fault is what people are told of a refusal that ended an instance.
func (r *refusal) fault(path string, err error) error {
	switch {
	case r.maps:
		return fault.New(fault.Environment, "mappings_limit", path,
			"raise vm.max_map_count (sysctl), or run fewer steps in one process",
			"the guests of this process have %d memory mappings, three quarters of what the system allows: %w", r.most, err)
	case r.whose == "the step":
		return fault.New(fault.Config, "memory_limit", path, "raise limits.memory of the step",
			"the connector needs more than its limit of %d bytes: %w", r.most, err)
	case r.whose == "the system":
		return fault.New(fault.Environment, "memory_limit", path, "give the machine more memory",
			"the system refused the connector memory: %w", err)
	}
	return fault.New(fault.Config, "memory_limit", path, "lower limits.memory of steps that need less, or run fewer of them",
		"the connector needs more memory than %s has left for guests, of %d bytes in all: %w", r.whose, r.most, err)
}
