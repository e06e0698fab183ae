package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// rise brings the guest to where it can be given its configuration: start
// section and _initialize are behind it. The first instance of a code goes there by
// itself, and those that follow begin with its snapshot, which none of its
// job's has gone into.
func (i *Instance) rise(ctx context.Context, limit time.Duration) error {
	o := &i.code.origin
	s, first, err := o.claim(ctx)
	if err != nil {
		return err
	}
	i.allow(limit, 0) // what it waited for others is not its own
	if s != nil {
		return i.riseFrom(ctx, s)
	}
	err = i.riseAlone(ctx)
	if first {
		s, why := i.beSnapshot(err)
		o.settle(s, why)
	}
	return err
}

// riseAlone does what the module begins with.
func (i *Instance) riseAlone(ctx context.Context) error {
	if err := i.instantiate(ctx, int64(i.code.vetted.memoryPagesMin)*pageBytes, nil); err != nil {
		return err
	}
	if image := i.code.image; image != nil {
		for k, s := range image.Segments {
			view, ok := i.guest.view(s.Offset, uint32(len(s.Bytes)))
			if !ok {
				return i.failStart(fmt.Errorf("data[%d]: out of bounds memory access", k))
			}
			copy(view, s.Bytes)
		}
	}
	for _, f := range []export{exportStart, exportInitialize} {
		if !i.guest.has(f) {
			continue
		}
		if _, err := i.call(ctx, f, 0, 0); err != nil {
			return i.failStart(err)
		}
	}
	return nil
}

// riseFrom goes on from a snapshot.
func (i *Instance) riseFrom(ctx context.Context, s *snapshot) error {
	if err := i.instantiate(ctx, 0, s); err != nil {
		return err
	}
	if !i.guest.resize(s.size) {
		return i.failStart(errors.New("the snapshot does not fit"))
	}
	i.guest.setGlobals(s.globals)
	i.clock = s.clock
	return nil
}

// instantiate has the engine make the instance, in memory that has least bytes
// or is the snapshot's.
func (i *Instance) instantiate(ctx context.Context, least int64, s *snapshot) error {
	if err := i.arena.prepare(least, s); err != nil {
		return i.failStart(err)
	}
	limit, _ := i.rest()
	if _, err := i.ctx.begin(ctx, limit, 0); err != nil {
		return i.notBegun(ctx, err)
	}
	g, err := i.code.program.instantiate(i.ctx, i.arena)
	if err != nil {
		return i.failStart(i.explain(ctx, err))
	}
	i.guest = g
	return nil
}

// beSnapshot makes a snapshot of the instance, which has begun or failed to with err, and
// has it share its pages. Without one it says why there will be none; no reason either
// says that another instance may fare better.
func (i *Instance) beSnapshot(err error) (s *snapshot, why string) {
	size := i.arena.opened.Load()
	switch {
	case i.arena.growthRefused() != nil:
		return nil, ""
	case err != nil && i.broken != nil && (i.ctx.err == nil || i.ctx.err == context.DeadlineExceeded):
		return nil, "its first instance did not start"
	case err != nil:
		return nil, ""
	case i.own:
		return nil, "it prints, or uses capabilities, before it is configured"
	case size > snapshotBytesMax:
		return nil, fmt.Sprintf("it has %d bytes of memory before it is configured", size)
	}
	mem, ok := i.guest.view(0, uint32(size))
	if !ok {
		return nil, "its memory can't be read"
	}
	s, err = newSnapshot(&i.host.shared, i.guest, mem, i.clock)
	if err != nil {
		return nil, err.Error()
	}
	s.size = size
	if err := i.arena.adopt(s); err != nil { // the memory is as it was
		i.host.log.Warn("an instance does not share its snapshot", "connector", i.code.manifest.Name, "error", err)
	}
	i.code.image.Segments = nil // nobody writes them again
	return s, ""
}

// seed returns what randomness begins with before an instance is configured:
// the code's own, since what a snapshot has seen of it all its instances share.
func (c *code) seed() (a, b uint64) {
	sum := sha256.Sum256([]byte(c.digest))
	return binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
}

// begins files how the module begins.
func (c *code) begins(image *meter.Image, why string) {
	c.image = image
	if image == nil {
		c.origin.why, c.origin.settled = why, true
	}
}
