package wasm

import (
	"context"
	"errors"
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

// Close ends all instances, waiting for calls that are running to be cancelled,
// and lets go of their code and of what is kept of code. Nothing can be loaded
// afterwards. Verify may follow.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.disarm()
	open := make([]*Instance, 0, len(h.instances))
	for i := range h.instances {
		open = append(open, i)
	}
	h.mu.Unlock()
	h.unloads.work.Wait()
	var errs []error
	for _, i := range open {
		_, err := i.Close(ctx)
		errs = append(errs, err)
	}
	h.mu.Lock()
	parked := h.takeParked(len(h.unloads.parked))
	h.mu.Unlock()
	return errors.Join(append(errs, h.end(ctx, parked))...)
}
