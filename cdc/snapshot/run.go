package snapshot

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
)

const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
	// lowRetry is how often it is asked whether what the stream has told is
	// visible yet: between the log and the tables lies one sync of a disk.
	lowRetry = 2 * time.Millisecond
	// partsEach is how many parts a table is divided into for each worker: none
	// waits long for the last one.
	partsEach = 2
)

// copy copies all tables of a task that the cursor has not got.
func (c *Copier) copy(ctx context.Context, t task) error {
	c.pool.keep(c.o.Workers * (c.o.Limits.Bytes/batchBytes + 2))
	defer c.pool.keep(0)
	for {
		jobs, err := c.plan(ctx, t)
		if err != nil || len(jobs) == 0 {
			return err
		}
		queue := make(chan job, len(jobs))
		for _, j := range jobs {
			queue <- j
		}
		close(queue)
		g, work := errgroup.WithContext(ctx)
		for range min(c.o.Workers, len(jobs)) {
			g.Go(func() error {
				w := &worker{c: c, task: t, wait: retryMin}
				defer w.disconnect()
				for j := range queue {
					if err := w.job(work, j); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// job is a part of a table, or all of them one after the other.
type job struct {
	name    Name
	part    int
	planned *planned // nil for a table that is not begun
}

const allParts = -1

// plan brings the cursor up to what there is to copy, and returns what is left.
func (c *Copier) plan(ctx context.Context, t task) (jobs []job, err error) {
	w := &worker{c: c, task: t, wait: retryMin}
	defer w.disconnect()
	for {
		jobs, err = w.plan(ctx)
		if err == nil || !w.mend(ctx, err) {
			return jobs, err
		}
	}
}

func (w *worker) plan(ctx context.Context) (jobs []job, err error) {
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	c := w.c
	names, err := w.tables(ctx)
	if err != nil {
		return nil, err
	}
	id := w.task.id()
	wanted := map[string]bool{}
	c.mu.Lock()
	c.wanted = 0
	for _, n := range names {
		if work := c.cursor.work(id); work != nil && !slices.Contains(work.Done, n.String()) || c.tables[n.String()] != nil {
			c.wanted++
		}
	}
	c.mu.Unlock()
	for _, n := range names {
		wanted[n.String()] = true
	}
	if err := c.change(ctx, func(cur *Cursor) bool {
		work := cur.work(id)
		if work == nil {
			return false
		}
		gone := len(work.Open)
		work.Open = slices.DeleteFunc(work.Open, func(p Progress) bool { return !wanted[p.Table] })
		return len(work.Open) != gone
	}); err != nil {
		return nil, err
	}
	for _, n := range names {
		c.mu.Lock()
		work := c.cursor.work(id)
		done := work == nil || slices.Contains(work.Done, n.String())
		c.mu.Unlock()
		if done {
			continue
		}
		if len(jobs) >= c.o.Workers { // there is enough to do: begun later
			jobs = append(jobs, job{n, allParts, nil})
			continue
		}
		p, parts, err := w.begin(ctx, n)
		if err != nil {
			return nil, err
		}
		for i := range parts {
			jobs = append(jobs, job{n, i, p})
		}
	}
	return jobs, nil
}

// change changes the cursor at a boundary; f reports whether it did.
func (c *Copier) change(ctx context.Context, f func(*Cursor) bool) error {
	if err := c.boundary(ctx, nil); err != nil {
		return err
	}
	defer c.turn.give()
	defer c.mu.Unlock()
	if f(&c.cursor) {
		c.setCursor()
	}
	return nil
}

// begin plans a table and sees that the cursor has it as it is: one that is
// gone is finished, one with another key begins anew. Without a table there are
// no parts.
func (w *worker) begin(ctx context.Context, n Name) (p *planned, parts []Range, err error) {
	c := w.c
	p = &planned{version: c.version()}
	if p.t, err = w.conn.Plan(ctx, n, w.task.request); err != nil {
		return nil, nil, err
	}
	name := n.String()
	fresh, err := w.split(ctx, p.t)
	if err != nil {
		return nil, nil, err
	}
	err = c.change(ctx, func(cur *Cursor) bool {
		work := cur.work(w.task.id())
		if work == nil { // the request is over
			p.t = nil
			return false
		}
		if p.t == nil {
			cur.finish(w.task.id(), name)
			return true
		}
		at := work.table(name)
		if slices.Contains(work.Done, name) { // another worker has finished it
			p.t = nil
			return false
		}
		if at == nil {
			work.Open = append(work.Open, Progress{Table: name})
			at = work.table(name)
		} else if at.Print == p.t.Print && len(p.t.Key) > 0 {
			parts = slices.Clone(at.Ranges)
			return false
		}
		*at = Progress{Table: name, Print: p.t.Print, Ranges: slices.Clone(fresh)}
		parts = slices.Clone(at.Ranges)
		return true
	})
	if err == nil && p.t != nil {
		c.known(p.t)
	}
	return p, parts, err
}

// split divides a table that is not begun into parts.
func (w *worker) split(ctx context.Context, t *Table) (parts []Range, err error) {
	parts = []Range{{}}
	if t == nil || t.Splits == nil || w.c.o.Workers == 1 {
		return parts, nil
	}
	w.c.mu.Lock()
	at := w.c.cursor.table(w.task.id(), t.Name.String())
	begun := at != nil && at.Print == t.Print
	w.c.mu.Unlock()
	if begun {
		return parts, nil
	}
	keys, err := t.Splits(ctx, partsEach*w.c.o.Workers)
	for _, k := range keys {
		parts[len(parts)-1].UpTo = k
		parts = append(parts, Range{After: k})
	}
	return parts, err
}

// planned is a table as workers read it. It is good for as long as the version is
// that of now, which opening a window tells.
type planned struct {
	t       *Table
	version uint64
}

// worker copies parts of tables, one after the other.
type worker struct {
	c    *Copier
	task task
	conn Conn
	wait time.Duration
	size sizer // of the next chunk
	of   Name  // of the table that size is for
}

func (w *worker) connect(ctx context.Context) (err error) {
	if w.conn == nil {
		w.conn, err = w.c.o.Database.Open(ctx)
	}
	return err
}

func (w *worker) disconnect() {
	if w.conn != nil {
		_ = w.conn.Close() // it was only read from
		w.conn = nil
	}
}

// mend gets over what another connection mends, after a pause, and reports
// whether there is reason to go on.
func (w *worker) mend(ctx context.Context, err error) bool {
	if _, no := errors.AsType[*refused](err); no || ctx.Err() != nil || !w.c.o.Database.Mendable(err) {
		return false
	}
	w.disconnect()
	w.size.less()
	w.c.o.Log.Warn("reading tables goes on with another connection", "reason", err, "wait", w.wait)
	ok := sleep(ctx, w.wait) == nil
	w.wait = min(2*w.wait, retryMax)
	return ok
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// job copies a part of a table to its end.
func (w *worker) job(ctx context.Context, j job) error {
	if w.of != j.name { // what is known of a table holds for its other parts
		w.size, w.of = newSizer(), j.name
	}
	p := j.planned // one plan for all parts: it costs a server as much as thousands of rows
	for tries := 0; ; {
		done, changed, err := false, false, w.connect(ctx)
		if err == nil && p == nil {
			p, _, err = w.begin(ctx, j.name)
		}
		if err == nil {
			done, changed, err = w.chunk(ctx, p, j.part)
		}
		switch {
		case done:
			return nil
		case errors.Is(err, ErrChanged): // the log will say how
			if p, err = nil, sleep(ctx, w.wait); err != nil {
				return err
			}
			w.wait = min(2*w.wait, retryMax)
		case err != nil && w.mend(ctx, err):
			p = nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case changed:
			if tries++; len(p.t.Key) == 0 && tries >= keylessTries {
				return keylessFault(j.name, tries)
			}
			p = nil
		default:
			w.wait, tries = retryMin, 0
		}
	}
}

func keylessFault(n Name, tries int) error {
	return fault.New(fault.Environment, CodeUnsettled, n.DB+"."+n.Table,
		"give the table a primary key, or let the snapshot begin when the table is not written to",
		"the table has no key by which its rows could be told apart, and it changed %d times while it was read", tries)
}

// CodeUnsettled is the code of the fault for a table without a key that can't be
// copied while it is written to.
const CodeUnsettled = "snapshot_unsettled"

// keylessTries is how often a table without a key is read from its beginning.
const keylessTries = 20

// chunk copies the next chunk of a part. done says that the part is finished,
// changed that the table did, and has to be planned again.
func (w *worker) chunk(ctx context.Context, p *planned, part int) (done, changed bool, err error) {
	c := w.c
	if p.t == nil {
		return true, false, nil
	}
	r, part, ok := c.part(w.task.id(), p.t, part)
	if !ok {
		return true, false, nil
	}
	if err := w.polite(ctx); err != nil {
		return false, false, err
	}
	var held *budget.Reservation
	if c.o.Held != nil {
		if held, err = c.o.Held.Acquire(ctx, int64(c.o.Limits.Bytes)); err != nil {
			return false, false, err
		}
	}
	win, stale, err := c.open(ctx, w.task.id(), p.t, p.version)
	if err != nil || stale {
		held.Release()
		return false, stale, err
	}
	win.held = held
	defer c.close(win)
	changed, err = w.read(ctx, win, r, part)
	return false, changed, err
}

// part returns a part that is not finished as the cursor has it; ok is false
// when there is none, also because the table has begun anew with other parts.
func (c *Copier) part(request uint64, t *Table, part int) (r Range, n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.cursor.table(request, t.Name.String())
	for n := 0; p != nil && n < len(p.Ranges); n++ {
		if !p.Ranges[n].Done && (part == n || part == allParts) {
			return p.Ranges[n], n, true
		}
	}
	return Range{}, 0, false
}

// polite waits while the server has too much to do.
func (w *worker) polite(ctx context.Context) error {
	c := w.c
	for wait := retryMin; c.o.LoadMax > 0 && c.asks(); wait = min(2*wait, retryMax) {
		n, err := w.conn.Load(ctx)
		if err != nil {
			return err
		}
		if n <= c.o.LoadMax {
			c.pause("")
			return nil
		}
		c.pause("the server has more threads at work than threads_running_max")
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}
