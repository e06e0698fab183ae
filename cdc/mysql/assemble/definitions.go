package assemble

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/statement"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/schema"
	"github.com/cdcd-io/cdcd/sdk"
)

const hintUncertain = "SET GLOBAL binlog_row_metadata=FULL on the server, so that the log describes its own tables, " +
	"then start from a position behind this one or take a new snapshot of the table; or leave the table out of tables"

// definitions is what is known of tables' definitions at the place of the
// reading, and what earlier runs have kept of that.
type definitions struct {
	history *schema.History
	loaded  []past
	kept    map[[sha256.Size]byte]bool // sums of the records in the store
	told    []cdc.Definition           // for the next batch
}

// past is a record of an earlier run.
type past struct {
	behind *position.Position
	record *schema.Record
}

// keptRecord is a record as it is in the store.
type keptRecord struct {
	behind sdk.Position
	record string
}

// sum stands for the record: a history of many years would take much memory.
func (k keptRecord) sum() [sha256.Size]byte {
	return sha256.Sum256([]byte(string(k.behind) + "\x00" + k.record))
}

func newDefinitions(f *tables.Filter) definitions {
	return definitions{history: schema.New(f.MatchDB), kept: map[[sha256.Size]byte]bool{}}
}

// begin restores what was true at the position. What lies behind it is left
// out: its statements will be read again. It is done once.
func (d *definitions) begin(from *position.Position, f *tables.Filter) {
	d.history = schema.New(f.MatchDB)
	var list []past
	for _, p := range d.loaded {
		if before, err := from.Covers(p.behind); err == nil && before {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b past) int {
		after, _ := a.behind.Covers(b.behind)
		before, _ := b.behind.Covers(a.behind)
		switch {
		case after && !before:
			return 1
		case before && !after:
			return -1
		}
		return 0
	})
	for _, p := range list {
		d.history.Restore(p.record)
	}
	d.loaded = nil
}

// Load takes over the history of definitions that earlier runs have kept.
func (a *Assembler) Load(store cdc.SchemaStore) error {
	if store == nil {
		return nil
	}
	return store.Each(func(behind sdk.Position, text []byte) error {
		p, err := position.Decode(behind)
		if err != nil {
			return err
		}
		r, err := schema.Decode(text)
		if err != nil {
			return err
		}
		a.defs.loaded = append(a.defs.loaded, past{p, r})
		a.defs.kept[keptRecord{behind, string(text)}.sum()] = true
		return nil
	})
}

// toldBytesMax bounds a record that goes out with a batch: a sink has a limit
// for its messages.
const toldBytesMax = 256 << 10

// keep puts a record into the store, unless an earlier run that read the same
// did so, and has it told with the next batch.
func (a *Assembler) keep(r *schema.Record) error {
	if a.o.Env.Schemas == nil {
		return nil
	}
	text, err := r.Encode()
	if err != nil {
		return err
	}
	k := keptRecord{a.at.encode(), string(text)}
	if err := a.tell(k, r); err != nil || a.defs.kept[k.sum()] {
		return err
	}
	return a.o.Env.Schemas.Put(k.behind, text)
}

// tell notes a record for the next batch. In place of one that is too large it
// says that nothing is known of the table any more, which is never wrong.
func (a *Assembler) tell(k keptRecord, r *schema.Record) error {
	d := cdc.Definition{Behind: k.behind, DB: r.DB, Table: r.Table, Record: []byte(k.record)}
	if len(d.Record) > toldBytesMax {
		nothing := schema.Record{DB: r.DB, Table: r.Table}
		var err error
		if d.Record, err = nothing.Encode(); err != nil {
			return err
		}
	}
	a.defs.told = append(a.defs.told, d)
	return nil
}

// keepChanges keeps what the transaction that has just ended did to
// definitions: it is true from its end on.
func (a *Assembler) keepChanges() error {
	for _, r := range a.defs.history.Commit() {
		if err := a.keep(&r); err != nil {
			return err
		}
	}
	return nil
}

// ddl follows what a statement does to definitions. Where that is not
// understood, nothing is known any more of the tables that it touches.
func (a *Assembler) ddl(ctx context.Context, q *binlog.Query, s statement.Statement) error {
	if a.tx.before {
		return nil // what is known has it in it
	}
	if a.o.Altered != nil && s.Kind != statement.Benign {
		a.o.Altered(func(n tables.Name) bool { return touches(s, n) })
	}
	if err := a.defaults(ctx, s); err != nil {
		return err
	}
	h := a.defs.history
	later := func(p *position.Position) bool {
		after, err := a.readAfter(p)
		return err != nil || after
	}
	changed := schema.Changed{}
	if text, ok := q.Text(); ok {
		maria := a.at.flavor == gtid.MariaDB
		changed = h.Apply(&schema.Query{SQL: text, DB: q.Schema, Maria: maria, Mode: schema.ModeOf(q.SQLMode, maria),
			ServerCharset: schema.CharsetName(q.ServerCharset), Done: q.Atomic || maria && ofTables(s)}, later)
	}
	if changed.Class == schema.Uncertain && s.Kind != statement.Benign {
		forgotten := a.forget(s, later)
		changed.Conflicts = append(changed.Conflicts, forgotten.Conflicts...)
	}
	if s.Kind != statement.Benign {
		a.tables.forgetMaps()
	}
	for _, n := range changed.Conflicts {
		if a.o.Filter.Match(n.DB, n.Table) {
			a.suspect = true
			return a.uncertain(n, "it is changed here, and rows before were decoded by its definition of later")
		}
	}
	return nil
}

