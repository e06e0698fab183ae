package schema

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/sdk"
)

// tablesMax bounds the tables that a History remembers; what does not fit is
// not known, which is never wrong.
const tablesMax = 1 << 17

// Fact is what is known of a table. The zero Fact says nothing.
type Fact struct {
	Table  *Table // nil: not known, or Absent
	Absent bool   // there is no such table
	// Read is set for a definition that the server's catalog gave: a position
	// that it is not newer than. A statement in front of it is in it already.
	Read *position.Position
	Used bool // rows were decoded by it
}

// database is what is known of a database.
type database struct {
	Known    bool   // Charset, or that there is none, is known
	Charset  string // the default
	Complete bool   // a table that is not remembered is not there
	// Read is set for a default that the server's catalog gave: a position that it
	// is not newer than.
	Read sdk.Position
}

// History is what is known of all tables at the place of the reading. It is
// used by one goroutine.
type History struct {
	track  func(db string) bool
	tables map[tables.Name]Fact
	dbs    map[string]database
	// What has changed since the last Commit, as it was before.
	tablesBefore map[tables.Name]*Fact // nil: not in tables
	dbsBefore    map[string]database
	order        []Record // in which it changed; their contents are filled in by Commit
}

// New returns a History that knows nothing. It looks after the tables of the
// databases that track says.
func New(track func(db string) bool) *History {
	return &History{track: track, tables: map[tables.Name]Fact{}, dbs: map[string]database{},
		tablesBefore: map[tables.Name]*Fact{}, dbsBefore: map[string]database{}}
}

// Fact returns what is known of a table.
func (h *History) Fact(n tables.Name) Fact {
	f, ok := h.tables[n]
	if !ok && h.dbs[n.DB].Complete {
		f.Absent = true
	}
	return f
}

// Learn takes over what the server's catalog says, which is so in front of the
// open transaction too: the Record is to be kept at once.
func (h *History) Learn(n tables.Name, f Fact) Record {
	if _, known := h.tables[n]; known || len(h.tables) < tablesMax {
		h.tables[n] = f
	}
	r := Record{DB: n.DB, Table: n.Table}
	r.set(f)
	return r
}

// Knows reports whether the default of a database is known.
func (h *History) Knows(db string) bool { return h.dbs[db].Known }

// LearnDatabase takes over a database's default from the server's catalog, as
// Learn does.
func (h *History) LearnDatabase(db, charset string, read *position.Position) Record {
	d := database{Known: true, Charset: charset, Complete: h.dbs[db].Complete, Read: read.Encode()}
	h.dbs[db] = d
	return Record{DB: db, Database: &d}
}

func (h *History) set(n tables.Name, f Fact) {
	before, known := h.tables[n]
	if known && same(before, f) || !known && same(h.Fact(n), f) || !h.track(n.DB) {
		return
	}
	if !known && len(h.tables) >= tablesMax {
		h.setDB(n.DB, database{Known: h.dbs[n.DB].Known, Charset: h.dbs[n.DB].Charset})
		return
	}
	if _, noted := h.tablesBefore[n]; !noted {
		h.tablesBefore[n] = nil
		if known {
			h.tablesBefore[n] = &before
		}
	}
	h.tables[n] = f
	h.order = append(h.order, Record{DB: n.DB, Table: n.Table})
}

func same(a, b Fact) bool {
	return a.Absent == b.Absent && a.Used == b.Used && (a.Read == b.Read || reflect.DeepEqual(a.Read, b.Read)) &&
		(a.Table == b.Table || reflect.DeepEqual(a.Table, b.Table))
}

func (h *History) setDB(name string, d database) {
	if h.dbs[name] == d || !h.track(name) {
		return
	}
	if _, noted := h.dbsBefore[name]; !noted {
		h.dbsBefore[name] = h.dbs[name]
	}
	h.dbs[name] = d
	h.order = append(h.order, Record{DB: name})
}

