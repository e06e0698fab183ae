package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// unloads is code that nobody uses any more: parked for a while, then closed,
// then unmapped by the collector, then seen to be gone. Its fields belong to
// Host.mu.
type unloads struct {
	parked   []*code   // the longest idle first
	pending  []leaving // what finalizers are to unmap
	unmapped int64     // bytes that were seen to be gone, of all time

	ctx     context.Context // to close programs with
	timer   *time.Timer     // for the earlier of idle's end and a collection
	due     time.Time
	collect time.Time // when a collection is due; zero for none
	work    sync.WaitGroup
}

// leaving is machine code that was let go.
type leaving struct {
	span
	tries int // collections that it outlived
}

const (
	// collectDelay lets several unloads share one collection.
	collectDelay = 500 * time.Millisecond
	// parkedMax bounds code that nobody uses.
	parkedMax = 8
	// goneTime is how long finalizers may take after a collection.
	goneTime = 200 * time.Millisecond
	// triesMax is how many collections may leave code, before it is reported.
	triesMax = 3
)

func (u *unloads) unpark(c *code) {
	u.parked = slices.DeleteFunc(u.parked, func(other *code) bool { return other == c })
}

// drop gives up one reference. Code that was the last one's is parked, or
// closed; a preparation that nobody waits for any more is ended.
func (h *Host) drop(ctx context.Context, c *code) error {
	h.mu.Lock()
	c.refs--
	if c.refs > 0 {
		h.mu.Unlock()
		return nil
	}
	h.unloads.ctx = context.WithoutCancel(ctx)
	if h.idle > 0 && !h.closed && c.isReady() && c.program != nil {
		c.idleFrom = time.Now()
		h.unloads.parked = append(h.unloads.parked, c)
		end := h.takeParked(len(h.unloads.parked) - parkedMax)
		h.arm()
		h.mu.Unlock()
		return h.end(ctx, end)
	}
	if h.codes[c.digest] == c {
		delete(h.codes, c.digest) // nobody else is to wait for it
	}
	h.mu.Unlock()
	c.cancel(nil)
	<-c.ready
	h.mu.Lock()
	h.forget(c)
	h.mu.Unlock()
	return h.end(ctx, []*code{c})
}

// forget takes code out of the host's list, to be closed. The caller holds h.mu.
func (h *Host) forget(c *code) {
	if h.codes[c.digest] == c {
		delete(h.codes, c.digest)
	}
	u := &h.unloads
	for _, s := range c.spans {
		u.pending = slices.DeleteFunc(u.pending, func(old leaving) bool { // its place was taken: it is gone
			if old.overlaps(s) {
				u.unmapped += old.size()
			}
			return old.overlaps(s)
		})
		u.pending = append(u.pending, leaving{span: s})
	}
}

// takeParked takes the n that were parked first, to be ended. The caller holds h.mu.
func (h *Host) takeParked(n int) []*code {
	if n <= 0 {
		return nil
	}
	taken := slices.Clone(h.unloads.parked[:n])
	h.unloads.parked = slices.Delete(h.unloads.parked, 0, n)
	for _, c := range taken {
		h.forget(c)
	}
	return taken
}

// end closes programs that nobody can find any more, and has the collector come.
func (h *Host) end(ctx context.Context, codes []*code) error {
	var errs []error
	for _, c := range codes {
		if c.program == nil {
			continue
		}
		c.cancel(nil)
		errs = append(errs, c.program.close(ctx), c.origin.close())
		c.program = nil
		h.mu.Lock()
		if h.unloads.collect.IsZero() {
			h.unloads.collect = time.Now().Add(collectDelay)
		}
		h.arm()
		h.mu.Unlock()
	}
	return errors.Join(errs...)
}

// arm sets the timer for what is due next. The caller holds h.mu.
func (h *Host) arm() {
	u := &h.unloads
	due := u.collect
	if len(u.parked) > 0 {
		if idle := u.parked[0].idleFrom.Add(h.idle); due.IsZero() || idle.Before(due) {
			due = idle
		}
	}
	if h.closed || due.IsZero() || u.timer != nil && !due.Before(u.due) {
		return
	}
	h.disarm()
	u.due = due
	u.work.Add(1)
	u.timer = time.AfterFunc(time.Until(due), h.tick)
}

func (h *Host) disarm() {
	if u := &h.unloads; u.timer != nil && u.timer.Stop() {
		u.work.Done()
	}
	h.unloads.timer = nil
}

// tick does what is due.
func (h *Host) tick() {
	defer h.unloads.work.Done()
	h.mu.Lock()
	u := &h.unloads
	u.timer = nil
	now := time.Now()
	idle := 0
	for idle < len(u.parked) && !u.parked[idle].idleFrom.Add(h.idle).After(now) {
		idle++
	}
	end, ctx := h.takeParked(idle), u.ctx
	collect := !u.collect.IsZero() && !u.collect.After(now)
	h.mu.Unlock()
	if err := h.end(ctx, end); err != nil {
		h.log.Error("a connector's code did not close as it should", "error", err)
	}
	if collect {
		h.collectNow()
		if lost := h.settleUnloads(); lost > 0 {
			h.log.Error("the machine code of unloaded connectors is still there", "bytes", lost, "collections", triesMax)
		}
	}
	h.mu.Lock()
	h.arm()
	h.mu.Unlock()
}

