package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc"
)

// Key is where a row stands in the order in which its table is read, as the
// database's driver writes it: of letters, digits and "-_.~" only.
type Key string

// ErrCursor is wrapped by the errors of ParseCursor and Behind.
var ErrCursor = errors.New("not a usable snapshot cursor")

// Cursor says how far the copy of the tables has come. It is part of a
// position, so it is small: tables that are copied are named by the patterns
// that followed them.
type Cursor struct {
	// N rises by one with each batch of the copy: of two cursors of a stream, the
	// one with the larger number came later.
	N uint64 `json:"n,omitempty"`
	// For is the patterns of the tables that are copied for good.
	For []string `json:"for,omitempty"`
	// Work is that of the copy that the configuration asks for.
	Work
	Paused bool `json:"h,omitempty"` // likewise
	// Run is the run that the copy is; nil for a copy that is made once. It is never
	// changed.
	Run *cdc.Run `json:"run,omitempty"`
	// Requests are those that are begun and not over. Past is the highest number
	// of all that ever were begun: with a lower one, a request that is not here is
	// over.
	Requests []Request `json:"req,omitempty"`
	Past     uint64    `json:"past,omitempty"`
}

// Progress is how far one table has come.
type Progress struct {
	Table string `json:"t"` // Name.String
	// Print identifies the columns by which the table is read: with others it
	// begins anew.
	Print  string  `json:"k,omitempty"`
	Rows   uint64  `json:"n,omitempty"` // read so far
	Ranges []Range `json:"r"`
}

// Range is a part of a table's order: the keys behind After, up to and with
// UpTo.
type Range struct {
	After Key `json:"a,omitempty"` // empty for the table's beginning
	UpTo  Key `json:"u,omitempty"` // empty for the table's end
	// Again says that the row at After is to be read again: it gave several
	// messages, and not all of them were delivered.
	Again bool `json:"g,omitempty"`
	Done  bool `json:"d,omitempty"`
}

// ParseCursor reads what Encode wrote; nothing gives the zero Cursor. The error
// wraps ErrCursor.
func ParseCursor(text []byte) (Cursor, error) {
	var c Cursor
	if len(text) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%w: %.200q: %w", ErrCursor, text, err)
	}
	return c, nil
}

// Complete reports whether all tables of the patterns are copied.
func (c *Cursor) Complete(patterns []string) bool {
	return len(c.Open) == 0 && len(c.For) > 0 && slices.Equal(c.For, patterns)
}

// Covers reports whether a copy that has come as far as c has done all that o
// stands for. A cursor that has patterns and no number stands for their tables.
func (c *Cursor) Covers(o *Cursor) bool {
	if o.N == 0 && len(o.For) > 0 {
		return c.Complete(o.For)
	}
	return c.N >= o.N
}

func (c *Cursor) clone() Cursor {
	n := *c
	n.Work = c.Work.clone()
	n.Requests = slices.Clone(c.Requests)
	for i := range n.Requests {
		n.Requests[i].Work = n.Requests[i].Work.clone()
		n.Requests[i].Rows = slices.Clone(n.Requests[i].Rows)
	}
	return n
}

// txPrefix begins the transaction id of a row that was read from a table. No id
// of a log begins like it: those are GTIDs and "file:position".
const txPrefix = "snapshot/"

// TxID returns the transaction id of a row that was read: the request that it
// was read for, if any, its table, its part of the table, and its key. In front
// of the part stands the number of the run, for a copy that is one. Behind reads
// it. Two requests, and two runs, give the same row two ids: both are to be
// delivered.
func TxID(dst []byte, request uint64, run *cdc.Run, table string, part int, k []byte) []byte {
	dst = append(dst, txPrefix...)
	if request != 0 {
		dst = append(strconv.AppendUint(dst, request, 36), '/')
	}
	dst = append(append(dst, table...), '/')
	if run != nil {
		dst = append(strconv.AppendUint(dst, run.Number, 10), '.')
	}
	dst = strconv.AppendInt(dst, int64(part), 10)
	return append(append(dst, '/'), k...)
}

// IsTx reports whether a transaction id is that of a row that was read.
func IsTx(id string) bool { return strings.HasPrefix(id, txPrefix) }

// Behind returns the cursor behind a row that was read, from the cursor before
// its batch. whole says that all messages of the row were delivered; otherwise
// the row is the next to be read. The error wraps ErrCursor.
func (c *Cursor) Behind(tx string, whole bool) (Cursor, error) {
	bad := fmt.Errorf("%w: the row %.200q is not of a table that it has", ErrCursor, tx)
	rest, key, ok := cutLast(strings.TrimPrefix(tx, txPrefix), "/")
	table, part, ok2 := cutLast(rest, "/")
	if run, p, is := strings.Cut(part, "."); is {
		if c.Run == nil || run != strconv.FormatUint(c.Run.Number, 10) {
			return Cursor{}, bad
		}
		part = p
	}
	n, err := strconv.Atoi(part)
	if !ok || !ok2 || err != nil {
		return Cursor{}, bad
	}
	request := uint64(0)
	if id, name, more := cutLast(table, "/"); more { // neither part has a slash
		if request, err = strconv.ParseUint(id, 36, 64); err != nil || request == 0 {
			return Cursor{}, bad
		}
		table = name
	}
	next := c.clone()
	p := next.table(request, table)
	if p == nil || n < 0 || n >= len(p.Ranges) {
		return Cursor{}, bad
	}
	next.N++
	p.Ranges[n].After, p.Ranges[n].Again = Key(key), !whole
	return next, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
