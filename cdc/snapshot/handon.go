package snapshot

import (
	"context"
	"slices"
	"strconv"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

// handOn waits until the stream has passed the high mark, and puts those of the
// window's rows that it has not told about behind it. end is nil where others of
// the same view may follow. changed says that the rows must not be used, or only
// in part. life ends with the copier: what is handed on must not be cut off because
// its request rests.
func (v *view) handOn(ctx, life context.Context, end *Chunk) (changed bool, err error) {
	c := v.c
	for next := 0; ; {
		if err := c.boundary(ctx, v.ready); err != nil {
			return false, err
		}
		var done bool
		next, done, err = v.handOnSome(life, next, end)
		if c.turn.give(); err != nil || done {
			return next < len(v.rows.parts), err
		}
	}
}

// ready reports whether the stream has passed the high mark, or the rows must not
// be used. The caller holds Copier.mu.
func (v *view) ready() (ok bool, err error) {
	if v.w.stale || v.passed {
		return true, nil
	}
	v.passed, err = v.c.o.Database.Covers(v.c.at, v.high)
	return v.passed, err
}

// handOnSome hands on as much as goes without letting the stream go on, from batch
// number next on: a batch, or all of a table without a key. The caller holds turn
// and mu; turn alone is held afterwards.
func (v *view) handOnSome(ctx context.Context, next int, end *Chunk) (behind int, done bool, err error) {
	c, w := v.c, v.w
	for {
		p := c.cursor.table(w.request, w.t.Name.String())
		if w.stale || p == nil || v.part >= len(p.Ranges) {
			c.mu.Unlock()
			return next, true, nil
		}
		last := next == len(v.rows.parts)-1
		if !last {
			err = c.handOnBatch(ctx, w, v.part, next, nil)
		} else {
			err = c.handOnBatch(ctx, w, v.part, next, end)
		}
		if next++; err != nil || last {
			return next, true, err
		}
		if len(w.t.Key) > 0 {
			return next, false, nil
		}
		c.mu.Lock()
	}
}

// handOnBatch hands on a batch of rows, behind which end is where the part has
// come to, unless it is nil. The caller holds turn and mu; turn alone is held
// afterwards.
func (c *Copier) handOnBatch(ctx context.Context, w *window, rangeNumber, next int, end *Chunk) (err error) {
	rows := w.rows
	n := rows.parts[next].batch.Rows()
	now := c.o.Now()
	batch := &cdc.Batch{Begin: c.attached(c.at), Read: now, LogPos: c.logPos, Snapshot: true}
	p := c.cursor.table(w.request, w.t.Name.String())
	r := &p.Ranges[rangeNumber]
	if key := rows.lastKey(&rows.parts[next]); key != "" && len(w.t.Key) > 0 {
		r.After, r.Again = key, false
	}
	if end != nil && end.Next != "" {
		r.After, r.Again = end.Next, false
	}
	p.Rows += uint64(n)
	b := w.place(next, c.logPos, now.UnixMicro())
	if end != nil && end.Last {
		r.Done = true
		c.finishPart(w.request, p)
	}
	c.setCursor()
	batch.End = c.attached(c.at)
	c.count(w.t, n, end != nil)
	c.mu.Unlock()
	batch.Batch = b.Seal(rows.schemas)
	batch.Recycle = func() { rows.pool.put(b) }
	if c.o.Share != nil {
		if batch.Held, err = c.o.Share.Acquire(ctx, int64(batch.Size())+batch.Overhead()); err != nil {
			c.failed = &refused{err}
			return c.failed
		}
	}
	return c.emit(ctx, batch)
}

// place takes a batch out of the rows, without the rows that the stream has told
// about, and puts it where the stream stands. The caller holds mu.
func (w *window) place(next int, logPos string, us int64) *sdk.Builder {
	rows := w.rows
	p := &rows.parts[next]
	b, batch := p.b, p.batch
	p.b, p.batch = nil, nil
	file, at := place(logPos)
	gone := w.gone[min(p.first, len(w.gone)):min(p.first+batch.Rows(), len(w.gone))]
	if !slices.Contains(gone, true) && batch.SetPlace(file, at, us) == nil {
		return b
	}
	whole := b
	b = rows.pool.get()
	for i := range batch.Rows() {
		if i < len(gone) && gone[i] {
			continue
		}
		row := batch.Row(i)
		b.BeginTx(sdk.TxInfo{ID: row.Tx().ID(), File: file, PosStart: at, Time: us})
		b.CopyRow(row)
		b.EndTx(0, 0)
	}
	rows.pool.put(whole)
	return b
}

// place reads "file:position".
func place(logPos string) (file []byte, pos uint64) {
	f, p, ok := cutLast(logPos, ":")
	n, err := strconv.ParseUint(p, 10, 64)
	if !ok || err != nil {
		return nil, 0
	}
	return []byte(f), n
}

// finishPart makes a table of which all parts are done a finished one. The
// caller holds turn and mu.
func (c *Copier) finishPart(request uint64, p *Progress) {
	for _, r := range p.Ranges {
		if !r.Done {
			return
		}
	}
	c.cursor.finish(request, p.Table)
}
