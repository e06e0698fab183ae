package snapshot

import (
	"slices"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
)

// table is what is told of a table that this run copies.
type table struct {
	name   Name
	rows   int64  // estimated
	done   uint64 // read in this run
	chunks uint64
	began  time.Time
	last   time.Time
}

// known notes a table that is about to be copied.
func (c *Copier) known(t *Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := t.Name.String()
	k := c.tables[name]
	if k == nil {
		k = &table{name: t.Name}
		c.tables[name] = k
		c.order = append(c.order, name)
	}
	k.rows = t.Rows
}

// count counts rows of a table. The caller holds mu.
func (c *Copier) count(t *Table, rows int, chunk bool) {
	k := c.tables[t.Name.String()]
	if k == nil {
		return
	}
	now := c.o.Now()
	if k.began.IsZero() {
		k.began = now
	}
	k.last = now
	k.done += uint64(rows)
	if chunk {
		k.chunks++
	}
}

func (c *Copier) pause(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = why
}

// asks reports whether a worker is to ask how busy the server is: while reading
// pauses all do, otherwise one of them every now and then, because the question
// costs a server as much as hundreds of rows.
func (c *Copier) asks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == "" && !c.asked.IsZero() && time.Since(c.asked) < loadEvery {
		return false
	}
	c.asked = time.Now()
	return true
}

// loadEvery is how often it is asked how busy the server is.
const loadEvery = 250 * time.Millisecond

// Progress returns how far the copy has come; at any time, from any goroutine.
func (c *Copier) Progress() cdc.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := cdc.Snapshot{Complete: c.o.Dormant || c.cursor.Complete(c.o.Patterns), Waiting: c.why, Left: max(0, c.wanted-len(c.order)),
		Rows: c.before.rows, Copied: c.before.copied, Request: c.request, Past: c.cursor.Past}
	for _, name := range c.order {
		k, p := c.tables[name], c.cursor.table(c.request, name)
		s.Rows += k.done
		if p == nil {
			s.Copied++
			continue
		}
		s.Tables = append(s.Tables, k.progress(p))
	}
	if c.request == 0 && !c.o.Dormant { // begun by an earlier life: a copy that rests goes no further
		for i := range c.cursor.Open {
			p := &c.cursor.Open[i]
			if n, ok := ParseName(p.Table); ok && c.tables[p.Table] == nil {
				s.Tables = append(s.Tables, cdc.SnapshotTable{DB: n.DB, Table: n.Table, Rows: p.Rows, RowsEstimated: p.Rows})
			}
		}
	}
	for i := range c.cursor.Requests {
		r := &c.cursor.Requests[i]
		s.Requests = append(s.Requests, cdc.SnapshotWork{ID: r.ID, Running: r.ID == c.request && !r.Paused, Tables: c.tableWork(r)})
	}
	for _, e := range c.ending {
		w := cdc.SnapshotWork{ID: e.id}
		for _, t := range e.tables {
			w.Tables = append(w.Tables, cdc.SnapshotTableWork{SnapshotTable: t, Begun: true, Done: true})
		}
		s.Requests = append(s.Requests, w)
	}
	return s
}

// progress is what is told of an open table.
func (k *table) progress(p *Progress) cdc.SnapshotTable {
	t := cdc.SnapshotTable{DB: k.name.DB, Table: k.name.Table, Chunks: k.chunks, Rows: p.Rows, RowsEstimated: uint64(max(0, k.rows))}
	if t.Rows >= t.RowsEstimated { // the server's guess was too low
		t.RowsEstimated = t.Rows + t.Rows/20 + 1
	}
	if took := k.last.Sub(k.began).Seconds(); took > 0 {
		t.RowsPerSecond = float64(k.done) / took
		t.Left = time.Duration(float64(t.RowsEstimated-t.Rows) / t.RowsPerSecond * float64(time.Second))
	}
	return t
}

// tableWork tells of all tables of a request. The caller holds mu.
func (c *Copier) tableWork(r *Request) (list []cdc.SnapshotTableWork) {
	for _, n := range r.names() {
		name := n.String()
		t := cdc.SnapshotTableWork{SnapshotTable: cdc.SnapshotTable{DB: n.DB, Table: n.Table}}
		k, p := c.tables[name], r.table(name)
		if c.request != r.ID {
			k = nil
		}
		switch i := slices.Index(r.Done, name); {
		case i >= 0:
			t.Begun, t.Done = true, true
			if i < len(r.Rows) {
				t.Rows, t.RowsEstimated = r.Rows[i], r.Rows[i]
			}
			if k != nil {
				t.Chunks = k.chunks
			}
		case p != nil && k != nil:
			t.SnapshotTable, t.Begun = k.progress(p), true
		case p != nil:
			t.Rows, t.Begun = p.Rows, true
		}
		list = append(list, t)
	}
	return list
}

// tablesOf returns how far the tables of a request have come; nil for one that
// is not begun.
func (c *Copier) tablesOf(id uint64) (list []cdc.SnapshotTable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.cursor.request(id); r != nil {
		for _, t := range c.tableWork(r) {
			list = append(list, t.SnapshotTable)
		}
	}
	return list
}

// requestName is a request's number as people see it.
func requestName(id uint64) string { return strconv.FormatUint(id, 36) }
