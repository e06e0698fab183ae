package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// viewMax is how long the server is to keep a view. It ends with the batch that
// comes behind that; and at once, with the connection, while a batch is waited for
// for as long: a sink that stands must not make the server keep what was deleted.
const viewMax = 5 * time.Second

// errViewEnded ends the reading of a view of which rows are left. What was handed
// on is no less right; the part goes on with another view.
var errViewEnded = errors.New("the view is not read to its end")

// errStale ends the reading of a view of a table that is not what it was.
var errStale = errors.New("the table was altered while it was read")

// view is a worker's reading of a view of a table. While it is read, its rows are
// handed on batch by batch as soon as the stream has passed the high mark, which
// is that of the view and so of all its rows; until then they are held, as many as
// a chunk may have.
type view struct {
	c      *Copier
	w      *window
	rows   *Rows
	part   int
	high   sdk.Position
	passed bool // the stream has passed high
	began  time.Time

	ctx, life context.Context // of waiting, and of handing on
	late      *time.Timer     // ends the reading
}

// read reads a view of a table between its marks, and hands on what it has.
//
// The low mark is what is visible, and must reach to where the stream stood when
// the window was opened: what lies before that, the window has not seen. A log's
// end would not do, because a server writes its log before it shows a change.
// The high mark is the log's end, because what is shown is in the log.
func (w *worker) read(ctx context.Context, win *window, r Range, part int) (changed bool, err error) {
	if err := w.low(ctx, win); err != nil {
		return false, err
	}
	c := w.c
	v := &view{c: c, w: win, part: part, began: time.Now(), ctx: ctx, life: w.task.life}
	if v.high, err = w.conn.View(ctx, win.t); err != nil {
		return false, err
	}
	limits := w.size.next(c.o.Limits)
	if n := c.o.Limit.RowsBurst(); n > 0 {
		limits.Rows = min(limits.Rows, n)
	}
	v.rows = newRows(&c.pool, win.request, win.run, win.t, part, win.file)
	v.rows.full, win.taken = v.full, v.rows
	reading, end := context.WithCancelCause(ctx)
	defer end(nil)
	v.late = time.AfterFunc(viewMax, func() { end(errViewEnded) })
	v.late.Stop()
	chunk, err := w.conn.Chunk(reading, win.t, r, limits, v.rows)
	v.late.Stop()
	switch {
	case errors.Is(err, errStale):
		return true, nil
	case errors.Is(err, errViewEnded):
		w.size.less()
		return false, nil
	case err != nil:
		return false, err
	}
	w.size.observe(v.rows.taken, limits.Rows, time.Since(v.began))
	c.fill(win, false)
	win.held.Resize(int64(v.rows.Bytes()))
	if err := c.o.Limit.Rows(ctx, v.rows.Len()); err != nil {
		return false, err
	}
	return v.handOn(ctx, w.task.life, chunk)
}

// low asks for the low mark until it reaches to where the window was opened.
func (w *worker) low(ctx context.Context, win *window) error {
	for {
		low, err := w.conn.Low(ctx, win.t)
		if err != nil {
			return err
		}
		ok, err := w.c.o.Database.Covers(low, win.since)
		if err != nil || ok {
			return err
		}
		if err := sleep(ctx, lowRetry); err != nil {
			return err
		}
	}
}

// full hands on the rows that are held, if it is time to.
func (v *view) full() error {
	now, err := v.due()
	if err != nil || !now {
		return err
	}
	v.late.Reset(viewMax)
	more := v.c.fill(v.w, true)
	limit := int64(v.c.o.Limits.Bytes)
	large := int64(v.rows.Bytes()) > limit // by a row that is
	if large {
		v.w.held.Resize(int64(v.rows.Bytes()))
	}
	if err := v.c.o.Limit.Rows(v.ctx, v.rows.Len()); err != nil {
		return err
	}
	changed, err := v.handOn(v.ctx, v.life, nil)
	switch ended := !v.late.Stop(); {
	case err != nil:
		return err
	case changed:
		return errStale
	case !v.c.empty(v.w), !more, ended:
		return errViewEnded
	}
	if large {
		v.w.held.Resize(limit)
	}
	v.rows.enough = time.Since(v.began) > viewMax
	return nil
}

// due reports whether the rows that are held are to be handed on now: where they
// can be, where there is no room for others, and where the stream is held up.
func (v *view) due() (now bool, err error) {
	c := v.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.w.stale {
		return false, errStale
	}
	if ok, err := v.ready(); ok || err != nil {
		return ok, err
	}
	return v.rows.Bytes() >= c.o.Limits.Bytes || c.overfull(v.w), nil
}
