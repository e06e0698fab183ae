package snapshot

import (
	"context"
	"errors"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// errRest ends the work on a request that is not to go on now.
var errRest = errors.New("the request rests")

// ending is a request of which all is handed on. It is over once the pipeline has
// confirmed that: until then the ledger has it pending, and a crash makes the
// cursor of then go on with it.
type ending struct {
	id     uint64
	n      uint64 // the cursor's number then
	tables []cdc.SnapshotTable
}

// task is one copy: the one that the configuration asks for, or a request.
type task struct {
	request *Request // as it was asked for; nil for the configuration's
	life    context.Context
}

// id is the number of the request; 0 for none.
func (t *task) id() uint64 {
	if t.request == nil {
		return 0
	}
	return t.request.ID
}

// tables returns the names of the task's tables.
func (w *worker) tables(ctx context.Context) ([]Name, error) {
	if r := w.task.request; r != nil {
		return r.names(), nil
	}
	w.c.mu.Lock()
	copied := w.c.cursor.For
	w.c.mu.Unlock()
	return w.conn.Tables(ctx, copied)
}

// Serve carries out the ledger's requests, one after the other, until ctx ends,
// or with the first error that is not a request's own. It begins once idle is
// closed, when the copy that the configuration asks for is done; what is
// cancelled meanwhile ends at once.
//
// The ledger says what is wanted, the cursor how far it has come. A request that
// the cursor has begun goes on from there, whatever the ledger had made of it;
// one of the ledger that the cursor knows to be over is over.
func (c *Copier) Serve(ctx context.Context, l cdc.SnapshotLedger, idle <-chan struct{}) error {
	err := c.serve(ctx, l, idle)
	if r, ok := errors.AsType[*refused](err); ok {
		return r.error
	}
	return err
}

func (c *Copier) serve(ctx context.Context, l cdc.SnapshotLedger, idle <-chan struct{}) error {
	if err := c.notAnyMore(ctx); err != nil {
		return err
	}
	if c.o.Heard {
		c.mu.Lock()
		past := c.cursor.Past
		c.mu.Unlock()
		if err := l.Undone(past); err != nil {
			return err
		}
	}
	for {
		changed, next, err := c.settle(ctx, l)
		if err != nil {
			return err
		}
		wait := idle
		select {
		case <-idle:
			if next != nil {
				if err := c.serveOne(ctx, l, next); err != nil {
					return err
				}
				continue
			}
			wait = nil
		default:
		}
		select {
		case <-wait:
		case <-changed:
		case <-c.heard:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settle brings ledger and cursor together, and returns the request to work on.
func (c *Copier) settle(ctx context.Context, l cdc.SnapshotLedger) (changed <-chan struct{}, next *Request, err error) {
	if err := c.confirmed(l); err != nil {
		return nil, nil, err
	}
	asked, changed := pending(l)
	found, err := c.strays(ctx, l, asked)
	if err != nil {
		return nil, nil, err
	}
	if found {
		asked, changed = pending(l)
	}
	cancelled, over := c.sorted(asked)
	for _, id := range cancelled {
		c.o.Log.Info("a snapshot that was asked for is cancelled", "request", requestName(id))
		if err := l.End(id, cdc.SnapshotEnd{Cancelled: true, Tables: c.tablesOf(id)}); err != nil {
			return nil, nil, err
		}
		if err := c.giveUp(ctx, id, nil); err != nil {
			return nil, nil, err
		}
	}
	if err := c.rests(ctx, asked); err != nil {
		return nil, nil, err
	}
	for _, id := range over { // an earlier life has handed on all of it, and where reading began says that it was delivered
		if err := l.End(id, cdc.SnapshotEnd{}); err != nil {
			return nil, nil, err
		}
	}
	for _, a := range asked {
		if !a.Paused && !a.Cancelled && !slices.Contains(over, a.ID) && !c.ends(a.ID) {
			r := requestOf(a)
			return changed, &r, nil
		}
	}
	return changed, nil, nil
}

// pending returns the ledger's requests, without the copy that the configuration
// asks for.
func pending(l cdc.SnapshotLedger) (asked []cdc.SnapshotRequest, changed <-chan struct{}) {
	asked, changed = l.Pending()
	return slices.DeleteFunc(asked, func(a cdc.SnapshotRequest) bool { return a.ID == 0 }), changed
}

// strays tells the ledger of requests that the cursor has and the ledger has not,
// and gives up those that must not go on.
func (c *Copier) strays(ctx context.Context, l cdc.SnapshotLedger, asked []cdc.SnapshotRequest) (found bool, err error) {
	c.mu.Lock()
	begun := slices.Clone(c.cursor.Requests)
	c.mu.Unlock()
	for i := range begun {
		if slices.ContainsFunc(asked, func(a cdc.SnapshotRequest) bool { return a.ID == begun[i].ID }) {
			continue
		}
		over, err := l.Found(begun[i].asked())
		if err != nil {
			return false, err
		}
		if found = true; over == nil {
			continue
		}
		if err := c.giveUp(ctx, begun[i].ID, over.Err); err != nil {
			return false, err
		}
	}
	return found, nil
}

// sorted returns those of the requests that are cancelled, and those that are over.
func (c *Copier) sorted(asked []cdc.SnapshotRequest) (cancelled, over []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range asked {
		ending := slices.ContainsFunc(c.ending, func(e ending) bool { return e.id == a.ID })
		switch {
		case ending:
		case c.cursor.over(a.ID): // its end was told, whatever somebody wanted since
			over = append(over, a.ID)
		case a.Cancelled:
			cancelled = append(cancelled, a.ID)
		}
	}
	return cancelled, over
}

// giveUp takes a request out of the cursor that is cancelled, or has failed by an
// error, and tells of that where the beginning was told.
func (c *Copier) giveUp(ctx context.Context, id uint64, why error) error {
	event, code := cdc.SnapshotCancelled, ""
	if why != nil {
		event, code = cdc.SnapshotFailed, fault.Of(why).Code
	}
	return c.alter(ctx, func(cur *Cursor) (*cdc.SnapshotNews, bool) {
		r := cur.request(id)
		if r == nil {
			return nil, false
		}
		news := r.news(event, code)
		cur.drop(id)
		return news, true
	})
}

// rests notes in the cursor which requests rest.
func (c *Copier) rests(ctx context.Context, asked []cdc.SnapshotRequest) error {
	return c.alter(ctx, func(cur *Cursor) (_ *cdc.SnapshotNews, changed bool) {
		for _, a := range asked {
			if r := cur.request(a.ID); r != nil && r.Paused != a.Paused {
				r.Paused, changed = a.Paused, true
			}
		}
		return nil, changed
	})
}

// alter changes the cursor at a boundary, and tells the pipeline of it at once: f
// returns whether it did, and what is to be told. One change has one piece of news
// at most: a stream that is cut off behind its message has the cursor that belongs
// to it, and so it comes exactly once.
func (c *Copier) alter(ctx context.Context, f func(*Cursor) (*cdc.SnapshotNews, bool)) error {
	c.mu.Lock()
	try := c.cursor.clone()
	c.mu.Unlock()
	if _, changed := f(&try); !changed { // nothing to wait for a boundary for
		return nil
	}
	if err := c.boundary(ctx, nil); err != nil {
		return err
	}
	defer c.turn.give()
	news, changed := f(&c.cursor)
	if changed {
		c.setCursor()
	}
	c.mu.Unlock()
	if !changed {
		return nil
	}
	return c.tell(ctx, news)
}

// serveOne works on a request until it is done or is not to go on.
func (c *Copier) serveOne(ctx context.Context, l cdc.SnapshotLedger, r *Request) error {
	if err := c.enter(ctx, l, r); err != nil {
		return err
	}
	work, rest := context.WithCancelCause(ctx)
	watching := make(chan error, 1)
	go func() { watching <- c.watch(work, l, r.ID, rest) }() // ends with work
	err := c.copy(work, task{request: r, life: ctx})
	rests := errors.Is(context.Cause(work), errRest)
	rest(nil)
	werr := <-watching
	defer c.turnTo(0)
	_, cut := errors.AsType[*refused](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case werr != nil, cut:
		return errors.Join(werr, err)
	case rests:
		return nil
	case err != nil:
		return c.fail(ctx, l, r.ID, err)
	}
	return c.complete(ctx, r.ID)
}

// enter begins a request, and tells of it. Those before it that rest are begun as well, so that
// the highest number says of each lower one whether it is over.
func (c *Copier) enter(ctx context.Context, l cdc.SnapshotLedger, r *Request) error {
	asked, _ := pending(l)
	c.turnTo(r.ID)
	return c.alter(ctx, func(cur *Cursor) (news *cdc.SnapshotNews, changed bool) {
		if cur.request(r.ID) == nil {
			for _, a := range asked {
				if a.ID <= r.ID && a.ID > cur.Past && cur.request(a.ID) == nil {
					cur.Requests = append(cur.Requests, requestOf(a))
				}
			}
			if cur.request(r.ID) == nil { // the ledger has lost it: it was cancelled just now
				cur.Requests = append(cur.Requests, *r)
			}
			cur.Past, changed = max(cur.Past, r.ID), true
		}
		begun := cur.request(r.ID)
		if news = begun.news(cdc.SnapshotBegun, ""); news != nil {
			begun.Told, changed = true, true
		}
		return news, changed
	})
}

// turnTo begins to tell of the progress of another request; 0 for none.
func (c *Copier) turnTo(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, t := range c.tables {
		c.before.rows += t.done
		if c.cursor.table(c.request, name) == nil {
			c.before.copied++
		}
	}
	c.request, c.tables, c.order, c.wanted, c.why = id, map[string]*table{}, nil, 0, ""
}

// watch ends the work on a request when it is paused or cancelled, and confirms
// those before it. It returns when ctx ends.
func (c *Copier) watch(ctx context.Context, l cdc.SnapshotLedger, id uint64, rest context.CancelCauseFunc) error {
	for {
		asked, changed := l.Pending()
		if !slices.ContainsFunc(asked, func(a cdc.SnapshotRequest) bool { return a.ID == id && !a.Paused && !a.Cancelled }) {
			rest(errRest)
			return nil
		}
		if err := c.confirmed(l); err != nil {
			rest(err)
			return err
		}
		select {
		case <-changed:
		case <-c.heard:
		case <-ctx.Done():
			return nil
		}
	}
}

// complete takes a request out of the cursor of which all is handed on.
func (c *Copier) complete(ctx context.Context, id uint64) error {
	tables := c.tablesOf(id)
	if err := c.boundary(ctx, nil); err != nil {
		return err
	}
	defer c.turn.give()
	news := c.cursor.request(id).news(cdc.SnapshotEnded, "")
	c.cursor.drop(id)
	c.setCursor()
	c.ending = append(c.ending, ending{id, c.cursor.N, tables})
	c.mu.Unlock()
	c.o.Log.Info("a snapshot that was asked for is complete", "request", requestName(id))
	return c.tell(ctx, news)
}

// fail ends a request by an error of its own: the stream goes on.
func (c *Copier) fail(ctx context.Context, l cdc.SnapshotLedger, id uint64, why error) error {
	c.o.Log.Error("a snapshot that was asked for has failed", "request", requestName(id), "error", why, "hint", fault.Of(why).Hint)
	if err := l.End(id, cdc.SnapshotEnd{Err: why, Tables: c.tablesOf(id)}); err != nil {
		return err
	}
	return c.giveUp(ctx, id, why)
}

// ends reports whether a request waits for its confirmation.
func (c *Copier) ends(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.ending, func(e ending) bool { return e.id == id })
}

// Awaits reports whether Confirm is of use.
func (c *Copier) Awaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ending) > 0
}

// Confirm says that everything up to a cursor is delivered, and checkpointed.
func (c *Copier) Confirm(upTo *Cursor) {
	c.mu.Lock()
	for i := range c.ending {
		if c.ending[i].n <= upTo.N {
			c.ending[i].n = 0
		}
	}
	c.mu.Unlock()
	select {
	case c.heard <- struct{}{}:
	default:
	}
}

// confirmed tells the ledger of requests that are over.
func (c *Copier) confirmed(l cdc.SnapshotLedger) error {
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.ending, func(e ending) bool { return e.n == 0 })
		if i < 0 {
			c.mu.Unlock()
			return nil
		}
		e := c.ending[i]
		c.mu.Unlock()
		if err := l.End(e.id, cdc.SnapshotEnd{Tables: e.tables}); err != nil {
			return err
		}
		c.mu.Lock()
		c.ending = slices.DeleteFunc(c.ending, func(o ending) bool { return o.id == e.id })
		c.mu.Unlock()
	}
}

// Copying reports whether the copy that the configuration asks for has not come
// to the end of a table yet.
func (c *Copier) Copying(n Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.o.Dormant && !c.cursor.Complete(c.o.Patterns) && !slices.Contains(c.cursor.Done, n.String())
}

// Busy reports whether the stream's positions are waited for, or will be soon.
func (c *Copier) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.o.Dormant && !c.cursor.Complete(c.o.Patterns) || len(c.cursor.Requests) > 0
}
