package wasm

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of an instance's guest calls: it ends a call whose
// time is up or whose caller gave up. One lasts as long as its instance, so that
// a call allocates nothing; once it has ended, the instance is of no more use.
type callContext struct {
	inst  *Instance
	done  chan struct{}
	timer *time.Timer

	mu       sync.Mutex
	err      error
	running  bool
	parent   context.Context // whose end is passed on
	unfollow func() bool
}

func newCallContext(i *Instance) *callContext {
	c := &callContext{inst: i, done: make(chan struct{})}
	c.timer = time.AfterFunc(time.Hour, func() { c.end(context.DeadlineExceeded) })
	c.timer.Stop()
	return c
}

// begin arms the time limit and follows ctx for one call. The error says why
// the call must not be made: the instance has ended, or ctx has.
func (c *callContext) begin(ctx context.Context, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.parent != ctx { // a pipeline's is the same for all of its calls
		if c.unfollow != nil {
			c.unfollow()
		}
		c.parent = ctx
		c.unfollow = context.AfterFunc(ctx, func() { c.endFor(ctx) })
	}
	c.running = true
	c.timer.Reset(limit)
	return nil
}

// finish ends one call.
func (c *callContext) finish() {
	c.timer.Stop()
	c.mu.Lock()
	c.running = false
	c.mu.Unlock()
}

// endFor ends the context because the one it follows has, if a call is running for it.
func (c *callContext) endFor(parent context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running && c.parent == parent {
		c.endLocked(context.Canceled)
	}
}

// end ends the context, once.
func (c *callContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

func (c *callContext) endLocked(err error) {
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// stop ends the context for good and lets go of its parent.
func (c *callContext) stop() {
	c.end(context.Canceled)
	c.timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unfollow != nil {
		c.unfollow()
		c.unfollow, c.parent = nil, nil
	}
}

// Deadline implements context.Context: the limit shows in Done only.
func (c *callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.done }

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context: host functions find their instance here.
func (c *callContext) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return c.inst
	}
	return nil
}
