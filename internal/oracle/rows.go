package oracle

import (
	"encoding/json"
	"slices"
	"strings"
)

// keyState is the latest of one key, as folded from the stream.
type keyState struct {
	v     uint64 // of the last change, deletes included
	alive bool
	row   []string // canonical values while alive
	read  string   // by that snapshot, the last one
	told  uint64   // stream sequence of the last message that has it
}

// envelope is the part of a body that the oracle reads.
type envelope struct {
	Before map[string]json.RawMessage `json:"before"`
	After  map[string]json.RawMessage `json:"after"`
	Op     string                     `json:"op"`
	Source struct {
		DB    string `json:"db"`
		Table string `json:"table"`
	} `json:"source"`
}

// checkData judges a row's message.
func (c *Checker) checkData(m *Message) {
	c.report.Rows++
	read := (c.spec.Snapshot || c.spec.Requests) && strings.HasPrefix(m.header(headerPos), readPrefix)
	if read {
		c.checkRead(m)
	} else {
		c.checkPlace(m)
	}
	tokens := strings.Split(m.Subject, ".")
	var t *table
	if len(tokens) == 4 && tokens[0] == "cdc" && tokens[1] == c.spec.Pipeline && tokens[2] == DB {
		t = c.tables[tokens[3]]
	}
	if t == nil {
		c.changed(byKey, m, "no followed table has this subject")
		return
	}
	var e envelope
	if err := json.Unmarshal(m.Body, &e); err != nil {
		c.changed(byKey, m, "the body is not JSON: %v", err)
		return
	}
	if e.Source.DB != DB || e.Source.Table != t.name {
		c.changed(byKey, m, "the body says it is of %s.%s", e.Source.DB, e.Source.Table)
	}
	before, ok1 := c.image(m, t, e.Before)
	after, ok2 := c.image(m, t, e.After)
	if !ok1 || !ok2 {
		return
	}
	if read {
		c.foldRead(m, t, e.Op, before, after)
		return
	}
	c.apply(m, t, e.Op, before, after)
	if e.Op != "u" || after != nil {
		c.checkWriter(m, t, e.Op, after)
	}
}

// image reads one image into canonical text, and compares it with what its key
// and version say. No image gives nil.
func (c *Checker) image(m *Message, t *table, values map[string]json.RawMessage) (row []string, ok bool) {
	if values == nil {
		return nil, true
	}
	row = make([]string, len(t.columns))
	for i, col := range t.columns {
		raw, present := values[col.name]
		if !present {
			c.changed(byKey, m, "column %s is absent", col.name)
			return nil, false
		}
		row[i] = col.kind.fromBody(raw)
	}
	if len(values) != len(t.columns) {
		c.changed(byKey, m, "%d columns, the table has %d", len(values), len(t.columns))
	}
	var n, v uint64
	if json.Unmarshal([]byte(row[t.column("n")]), &n) != nil || json.Unmarshal([]byte(row[t.column("v")]), &v) != nil {
		c.changed(byKey, m, "key %s, version %s", row[t.column("n")], row[t.column("v")])
		return nil, false
	}
	_, want := t.row(n, v)
	c.mask(t, want)
	for i, col := range t.columns {
		if col.kind != kindRowCount && row[i] != want[i] {
			c.changed(byKey, m, "key %d, version %d, column %s is %q, should be %q", n, v, col.name, row[i], want[i])
			break // one message is one change
		}
	}
	return row, true
}

// mask does to a row what the pipeline's steps do to it.
func (c *Checker) mask(t *table, row []string) {
	for i, col := range t.columns {
		if f := c.spec.Masked[t.name+"."+col.name]; f != nil {
			row[i] = f(row[i])
		}
	}
}

// apply judges a change against what its key was, and folds it in.
func (c *Checker) apply(m *Message, t *table, op string, before, after []string) {
	switch {
	case op == "c" && before == nil && after != nil:
		c.put(m, t, after)
	case op == "d" && before != nil && after == nil:
		c.remove(m, t, before)
	case op == "u" && before != nil && after != nil:
		if before[t.column("n")] != after[t.column("n")] {
			c.remove(m, t, before)
		} else {
			c.was(m, t, before)
		}
		c.put(m, t, after)
	default:
		c.changed(byKey, m, "op %q with before %t, after %t", op, before != nil, after != nil)
	}
}

func (c *Checker) key(t *table, row []string) (s *keyState, n, v uint64) {
	n, v = number(row[t.column("n")]), number(row[t.column("v")])
	s = c.keys[t.name][n]
	if s == nil {
		s = &keyState{}
		c.keys[t.name][n] = s
	}
	return s, n, v
}

// was judges a before image of a row that stays: it must be the last after image.
func (c *Checker) was(m *Message, t *table, before []string) {
	s, n, v := c.key(t, before)
	s.told = m.Sequence
	if s.v == v && (!s.alive || !slices.Equal(s.row, before)) {
		c.changed(byKey, m, "key %d: before is %q, the last after was %q", n, before, s.row)
	}
}

// put judges and folds an after image.
func (c *Checker) put(m *Message, t *table, after []string) {
	s, n, v := c.key(t, after)
	s.told = m.Sequence
	if !c.version(m, t, n, s, v) {
		return
	}
	s.v, s.alive, s.row = v, true, after
}

// remove judges and folds the end of a row; it is a version of its own.
func (c *Checker) remove(m *Message, t *table, before []string) {
	s, n, v := c.key(t, before)
	if s.v == v {
		c.was(m, t, before)
	}
	if !c.version(m, t, n, s, v+1) {
		return
	}
	s.v, s.alive, s.row = v+1, false, nil
}

// version judges a key's next version; false for one that was there already.
func (c *Checker) version(m *Message, t *table, n uint64, s *keyState, v uint64) bool {
	if v != s.v+1 && !(c.spec.Snapshot && s.v == 0) {
		c.step(byKey, m, "the version of "+t.name+" key "+formatKey(n), s.v, v)
	}
	return v > s.v
}

// Compare judges the end: nothing is open, and what the stream says is in the
// tables is what is in them. tables come from Workload.Tables.
func (c *Checker) Compare(tables map[string][][]string) {
	if c.tx.last.tx != "" && !c.tx.ended {
		c.lost(byTransaction, 1, nil, "the last transaction, %s, has no end", c.tx.last.tx)
	}
	for name, t := range c.tables {
		inDatabase := map[uint64]bool{}
		for _, row := range tables[name] {
			want := slices.Clone(row)
			c.mask(t, want)
			s, n, v := c.key(t, want)
			inDatabase[n] = true
			switch {
			case !s.alive || s.v < v:
				c.lost(byKey, max(1, v-s.v), nil, "%s key %d is at version %d, in the stream at %d", name, n, v, s.v)
			case !slices.Equal(s.row, want):
				c.changed(byKey, nil, "%s key %d is %q, in the stream %q", name, n, want, s.row)
			}
		}
		for n, s := range c.keys[name] {
			if s.alive && !inDatabase[n] {
				c.lost(byKey, 1, nil, "%s key %d is gone, in the stream at version %d", name, n, s.v)
			}
		}
	}
}
