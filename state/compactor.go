package state

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactor lets Pebble compact one thing at a time, while the store is well.
// A compaction that meets a damaged table fails, and Pebble begins it again at
// once, for ever: opening a store waits for that, and so does closing one.
//
// It implements pebble.CompactionScheduler, and its own grants.
type compactor struct {
	well func() bool

	mu      sync.Mutex
	db      pebble.DBForCompaction // nil once it is closed
	running bool
	calls   sync.WaitGroup // into db
}

// Register implements pebble.CompactionScheduler.
func (c *compactor) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
}

// Unregister implements pebble.CompactionScheduler.
func (c *compactor) Unregister() {
	c.mu.Lock()
	c.db = nil
	c.mu.Unlock()
	c.calls.Wait()
}

// TrySchedule implements pebble.CompactionScheduler. What is not granted is asked
// for when the one that runs is done.
func (c *compactor) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	well := c.well()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running || !well {
		return false, nil
	}
	c.running = true
	return true, c
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler: it is
// always one.
func (c *compactor) UpdateGetAllowedWithoutPermission() {}

// Started implements pebble.CompactionGrantHandle.
func (c *compactor) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactor) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactor) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle: the next one may run.
func (c *compactor) Done() {
	well := c.well()
	c.mu.Lock()
	c.running = false
	db := c.db
	if db == nil || !well {
		c.mu.Unlock()
		return
	}
	c.calls.Add(1)
	c.mu.Unlock()
	defer c.calls.Done()
	if waits, _ := db.GetWaitingCompaction(); !waits {
		return
	}
	c.mu.Lock()
	if c.running { // granted meanwhile
		c.mu.Unlock()
		return
	}
	c.running = true
	c.mu.Unlock()
	if !db.Schedule(c) {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}
}
