package wasm

import (
	"sync/atomic"
	"time"
)

// gauge is an amount that is held, and the most that it ever was.
type gauge struct{ now, peak atomic.Int64 }

func (g *gauge) add(n int64) int64 {
	now := g.now.Add(n)
	for peak := g.peak.Load(); now > peak && !g.peak.CompareAndSwap(peak, now); {
		peak = g.peak.Load()
	}
	return now
}

// take adds n unless it would be more than most; 0 is no limit.
func (g *gauge) take(n, most int64) bool {
	for {
		now := g.now.Load()
		if most > 0 && n > 0 && now+n > most {
			return false
		}
		if g.now.CompareAndSwap(now, now+n) {
			g.add(0)
			return true
		}
	}
}

// ledger is an account of what guests hold and have used: the host's, a
// pipeline's in it, a step's in that. What one takes, those around it take too.
type ledger struct {
	within   *ledger // nil for the host's
	whose    string  // "the daemon", "the pipeline": who refuses
	bytesMax int64   // 0 for no limit
	mapsMax  int64

	bytes     gauge // memory that is open to guests, or holds a snapshot
	maps      gauge // mappings of the system, at most
	instances gauge

	calls, fuel, busy atomic.Int64 // busy in nanoseconds
}

// refusal says whose limit was met, and which.
type refusal struct {
	whose string
	most  int64
	maps  bool // the limit of mappings
}

// take takes bytes and mappings, or nothing.
func (l *ledger) take(bytes, maps int64) *refusal {
	for at := l; at != nil; at = at.within {
		if !at.bytes.take(bytes, at.bytesMax) {
			l.giveUpTo(at, bytes, maps)
			return &refusal{whose: at.whose, most: at.bytesMax}
		}
		if !at.maps.take(maps, at.mapsMax) {
			at.bytes.add(-bytes)
			l.giveUpTo(at, bytes, maps)
			return &refusal{whose: at.whose, most: at.mapsMax, maps: true}
		}
	}
	return nil
}

func (l *ledger) give(bytes, maps int64) { l.giveUpTo(nil, bytes, maps) }

func (l *ledger) giveUpTo(end *ledger, bytes, maps int64) {
	for at := l; at != end; at = at.within {
		at.bytes.add(-bytes)
		at.maps.add(-maps)
	}
}

// count adds instances, or takes them off, here and all around.
func (l *ledger) count(instances int64) {
	for at := l; at != nil; at = at.within {
		at.instances.add(instances)
	}
}

// called files a guest call.
func (l *ledger) called(fuel int64, busy time.Duration) {
	for at := l; at != nil; at = at.within {
		at.calls.Add(1)
		at.fuel.Add(fuel)
		at.busy.Add(int64(busy))
	}
}

// Usage is what guests hold and have used.
type Usage struct {
	MemoryBytes     int64 `json:"memory_bytes"` // open to them
	MemoryBytesPeak int64 `json:"memory_bytes_peak"`
	Instances       int64 `json:"instances"`
	InstancesPeak   int64 `json:"instances_peak"`
	Calls           int64 `json:"calls"`
	// Fuel is what the calls used, in units of which an instruction takes one or
	// more: the same on every machine.
	Fuel int64 `json:"fuel"`
	// Busy is the time spent in calls. A guest never waits for anything, so that
	// it is processor time, and what the system gave to others meanwhile.
	Busy time.Duration `json:"busy_ns"`
}

func (l *ledger) usage() Usage {
	return Usage{MemoryBytes: l.bytes.now.Load(), MemoryBytesPeak: l.bytes.peak.Load(),
		Instances: l.instances.now.Load(), InstancesPeak: l.instances.peak.Load(),
		Calls: l.calls.Load(), Fuel: l.fuel.Load(), Busy: time.Duration(l.busy.Load())}
}
