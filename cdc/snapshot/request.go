package snapshot

import (
	"net/url"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/cdc"
)

// Work is how far the tables of one copy have come.
type Work struct {
	// Told says that the stream has been told of its beginning, and not of its end.
	Told bool `json:"b,omitempty"`
	// Done is the tables that are finished, for the copy that the configuration
	// asks for beyond those of Cursor.For.
	Done []string `json:"done,omitempty"`
	// Open is the tables that are begun.
	Open []Progress `json:"open,omitempty"`
}

// Request is a copy of some tables that somebody asked for, from its beginning
// until all of it is handed on. All of it is in the cursor, so that it goes on
// also where the state is lost in which it was kept.
type Request struct {
	ID      uint64   `json:"id"`
	Tables  []string `json:"t"` // Name.String
	Where   string   `json:"w,omitempty"`
	Columns []string `json:"c,omitempty"`
	Paused  bool     `json:"h,omitempty"`
	Rows    []uint64 `json:"n,omitempty"` // of each of Done
	Work
}

func (w *Work) clone() Work {
	n := Work{Told: w.Told, Done: slices.Clone(w.Done), Open: slices.Clone(w.Open)}
	for i := range n.Open {
		n.Open[i].Ranges = slices.Clone(n.Open[i].Ranges)
	}
	return n
}

// table returns the progress of an open table, nil for one that is not.
func (w *Work) table(name string) *Progress {
	for i := range w.Open {
		if w.Open[i].Table == name {
			return &w.Open[i]
		}
	}
	return nil
}

// finish makes an open table a finished one.
func (w *Work) finish(name string) {
	w.Open = slices.DeleteFunc(w.Open, func(p Progress) bool { return p.Table == name })
	if !slices.Contains(w.Done, name) {
		w.Done = append(w.Done, name)
	}
}

// request returns a request that is begun, nil for one that is not.
func (c *Cursor) request(id uint64) *Request {
	for i := range c.Requests {
		if c.Requests[i].ID == id {
			return &c.Requests[i]
		}
	}
	return nil
}

// work returns how far a request has come, with 0 the copy that the configuration
// asks for; nil for a request that is over or not begun.
func (c *Cursor) work(id uint64) *Work {
	if id == 0 {
		return &c.Work
	}
	if r := c.request(id); r != nil {
		return &r.Work
	}
	return nil
}

// table returns the progress of an open table of a request, nil for none.
func (c *Cursor) table(id uint64, name string) *Progress {
	if w := c.work(id); w != nil {
		return w.table(name)
	}
	return nil
}

// finish makes an open table of a request a finished one.
func (c *Cursor) finish(id uint64, name string) {
	if r := c.request(id); r != nil {
		rows := uint64(0)
		if p := r.table(name); p != nil {
			rows = p.Rows
		}
		if !slices.Contains(r.Done, name) {
			r.Rows = append(r.Rows, rows)
		}
	}
	if w := c.work(id); w != nil {
		w.finish(name)
	}
}

// over reports whether a request was begun and is not there any more.
func (c *Cursor) over(id uint64) bool { return id <= c.Past && c.request(id) == nil }

// drop forgets a request: it is over.
func (c *Cursor) drop(id uint64) {
	c.Requests = slices.DeleteFunc(c.Requests, func(r Request) bool { return r.ID == id })
}

// Anew returns the cursor of a copy of all tables that begins behind c. Requests
// begin anew as well.
func (c *Cursor) Anew() Cursor {
	n := Cursor{N: c.N + 1, Past: c.Past}
	for _, r := range c.Requests {
		r.Work, r.Rows = Work{}, nil
		n.Requests = append(n.Requests, r)
	}
	return n
}

// ParseName reads what Name.String wrote; ok is false for anything else.
func ParseName(text string) (n Name, ok bool) {
	db, table, found := strings.Cut(text, ".")
	db, err := url.PathUnescape(db)
	table, err2 := url.PathUnescape(table)
	n = Name{db, table}
	return n, found && err == nil && err2 == nil && n.String() == text
}

// requestOf is a request as the cursor has it.
func requestOf(r cdc.SnapshotRequest) Request {
	n := Request{ID: r.ID, Where: r.Where, Columns: r.Columns, Paused: r.Paused}
	for _, t := range r.Tables {
		n.Tables = append(n.Tables, Name(t).String())
	}
	return n
}

// news is what is told of the request's beginning, or of its end where the
// beginning was told; otherwise nil.
func (r *Request) news(e cdc.SnapshotEvent, code string) *cdc.SnapshotNews {
	if r == nil || r.Told == (e == cdc.SnapshotBegun) {
		return nil
	}
	n := &cdc.SnapshotNews{Event: e, Request: r.ID, Where: r.Where, Columns: slices.Clone(r.Columns), Code: code}
	for _, name := range r.names() {
		n.Tables = append(n.Tables, cdc.TableName(name).String())
	}
	return n
}

// asked is the request as it was asked for.
func (r *Request) asked() cdc.SnapshotRequest {
	a := cdc.SnapshotRequest{ID: r.ID, Where: r.Where, Columns: r.Columns, Paused: r.Paused}
	for _, n := range r.names() {
		a.Tables = append(a.Tables, cdc.TableName(n))
	}
	return a
}

func (r *Request) names() (names []Name) {
	for _, text := range r.Tables {
		if n, ok := ParseName(text); ok {
			names = append(names, n)
		}
	}
	return names
}