func compareNames(a, b tables.Name) int {
	switch {
	case a == b:
		return 0
	case a.DB < b.DB || a.DB == b.DB && a.Table < b.Table:
		return -1
	}
	return 1
}

// Rollback takes back what has changed since the last Commit.
func (h *History) Rollback() {
	for n, f := range h.tablesBefore {
		delete(h.tables, n)
		if f != nil {
			h.tables[n] = *f
		}
	}
	for name, d := range h.dbsBefore {
		delete(h.dbs, name)
		if d != (database{}) {
			h.dbs[name] = d
		}
	}
	h.settled()
}

func (h *History) settled() {
	clear(h.tablesBefore)
	clear(h.dbsBefore)
	h.order = h.order[:0]
}

// Commit returns what has changed since the last Commit, to be kept.
func (h *History) Commit() []Record {
	if len(h.order) == 0 {
		return nil
	}
	seen := map[tables.Name]bool{}
	var list []Record
	// A database says first what becomes of its tables.
	slices.SortStableFunc(h.order, func(a, b Record) int {
		return compareNames(tables.Name{DB: a.DB, Table: a.Table}, tables.Name{DB: b.DB, Table: b.Table})
	})
	for _, r := range h.order {
		n := tables.Name{DB: r.DB, Table: r.Table}
		if seen[n] {
			continue
		}
		seen[n] = true
		if r.Table == "" {
			d := h.dbs[r.DB]
			r.Database = &d
		} else {
			r.set(h.tables[n])
		}
		list = append(list, r)
	}
	h.settled()
	return list
}

// Changed is the outcome of a statement.
type Changed struct {
	Class Class
	// Conflicts are tables of which rows in front of the statement were decoded
	// by a definition that is newer than the statement.
	Conflicts []tables.Name
}

// change is a statement being applied.
type change struct {
	h *History
	q *Query
	// later reports whether a definition read there has the statement in it.
	later func(*position.Position) bool
	out   Changed
}

// Apply takes a statement of the log. later reports whether a position lies
// behind the statement. Names that an uncertain statement touches are to be
// told to Forget.
func (h *History) Apply(q *Query, later func(*position.Position) bool) Changed {
	s, class := read(q)
	c := &change{h: h, q: q, later: later, out: Changed{Class: class}}
	if class != Understood {
		return c.out
	}
	switch s.verb {
	case verbCreate, verbLike:
		c.create(&s)
	case verbAlter:
		c.alter(&s)
	case verbRename:
		for _, p := range s.pairs {
			c.move(p[0], p[1], h.Fact(p[0]))
		}
	case verbDrop:
		for _, n := range s.names {
			c.put(n, Fact{Absent: true}, true)
		}
	default:
		c.database(&s)
	}
	return c.out
}

// Forget takes it that nothing is known any more of the tables that match, and
// of their databases' defaults.
func (h *History) Forget(match func(tables.Name) bool, later func(*position.Position) bool) Changed {
	c := &change{h: h, later: later}
	for _, n := range slices.SortedFunc(maps.Keys(h.tables), compareNames) {
		if match(n) {
			c.put(n, Fact{}, true)
		}
	}
	return c.out
}

// ForgetDatabase is Forget for a database as a whole.
func (h *History) ForgetDatabase(db string, later func(*position.Position) bool) Changed {
	h.setDB(db, database{})
	return h.Forget(func(n tables.Name) bool { return n.DB == db }, later)
}

// newer reports whether a fact has the statement in it already.
func (c *change) newer(f Fact) bool { return f.Read != nil && c.later(f.Read) }

// put says what is true of a table behind the statement. A definition of later
// stays, unless it is known better; rows that it has decoded are a conflict
// where the statement changes what matters to them.
func (c *change) put(n tables.Name, f Fact, matters bool) {
	if now := c.h.Fact(n); c.newer(now) {
		if now.Used && matters {
			c.out.Conflicts = append(c.out.Conflicts, n)
		}
		if now.Used && !matters {
			return
		}
	}
	c.h.set(n, f)
}

