package snapshot

import (
	"context"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/sdk"
)

// touchedBytesMax bounds the keys that a window notes for rows that are to be read
// yet.
const touchedBytesMax = 4 << 20

// window is the time from before a view of a table is opened until what is read
// of it is handed on. It knows which of those rows the stream has told about
// meanwhile.
type window struct {
	t       *Table
	request uint64   // see task
	run     *cdc.Run // nil where the copy is not one of several

	since sdk.Position // where the stream stood when the window was opened
	file  []byte       // of the log, then
	stale bool         // what is read must not be used: the table changed as a whole

	touched map[string]struct{} // told about since then; nil once no more rows are read
	bytes   int                 // of touched
	filled  chan struct{}       // for who waits until rows are there; nil while nobody does
	taken   *Rows               // as the worker fills it
	held    *budget.Reservation

	// While rows are there to be handed on:
	rows  *Rows
	index *index // of the rows by key; nil until the stream tells about the table
	gone  []bool // rows that the stream has told about; nil likewise
}

// open opens a window on a table as it was planned. stale is true when the
// table was altered since then.
func (c *Copier) open(ctx context.Context, request uint64, t *Table, planned uint64) (w *window, stale bool, err error) {
	if err := c.boundary(ctx, nil); err != nil {
		return nil, false, err
	}
	defer c.turn.give()
	defer c.mu.Unlock()
	if c.altered != planned {
		return nil, true, nil
	}
	file, _ := place(c.logPos)
	w = &window{t: t, request: request, run: c.cursor.Run, since: c.at, file: file, touched: map[string]struct{}{}}
	c.windows[t.Name] = append(c.windows[t.Name], w)
	return w, false, nil
}

// version returns how often tables were altered.
func (c *Copier) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.altered
}

// fill says that the rows that were read are there to be handed on: from now on
// the window knows them, and need not hold up the stream. more says that others of
// the same view are to follow; false is returned where that can't be, because more
// keys were noted than are kept.
func (c *Copier) fill(w *window, more bool) bool {
	w.taken.seal()
	c.mu.Lock()
	defer c.mu.Unlock()
	w.rows = w.taken
	if len(w.touched) > 0 {
		w.compare()
	}
	if !more || w.bytes > c.touchedMax {
		w.touched = nil
	}
	w.wake()
	return w.touched != nil
}

// compare finds the rows that were told about before they were there. The caller
// holds Copier.mu.
func (w *window) compare() {
	var key []byte
	for i := range w.rows.Len() {
		row, _ := w.rows.row(i)
		var ok bool
		if key, ok = appendIdentity(key[:0], w.t.Key, w.t.Schema, row.After(), sdk.Image{}); !ok {
			w.stale = true
			return
		}
		if _, told := w.touched[string(key)]; told {
			w.goes(i)
		}
	}
}

// empty says that the rows are handed on. It returns false when no others of the
// view may follow.
func (c *Copier) empty(w *window) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.rows, w.index, w.gone = nil, nil, nil
	w.taken.reset()
	return w.touched != nil
}

// wake wakes who waits for rows. The caller holds Copier.mu.
func (w *window) wake() {
	if w.filled != nil {
		close(w.filled)
		w.filled = nil
	}
}

// touch notes that the stream has told about a row that may be there. The caller
// holds Copier.mu.
func (w *window) touch(key []byte) {
	if w.index == nil {
		w.index = newIndex(w.rows, w.t)
	}
	if w.index == nil {
		w.stale = true
		return
	}
	if i := w.index.find(key); i >= 0 {
		w.goes(i)
	}
}

// goes notes that a row must not be handed on.
func (w *window) goes(i int) {
	if w.gone == nil {
		w.gone = make([]bool, w.rows.Len())
	}
	w.gone[i] = true
}

// close ends the window.
func (c *Copier) close(w *window) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.wake()
	if w.taken != nil {
		w.taken.release()
	}
	w.held.Release()
	list := slices.DeleteFunc(c.windows[w.t.Name], func(o *window) bool { return o == w })
	if c.windows[w.t.Name] = list; len(list) == 0 {
		delete(c.windows, w.t.Name)
	}
	if len(c.windows) == 0 {
		clear(c.names)
	}
	c.wake()
}

// full returns what is closed when a window that has noted too much has rows, and
// ends; nil when none has. The caller holds mu.
func (c *Copier) full() <-chan struct{} {
	for _, list := range c.windows {
		for _, w := range list {
			if c.overfull(w) && w.rows == nil {
				if w.filled == nil {
					w.filled = make(chan struct{})
				}
				return w.filled
			}
		}
	}
	return nil
}

// note notes the rows of a batch of the stream. The caller holds mu.
func (c *Copier) note(b *cdc.Batch) {
	var s *sdk.Schema
	var list []*window
	for i := range b.Rows() {
		row := b.Row(i)
		if now := row.Schema(); now != s {
			s = now
			name, ok := c.names[s]
			if !ok {
				name = Name{s.DB, s.Table}
				c.names[s] = name
			}
			list = c.windows[name]
		}
		for _, w := range list {
			c.noteRow(w, row, s)
		}
	}
}

// noteRow notes the keys of a row's images; what has no key, such as a
// TRUNCATE, concerns all rows. The caller holds mu.
func (c *Copier) noteRow(w *window, row sdk.Row, s *sdk.Schema) {
	if w.stale {
		return
	}
	before, after := row.Before(), row.After()
	if len(w.t.Key) == 0 || len(s.Columns) != len(w.t.Schema.Columns) || !before.Valid() && !after.Valid() {
		w.stale = true
		return
	}
	for _, m := range [...][2]sdk.Image{{before, after}, {after, before}} {
		if !m[0].Valid() {
			continue
		}
		key, ok := appendIdentity(c.scratch[:0], w.t.Key, s, m[0], m[1])
		if c.scratch = key; !ok {
			w.stale = true
			return
		}
		if w.rows != nil {
			w.touch(key)
		}
		if w.touched == nil { // what is there is all
			continue
		}
		if _, known := w.touched[string(key)]; !known {
			w.touched[string(key)] = struct{}{}
			w.bytes += len(key) + 64
		}
		if w.rows != nil && c.overfull(w) {
			w.touched = nil
		}
	}
}

// overfull reports whether a window has noted more than it may. The caller holds
// mu.
func (c *Copier) overfull(w *window) bool {
	return w.bytes > c.touchedMax && w.touched != nil && !w.stale
}