// settleUnloads has another collection follow one that left something. It
// returns the bytes that are given up now.
func (h *Host) settleUnloads() (lost int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &h.unloads
	for k := range u.pending {
		p := &u.pending[k]
		if h.loading() { // it may have taken the place of what is gone
			p.tries = min(p.tries, 1)
		} else if p.tries++; p.tries == triesMax {
			lost += p.size()
		}
		if p.tries < triesMax && u.collect.IsZero() {
			u.collect = time.Now().Add(collectDelay)
		}
	}
	return lost
}

// loading reports whether code is loaded whose place is not known yet. The
// caller holds h.mu.
func (h *Host) loading() bool {
	for _, c := range h.codes {
		if !c.isReady() {
			return true
		}
	}
	return false
}

// lost is what outlived all collections. The caller holds h.mu.
func (u *unloads) lost() (n int64) {
	for _, p := range u.pending {
		if p.tries >= triesMax {
			n += p.size()
		}
	}
	return n
}

// collectNow has the collector run, whose finalizers unmap the code that was
// let go, and looks whether they did. It returns the bytes that are left, -1
// where that can't be measured.
func (h *Host) collectNow() (left int64) {
	h.mu.Lock()
	h.unloads.collect = time.Time{}
	h.mu.Unlock()
	runtime.GC()
	for until := time.Now().Add(goneTime); ; time.Sleep(time.Millisecond) {
		if left = h.lookForCode(); left <= 0 || time.Now().After(until) {
			return left
		}
	}
}

// lookForCode measures how much of the code that was let go is still mapped,
// and files what is gone.
func (h *Host) lookForCode() (left int64) {
	mapped, ok := executable()
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &h.unloads
	if !ok {
		u.pending = nil
		return -1
	}
	var live []span // the place of code that is gone may be taken again
	for _, c := range h.codes {
		if c.isReady() {
			live = append(live, c.spans...)
		}
	}
	u.pending = slices.DeleteFunc(u.pending, func(s leaving) bool {
		if slices.ContainsFunc(mapped, s.overlaps) && !slices.ContainsFunc(live, s.overlaps) {
			left += s.size()
			return false
		}
		u.unmapped += s.size()
		return true
	})
	return left
}

// Unloaded says what became of the machine code that was let go.
type Unloaded struct {
	// Measured says that the figures were read off the process's own mappings
	// (Linux); otherwise they are 0.
	Measured          bool          `json:"measured"`
	CodeBytesUnmapped int64         `json:"code_bytes_unmapped"` // since the host began
	CodeBytesLeft     int64         `json:"code_bytes_left"`     // 0 unless something is wrong
	Took              time.Duration `json:"took_ns"`
}

// String says it to people: "13.2 MiB unmapped, nothing left".
func (u Unloaded) String() string {
	switch {
	case !u.Measured:
		return "let go; whether it is unmapped is not measured on this system"
	case u.CodeBytesLeft > 0:
		return fmt.Sprintf("%.1f MiB unmapped, LEFT: %d bytes", float64(u.CodeBytesUnmapped)/(1<<20), u.CodeBytesLeft)
	}
	return fmt.Sprintf("%.1f MiB unmapped, nothing left", float64(u.CodeBytesUnmapped)/(1<<20))
}

// verifyTime bounds Verify. A process that gets no processor for a second has not
// lost anything.
const verifyTime = 5 * time.Second

// Verify closes code that is kept for a pipeline that may come back, has the
// collector run, and waits, five seconds at most, until all the machine code that
// was let go is seen to be unmapped. The error is a fault of code unload_incomplete
// when some is left; while something is being loaded, which may have taken its
// place, that can't be told.
func (h *Host) Verify(ctx context.Context) (Unloaded, error) {
	began := time.Now()
	h.mu.Lock()
	parked := h.takeParked(len(h.unloads.parked))
	h.mu.Unlock()
	err := h.end(ctx, parked)
	left := h.collectNow()
	for left > 0 && ctx.Err() == nil && time.Since(began) < verifyTime {
		left = h.collectNow()
	}
	h.mu.Lock()
	u := Unloaded{Measured: left >= 0, CodeBytesUnmapped: h.unloads.unmapped, CodeBytesLeft: max(left, 0), Took: time.Since(began)}
	loading := h.loading()
	h.mu.Unlock()
	if u.CodeBytesLeft > 0 && !loading {
		err = errors.Join(err, fault.New(fault.Fatal, "unload_incomplete", "", "report it; the process frees it when it ends",
			"%d bytes of machine code of unloaded connectors are still mapped", u.CodeBytesLeft))
	}
	return u, err
}

func (c *code) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}