func (c *change) create(s *statement) {
	now := c.h.Fact(s.name)
	certain := !c.newer(now)
	if s.ifNotExists && !c.q.Done && !s.replace {
		switch {
		case certain && now.Table != nil:
			return // it was there
		case certain && now.Absent:
		default:
			return // was it?
		}
	}
	f := Fact{}
	if s.verb == verbLike {
		if model := c.h.Fact(s.to); model.Table != nil && !c.newer(model) {
			f.Table = model.Table.named(s.name.DB, s.name.Table)
		}
	} else {
		outer := c.h.dbs[s.name.DB].Charset
		charset := s.charset.in(outer)
		if t, ok := s.table.build(s.name.DB, s.name.Table, charset); ok {
			f.Table = t
		} else {
			c.out.Class = Uncertain
		}
	}
	c.put(s.name, f, true)
}

func (c *change) alter(s *statement) {
	now := c.h.Fact(s.name)
	f, matters := now, slices.ContainsFunc(s.ops, op.matters)
	switch {
	case now.Table == nil, c.newer(now):
		f = Fact{}
	default:
		t, ok := now.Table.alter(s.ops, c.h.dbs[s.name.DB].Charset)
		if !ok {
			c.out.Class = Uncertain
			f = Fact{}
			break
		}
		matters = !reflect.DeepEqual(t, now.Table)
		f = Fact{Table: t, Used: now.Used && !matters}
	}
	if s.to.Table == "" || s.to == s.name {
		c.put(s.name, f, matters)
		return
	}
	c.move(s.name, s.to, f)
	if c.q.Maria && !plain(s.name.Table) && !c.newer(c.h.Fact(s.name)) {
		c.put(s.name, Fact{}, false)
	}
}

// plain reports whether a table's name is the same in the file system. Where it
// is not, MariaDB 10.11 leaves the old name behind when ALTER TABLE ... RENAME
// copies the table: a name that is then there, and again isn't.
func plain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
}

// move renames a table, of which f is known.
func (c *change) move(from, to tables.Name, f Fact) {
	moved := Fact{}
	if f.Table != nil && !c.newer(f) {
		moved.Table = f.Table.named(to.DB, to.Table)
	}
	if c.newer(c.h.Fact(from)) {
		c.put(from, Fact{}, true)
	} else {
		c.h.set(from, Fact{Absent: true})
	}
	c.put(to, moved, true)
}

func (c *change) database(s *statement) {
	db, h := s.name.DB, c.h
	now := h.dbs[db]
	switch s.verb {
	case verbAlterDB:
		if s.charset.set {
			c.notBefore(db, now)
			h.setDB(db, database{Known: true, Charset: s.charset.in(c.q.ServerCharset), Complete: now.Complete})
		}
		return
	case verbCreateDB:
		if s.ifNotExists && !c.q.Done && !s.replace && !(now.Complete && !now.Known) {
			return
		}
	}
	c.notBefore(db, now)
	for _, n := range slices.SortedFunc(maps.Keys(h.tables), compareNames) {
		if n.DB == db {
			c.put(n, Fact{Absent: true}, true)
		}
	}
	after := database{Complete: true}
	if s.verb == verbCreateDB {
		after.Known, after.Charset = true, s.charset.in(c.q.ServerCharset)
	}
	h.setDB(db, after)
}

// notBefore finds the tables that may have a database's default of later.
func (c *change) notBefore(db string, d database) {
	if d.Read == "" {
		return
	}
	if p, err := position.Decode(d.Read); err == nil && !c.later(p) {
		return
	}
	for n, f := range c.h.tables {
		if n.DB == db && f.Table != nil && !slices.Contains(c.out.Conflicts, n) {
			c.out.Conflicts = append(c.out.Conflicts, n)
		}
	}
}

// matters reports whether a clause may change what rows need to know.
func (o op) matters() bool {
	switch o.kind {
	case opDefaultCharset, opRenameKey, opHide:
		return false
	case opAddKey:
		return o.key.Unique
	}
	return true
}
