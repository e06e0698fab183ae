package wasm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Receipt says what closing an instance gave back, and that nothing is left.
type Receipt struct {
	// MemoryBytesUnmapped is the guest memory given back to the system.
	MemoryBytesUnmapped int64 `json:"memory_bytes_unmapped"`
	// CodeBytes is the size of its machine code, and CodeUsers how many others
	// hold it: modules that are loaded, and instances.
	CodeBytes int64 `json:"code_bytes"`
	CodeUsers int   `json:"code_users"`
	// CodeBytesReleased is CodeBytes when this was the last user and the host
	// does not keep it for another: it is unmapped by the collection that follows
	// within a second. Host.Verify waits for it and looks.
	CodeBytesReleased int64 `json:"code_bytes_released"`
	// What is left of the instance: all 0 unless something is wrong. Connections
	// and descriptors are not counted: no function that a connector can call opens
	// one (the evil corpus compares the descriptors before and after each crime).
	MappingsLeft   int           `json:"mappings_left"`
	GoroutinesLeft int           `json:"goroutines_left"` // calls still running
	HandlesLeft    int           `json:"handles_left"`    // function handles and guest objects
	Took           time.Duration `json:"took_ns"`
}

// Clean reports whether nothing is left.
func (r Receipt) Clean() bool {
	return r.MappingsLeft+r.GoroutinesLeft+r.HandlesLeft == 0
}

// String says it to people: "4.0 MiB unmapped in 391µs, nothing left".
func (r Receipt) String() string {
	left := "nothing left"
	if !r.Clean() {
		left = fmt.Sprintf("LEFT: %d mappings, %d calls, %d handles", r.MappingsLeft, r.GoroutinesLeft, r.HandlesLeft)
	}
	return fmt.Sprintf("%.1f MiB unmapped in %v, %s", float64(r.MemoryBytesUnmapped)/(1<<20), r.Took.Round(time.Microsecond), left)
}

// Close ends the instance: a running call is cancelled and waited for, then
// views and handles are dropped, the memory is unmapped, and the code let go.
// Closing again returns the same receipt.
func (i *Instance) Close(ctx context.Context) (Receipt, error) {
	began := time.Now()
	i.ctx.stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return i.receipt, nil
	}
	i.closed = true
	i.printed.end()
	var errs []error
	if i.guest != nil {
		errs = append(errs, i.guest.close(ctx))
		i.receipt.HandlesLeft = i.guest.handles()
		i.guest = nil
	}
	i.bufs, i.schemas = [3]buffer{}, schemas{}
	unmapped, err := i.arena.unmap()
	errs = append(errs, err)
	h := i.host
	h.mu.Lock()
	delete(h.instances, i)
	i.arena.ledger.count(-1)
	h.settle(i.config.Pipeline)
	i.receipt.CodeBytes, i.receipt.CodeUsers = i.code.bytes(), i.code.refs-1
	if i.code.refs == 1 && (h.idle == 0 || h.closed) {
		i.receipt.CodeBytesReleased = i.receipt.CodeBytes
	}
	h.mu.Unlock()
	errs = append(errs, h.drop(ctx, i.code))
	i.receipt.MemoryBytesUnmapped = unmapped
	i.receipt.GoroutinesLeft = i.calls
	if i.arena.mapped() {
		i.receipt.MappingsLeft = 1
	}
	i.receipt.Took = time.Since(began)
	return i.receipt, errors.Join(errs...)
}
