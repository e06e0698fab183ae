package wasm

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/cdcd-io/cdcd/runtime/wasm/apart"
)

// Stats is what a Host holds, and the most that it ever held.
type Stats struct {
	Modules   int `json:"modules"` // that are loaded, idle ones included
	Idle      int `json:"idle"`    // of them, those that nobody uses
	Instances int `json:"instances"`
	Mappings  int `json:"mappings"` // of the system's, for guest memories, at most
	Files     int `json:"files"`    // descriptors of snapshots

	MemoryBytes       int64 `json:"memory_bytes"` // of guests, open to them
	MemoryBytesPeak   int64 `json:"memory_bytes_peak"`
	MemoryBytesMax    int64 `json:"memory_bytes_max"`    // for guests and snapshots together
	SnapshotBytes     int64 `json:"snapshot_bytes"`      // that instances begin with and share
	CodeBytes         int64 `json:"code_bytes"`          // machine code of loaded modules
	CodeBytesPending  int64 `json:"code_bytes_pending"`  // let go, and not seen to be unmapped yet
	CodeBytesUnmapped int64 `json:"code_bytes_unmapped"` // let go and seen to be unmapped, since the host began
	CodeBytesLost     int64 `json:"code_bytes_lost"`     // let go, and still there after several collections: 0
}

// Empty reports whether the host holds nothing: no module, instance, mapping,
// descriptor or byte. Code that is on its way out is not the host's any more.
func (s Stats) Empty() bool {
	return s.Modules == 0 && s.Instances == 0 && s.Mappings == 0 && s.Files == 0 && s.MemoryBytes == 0 && s.SnapshotBytes == 0 && s.CodeBytes == 0
}

// Stats returns what the host holds now.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Modules: len(h.codes), Idle: len(h.unloads.parked), Instances: len(h.instances),
		Mappings: int(h.memory.maps.now.Load()), MemoryBytes: h.guests.bytes.now.Load(),
		MemoryBytesPeak: h.guests.bytes.peak.Load(), MemoryBytesMax: h.memory.bytesMax, SnapshotBytes: h.shared.bytes.now.Load(),
		CodeBytesUnmapped: h.unloads.unmapped, CodeBytesLost: h.unloads.lost()}
	for _, p := range h.unloads.pending {
		s.CodeBytesPending += p.size()
	}
	for _, c := range h.codes {
		if !c.isReady() {
			continue
		}
		s.CodeBytes += c.bytes()
		if c.origin.holdsFile() {
			s.Files++
		}
	}
	return s
}

// bytes returns the size of the machine code; where that can't be told, of the
// cache's entry, which is a little more.
func (c *code) bytes() int64 {
	if len(c.spans) == 0 {
		return c.size
	}
	return sizeOf(c.spans)
}

// CompileStats returns what getting machine code took so far.
func (h *Host) CompileStats() CompileStats { return h.compiler.stats() }

// Confinement lists what the system refuses the child that compiles; known is
// false when none has run yet.
func (h *Host) Confinement() (refused []apart.Refusal, known bool) {
	if h.compiler.runner == nil {
		return nil, false
	}
	return h.compiler.runner.Refusals()
}

// Close ends all loads and all instances, waiting for calls that are running to
// be cancelled, and lets go of their code and of what is kept of code. Nothing
// can be loaded afterwards. Verify may follow.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.disarm()
	open := slices.Collect(maps.Keys(h.instances))
	loads := slices.Collect(maps.Values(h.codes))
	h.mu.Unlock()
	h.unloads.work.Wait()
	for _, c := range loads {
		c.cancel(errHostClosed())
		<-c.ready
	}
	var errs []error
	for _, i := range open {
		_, err := i.Close(ctx)
		errs = append(errs, err)
	}
	h.mu.Lock()
	parked := h.takeParked(len(h.unloads.parked))
	h.mu.Unlock()
	return errors.Join(append(errs, h.end(ctx, parked), h.compiler.close())...)
}
