package wasm

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// fuelSlice is what a guest may use up before it is looked at: 20 to 250 µs of
// most code. It bounds what a spinning guest delays the collector and its own
// end by, and looking costs about a hundredth of the guest's time.
const fuelSlice = 250_000

// turnTime is how long a guest keeps its processor while others wait for one: it
// gives it up before the look at which it would have had it for longer, if the next
// slice takes as long as the last. So no guest has it for more than a
// millisecond, its longest slice.
const turnTime = 500 * time.Microsecond

// What a metered guest is ended for, besides time and cancellation.
var (
	errFuel  = errors.New("out of fuel")
	errDepth = errors.New("it calls itself too deep")
)

// callContext is the context of an instance's guest calls, and decides when
// one must end: its time is up, its fuel is used up, its caller gave up, the
// instance closes. One lasts as long as its instance, so that a call allocates
// nothing. Nobody waits on it: a metered guest comes and asks (look).
type callContext struct {
	inst     *Instance
	parent   context.Context // of the call in hand
	began    time.Time
	deadline time.Time
	turn     time.Time   // when the guest last had to wait for its processor
	looked   time.Time   // when it was last looked at
	stopped  atomic.Bool // the instance closes; set from any goroutine

	limited   bool
	left      int64 // fuel of the call beyond what the guest has, if limited
	granted   int64 // fuel that the guest was given in this call, or that was spent for it
	unchecked int64 // spent for it since the last check
	err       error // why the call was ended; the instance is of no more use

	watch func(what int) // tests: the guest's comings and goings
}

// What watch is told.
const (
	watchLeft    = iota // the guest has left its code
	watchYielded        // others had their turns
	watchReturns        // it goes back
)

// begin prepares for a call: fuel bounds it unless 0. It returns the fuel that
// the guest begins with. The error says why the call must not be made: the
// instance has ended, or ctx has.
func (c *callContext) begin(ctx context.Context, limit time.Duration, fuel int64) (int64, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.stopped.Load():
		c.err = context.Canceled
		return 0, c.err
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	c.parent, c.began = ctx, time.Now()
	c.turn, c.looked, c.deadline = c.began, c.began, c.began.Add(limit)
	c.limited, c.left, c.granted = fuel > 0, fuel, 0
	return c.grant(), nil
}

// grant takes a slice of the fuel that is left.
func (c *callContext) grant() int64 {
	slice := int64(fuelSlice)
	if c.limited {
		slice = min(slice, c.left)
		c.left -= slice
	}
	c.granted += slice
	return slice
}

// look is called by the guest when its fuel, or its depth, is below zero. It
// returns the fuel to go on with, or panics with why the guest must end. That
// the guest has left its own code lets Go's collector in. Now and then it goes to
// the end of the scheduler's queue as well: Go lets a goroutine keep its processor
// for 10 ms, and a collection, which waits for several turns, took half a second
// with two spinning guests for each processor.
func (c *callContext) look(fuel, depth int64) int64 {
	if c.watch != nil {
		c.watch(watchLeft)
		defer c.watch(watchReturns)
	}
	now := c.check()
	if slice := now.Sub(c.looked); now.Sub(c.turn)+slice > turnTime {
		runtime.Gosched()
		now = time.Now()
		c.turn = now
		if c.watch != nil {
			c.watch(watchYielded)
		}
	}
	c.looked = now
	switch {
	case depth < 0:
		c.end(errDepth)
	case fuel >= 0:
		return fuel
	case c.limited && c.left+fuel < 0:
		c.end(errFuel)
	}
	if c.limited { // what it owes comes out of what is left
		c.left += fuel
	}
	c.granted -= fuel
	return c.grant()
}

// check panics if the call must end for a reason of the host's. It returns the time.
func (c *callContext) check() time.Time {
	now := time.Now()
	switch {
	case c.stopped.Load():
		c.end(context.Canceled)
	case c.parent.Err() != nil:
		c.end(c.parent.Err())
	case now.After(c.deadline):
		c.end(context.DeadlineExceeded)
	}
	return now
}

func (c *callContext) end(err error) {
	c.err = err
	panic(err)
}

// pay charges for bytes that a host function handled.
func (c *callContext) pay(bytes int) { c.charge(int64(bytes) >> 4) }

// charge takes fuel for what the host does. The guest feels it when it comes to
// look; a long way is checked here, and the end of the fuel as well.
func (c *callContext) charge(n int64) {
	c.granted += n
	c.left -= n
	if c.limited && c.left < 0 && c.inst.guest != nil && c.left+c.inst.guest.fuelLeft() < 0 {
		c.end(errFuel)
	}
	if c.unchecked += n; c.unchecked > fuelSlice {
		c.unchecked = 0
		c.check()
	}
}

// stop has the call that is running end, and no other begin. Safe from any goroutine.
func (c *callContext) stop() { c.stopped.Store(true) }

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context: a guest is ended by look.
func (c *callContext) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (c *callContext) Err() error { return nil }

// Value implements context.Context: host functions find their instance here.
func (c *callContext) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return c.inst
	}
	return nil
}

// fuelOut answers (fuel, depth): what a metered guest imports.
func fuelOut(i *Instance, _ []byte, stack []uint64) {
	stack[0] = uint64(i.ctx.look(int64(stack[0]), int64(stack[1])))
}

// meterFuncs are those of the module meter.HostModule.
var meterFuncs = map[string]hostFunc{meter.HostFunc: fuelOut}
