package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// readPrefix begins the place of a row that a snapshot has read.
const readPrefix = "snapshot/"

// initialCopy is the id of the copy that the configuration asks for.
const initialCopy = "initial"

// copyState is what the stream has told of one copy of tables.
type copyState struct {
	begun  uint64   // stream sequence of the message
	tables []string // "db.table"; none for all
	mod    uint64   // keys that are this many apart are copied; 0 for all
	rest   uint64   // and have this remainder
	over   bool
	ended  bool // and not given up
}

// copyWhere is the predicate that copyState knows.
const copyWhere = "n %% %d = %d"

// has reports whether a key is to be copied.
func (s *copyState) has(t *table, n uint64) bool {
	return (len(s.tables) == 0 || slices.Contains(s.tables, DB+"."+t.name)) && (s.mod == 0 || n%s.mod == s.rest)
}

// checkCopy judges what is told of a copy: it begins once and is over once, and
// where it has ended, each row that there is was told since it began, by it or by
// the stream.
func (c *Checker) checkCopy(m *Message, kind string) {
	var body struct {
		Kind, Snapshot, Where string
		Tables                []string
	}
	if err := json.Unmarshal(m.Body, &body); err != nil || body.Kind != kind || body.Snapshot == "" || len(body.Tables) == 0 {
		c.changed(byTransaction, m, "the body is %.200s: %v", m.Body, err)
		return
	}
	if t := &c.tx; t.last.tx != "" && !t.ended {
		c.changed(byTransaction, m, "a %s inside transaction %s", kind, t.last.tx)
	}
	s := c.copies[body.Snapshot]
	switch {
	case kind == "snapshot_begin" && s == nil:
		s = &copyState{begun: m.Sequence}
		if body.Snapshot != initialCopy {
			s.tables = body.Tables
		}
		if _, err := fmt.Sscanf(body.Where, copyWhere, &s.mod, &s.rest); err != nil && body.Where != "" {
			c.changed(byTransaction, m, "the predicate is %q", body.Where)
		}
		c.copies[body.Snapshot] = s
		return
	case kind == "snapshot_begin":
		c.doubled(byTransaction, m, "snapshot %s begins again", body.Snapshot)
		return
	case s == nil:
		c.lost(byTransaction, 1, m, "snapshot %s is over, and has not begun", body.Snapshot)
		return
	case s.over:
		c.doubled(byTransaction, m, "snapshot %s is over again", body.Snapshot)
	}
	s.over = true
	if kind != "snapshot_end" {
		c.report.Cancelled++
		return
	}
	s.ended = true
	c.report.Snapshots++
	for name, keys := range c.keys {
		for n, k := range keys {
			if k.alive && k.told < s.begun && s.has(c.tables[name], n) {
				c.lost(byKey, 1, m, "snapshot %s lacks %s key %d", body.Snapshot, name, n)
			}
		}
	}
}

// checkRead judges where the message of a row stands that a snapshot has read:
// it is a transaction of its own, between two others.
func (c *Checker) checkRead(m *Message) {
	c.report.Reads++
	if s := c.copies[copyOf(m)]; s == nil || s.over {
		c.changed(byTransaction, m, "a row of a snapshot that has not begun, or is over")
	}
	if t := &c.tx; t.last.tx != "" && !t.ended {
		c.changed(byTransaction, m, "a row of a snapshot inside transaction %s", t.last.tx)
	}
	for header, want := range map[string]string{headerTxRows: "1", headerTxLast: "1", headerSubjectLast: "1"} {
		if got := m.header(header); got != want {
			c.changed(byTransaction, m, "%s of a row of a snapshot is %q", header, got)
		}
	}
}

// copyOf returns the id of the copy that a row was read for.
func copyOf(m *Message) string {
	if parts := strings.Split(m.header(headerPos), "/"); len(parts) == 6 { // the last slash is that of part/parts
		return parts[1]
	}
	return initialCopy
}

// foldRead judges a row that a snapshot has read. One that the stream has told
// of before must be just as the stream has it: an older one steps back, and a
// newer one shows that a change is missing in front of it.
func (c *Checker) foldRead(m *Message, t *table, op string, before, after []string) {
	if op != "r" || before != nil || after == nil {
		c.changed(byKey, m, "op %q of a row of a snapshot with before %t, after %t", op, before != nil, after != nil)
		return
	}
	s, n, v := c.key(t, after)
	id := copyOf(m)
	if of := c.copies[id]; of != nil && !of.has(t, n) {
		c.changed(byKey, m, "%s key %d was not asked for", t.name, n)
	}
	switch {
	case s.read == id:
		c.doubled(byKey, m, "%s key %d is read again", t.name, n)
	case s.v == 0 && c.spec.Snapshot:
		s.v, s.alive, s.row = v, true, after
	case v < s.v || !s.alive:
		c.reordered(byKey, m, "%s key %d steps back from version %d to %d", t.name, n, s.v, v)
	case v > s.v:
		c.lost(byKey, v-s.v, m, "%s key %d goes from version %d to %d by a snapshot", t.name, n, s.v, v)
	case !slices.Equal(s.row, after):
		c.changed(byKey, m, "%s key %d is %q, the last after was %q", t.name, n, after, s.row)
	}
	s.read, s.told = id, m.Sequence
}