// defaults learns the defaults of databases from before the log.
func (a *Assembler) defaults(ctx context.Context, s statement.Statement) error {
	for _, n := range s.Tables {
		if a.o.Catalog == nil || a.defs.history.Knows(n.DB) || !a.o.Filter.MatchDB(n.DB) {
			continue
		}
		charset, read, err := a.o.Catalog.Charset(ctx, n.DB)
		if err != nil {
			return err
		}
		if charset == "" {
			continue
		}
		r := a.defs.history.LearnDatabase(n.DB, charset, read)
		if err := a.keep(&r); err != nil {
			return err
		}
	}
	return nil
}

// ofTables reports whether a statement is about tables, and not about a database.
// MariaDB logs no CREATE TABLE IF NOT EXISTS when the table is there, but the same
// of a database.
func ofTables(s statement.Statement) bool { return len(s.Tables) > 0 }

// touches reports whether a statement may change the table.
func touches(s statement.Statement, n tables.Name) bool {
	switch {
	case s.Kind == statement.Unknown:
		return true
	case s.DB != "":
		return n.DB == s.DB
	}
	return slices.Contains(s.Tables, n)
}

func (a *Assembler) forget(s statement.Statement, later func(*position.Position) bool) schema.Changed {
	if s.Kind == statement.DDL && s.DB != "" {
		return a.defs.history.ForgetDatabase(s.DB, later)
	}
	return a.defs.history.Forget(func(n tables.Name) bool {
		return s.Kind == statement.Unknown || slices.Contains(s.Tables, n)
	}, later)
}

// prepare makes schema and decoder. Where the log does not name its columns,
// the history of definitions has to, or else the catalog; and it must agree
// with the log. MariaDB's UUID and INET types are never told by the log, nor are
// the digits of its old temporal formats.
func (a *Assembler) prepare(ctx context.Context, m *binlog.TableMap) (*table, error) {
	n := tables.Name{DB: m.DB, Table: m.Table}
	needed := !m.Complete()
	if !needed && a.at.flavor != gtid.MariaDB {
		return a.build(m, nil)
	}
	var told error // why the history won't do
	if f := a.defs.history.Fact(n); f.Table != nil {
		t, err := a.build(m, a.describe(f.Table, m))
		if err == nil {
			return t, a.used(n, f, needed)
		}
		if needed && f.Used {
			return nil, a.uncertain(n, "its definition changed without a statement in the log: %w", err)
		}
		told = err
	}
	if a.o.Catalog == nil {
		t, err := a.build(m, nil)
		if err != nil && told != nil {
			err = told
		}
		return t, a.doubt(n, needed, err)
	}
	f := schema.Fact{}
	var err error
	if f.Table, f.Read, err = a.o.Catalog.Table(ctx, n); err != nil {
		return nil, err
	}
	var c *binlog.CatalogTable
	if f.Table != nil {
		c = a.describe(f.Table, m)
	}
	t, err := a.build(m, c)
	if err != nil {
		return nil, a.doubt(n, needed, err)
	}
	if f.Table == nil {
		return t, nil
	}
	if !needed {
		a.defs.history.Learn(n, f)
		return t, nil
	}
	return t, a.used(n, f, needed)
}

// doubt says of an error that definitions are uncertain, where they are needed.
func (a *Assembler) doubt(n tables.Name, needed bool, err error) error {
	if needed && err != nil {
		return a.uncertain(n, "%w", err)
	}
	return err
}

// used notes that rows will be decoded by a definition of the catalog.
func (a *Assembler) used(n tables.Name, f schema.Fact, needed bool) error {
	if !needed || f.Used || f.Read == nil {
		return nil
	}
	f.Used = true
	r := a.defs.history.Learn(n, f)
	return a.keep(&r)
}

// describe makes of a definition what BuildSchema takes, for the table that the
// log describes.
func (a *Assembler) describe(t *schema.Table, m *binlog.TableMap) *binlog.CatalogTable {
	c := &binlog.CatalogTable{DB: t.DB, Table: t.Name, Columns: make([]binlog.CatalogColumn, len(t.Columns))}
	for i, col := range t.Columns {
		c.Columns[i] = binlog.CatalogColumn{Name: col.Name, Native: col.Native, Nullable: !col.NotNull,
			Charset: col.Charset, Labels: col.Labels}
		if col.Implied && i < len(m.Columns) {
			c.Columns[i].Nullable = m.Columns[i].Nullable
		}
	}
	if a.at.flavor == gtid.MariaDB {
		c.HashesMin, c.HashesMax = t.Hashes()
	}
	c.Key = t.Key(func(i int) bool { return c.Columns[i].Nullable })
	return c
}

// readAfter reports whether the open transaction lies before a position.
func (a *Assembler) readAfter(p *position.Position) (bool, error) {
	if p.GTIDs != nil && !a.tx.gtid.IsZero() {
		return p.GTIDs.Has(a.tx.gtid), nil
	}
	c, err := position.Compare(p.File, p.Pos, a.tx.file, a.tx.start)
	return c > 0, err
}

func (a *Assembler) uncertain(n tables.Name, format string, args ...any) error {
	return a.fault("schema_uncertain", hintUncertain, "table %s.%s: the log does not name its columns, and "+format,
		append([]any{n.DB, n.Table}, args...)...)
}
