package assemble

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	// schemasMax bounds the definitions that one run has met.
	schemasMax = 1 << 16
	// mapsMax bounds the prepared tables; beyond it they are prepared anew.
	mapsMax = 8192
)

const hintUncertain = "SET GLOBAL binlog_row_metadata=FULL on the server, so that the log describes its own tables, " +
	"then start from a position behind this one or take a new snapshot of the table; or leave the table out of tables"

// schemas is what is known of the followed tables' definitions.
type schemas struct {
	byID    []*sdk.Schema // 0 is none
	byPrint map[string]uint32
	latest  map[tables.Name]*sdk.Schema
	maps    map[*binlog.TableMap]*table
	defs    map[tables.Name]*definition
	history map[tables.Name][]past
}

// past is what an earlier run found out of a table.
type past struct {
	behind  *position.Position
	schema  *sdk.Schema
	dropped bool
}

// table is a table map, prepared; the zero table is not followed.
type table struct {
	plan   *binlog.RowPlan
	schema *sdk.Schema
}

// definition is a table as the server's catalog, or the history, describes it.
type definition struct {
	t *binlog.CatalogTable
	// read is a position that the definition is not newer than; nil for one of
	// the history, which was right when it was kept.
	read *position.Position
	used *sdk.Schema // rows were decoded by it, for want of names in the log
}

func newSchemas() schemas {
	return schemas{byID: make([]*sdk.Schema, 1), byPrint: map[string]uint32{}, latest: map[tables.Name]*sdk.Schema{},
		maps: map[*binlog.TableMap]*table{}, defs: map[tables.Name]*definition{}, history: map[tables.Name][]past{}}
}

// snapshot returns the schemas by id. The slice only ever grows behind its end.
func (s *schemas) snapshot() []*sdk.Schema { return s.byID[:len(s.byID):len(s.byID)] }

// forgetMaps is called where the log's table maps start anew.
func (s *schemas) forgetMaps() { clear(s.maps) }

// number gives a schema its id: that of an equal one, or the next.
func (s *schemas) number(schema *sdk.Schema) error {
	print := schema.Fingerprint()
	id, known := s.byPrint[print]
	if !known {
		if len(s.byID) > schemasMax {
			return fault.New(fault.Fatal, "too_many_schemas", schema.FullName(),
				"follow fewer tables with this pipeline, or restart it if definitions change all the time",
				"more than %d definitions of tables", schemasMax)
		}
		id = uint32(len(s.byID))
		s.byPrint[print] = id
		s.byID = append(s.byID, schema)
	}
	schema.ID = id
	s.latest[tables.Name{DB: schema.DB, Table: schema.Table}] = s.byID[id]
	return nil
}

// named returns the last known schema of a table, or one without columns.
func (s *schemas) named(n tables.Name) (*sdk.Schema, error) {
	if schema := s.latest[n]; schema != nil {
		return schema, nil
	}
	schema := &sdk.Schema{DB: n.DB, Table: n.Table}
	return schema, s.number(schema)
}

// tableMap prepares the decoding of the table that the event describes.
func (a *Assembler) tableMap(ctx context.Context, ev binlog.Event) error {
	m, err := a.parser.TableMap(ev)
	if err != nil {
		return err
	}
	if a.tables.maps[m] != nil {
		return nil
	}
	if len(a.tables.maps) >= mapsMax {
		a.tables.forgetMaps()
	}
	t := &table{}
	if a.o.Filter.Match(m.DB, m.Table) {
		if t, err = a.prepare(ctx, m); err != nil {
			return err
		}
	}
	a.tables.maps[m] = t
	return nil
}

// prepare makes schema and decoder. Where the log does not name its columns,
// the catalog has to, and must agree with the log; MariaDB's UUID and INET
// types are only ever known from the catalog.
func (a *Assembler) prepare(ctx context.Context, m *binlog.TableMap) (*table, error) {
	n := tables.Name{DB: m.DB, Table: m.Table}
	needed := !m.HasNames()
	if !needed && (a.at.flavor != gtid.MariaDB || a.o.Catalog == nil) {
		return a.build(m, nil)
	}
	if d := a.known(n); d != nil {
		if t, err := a.build(m, d.t); err == nil {
			return t, a.use(d, t, needed)
		}
		// Definition and log disagree: a change that went unseen.
		delete(a.tables.defs, n)
		if needed && d.used != nil && d.read != nil {
			return nil, a.uncertain(n, "its definition changed without a statement in the log")
		}
	}
	if needed && a.o.Catalog == nil {
		return nil, a.uncertain(n, "there is no server to ask: these are files")
	}
	d, err := a.read(ctx, n)
	if err != nil {
		return nil, err
	}
	t, err := a.build(m, d.t)
	if err != nil {
		if needed {
			return nil, a.uncertain(n, "%w", err)
		}
		return nil, err
	}
	return t, a.use(d, t, needed)
}

func (a *Assembler) build(m *binlog.TableMap, c *binlog.CatalogTable) (*table, error) {
	schema, plan, err := binlog.BuildSchema(m, c)
	if err != nil {
		return nil, err
	}
	if err := a.tables.number(schema); err != nil {
		return nil, err
	}
	return &table{plan: plan, schema: schema}, nil
}

// use notes that rows will be decoded by the definition, and keeps it.
func (a *Assembler) use(d *definition, t *table, needed bool) error {
	if !needed || d.used != nil {
		return nil
	}
	d.used = t.schema
	return a.keep(t.schema, false)
}

// keep puts a definition, or its end, into the history, unless an earlier run
// that read the same did so.
func (a *Assembler) keep(s *sdk.Schema, dropped bool) error {
	if a.o.Env.Schemas == nil {
		return nil
	}
	here := a.at.position()
	for _, h := range a.tables.history[tables.Name{DB: s.DB, Table: s.Table}] {
		if h.dropped != dropped || h.schema.Fingerprint() != s.Fingerprint() {
			continue
		}
		before, err1 := here.Covers(h.behind)
		after, err2 := h.behind.Covers(here)
		if err1 == nil && err2 == nil && before && after {
			return nil
		}
	}
	return a.o.Env.Schemas.Put(a.at.encode(), s, dropped)
}

// read asks the server for a table's definition.
func (a *Assembler) read(ctx context.Context, n tables.Name) (*definition, error) {
	d := &definition{}
	if a.o.Catalog != nil {
		var err error
		if d.t, d.read, err = a.o.Catalog.Table(ctx, n); err != nil {
			return nil, err
		}
	}
	a.tables.defs[n] = d
	return d, nil
}

// known returns a definition that is at hand: read before, or what the history
// says of this place.
func (a *Assembler) known(n tables.Name) *definition {
	if d := a.tables.defs[n]; d != nil && d.t != nil {
		return d
	}
	here := a.at.position()
	var best *past
	for i, h := range a.tables.history[n] {
		if done, err := here.Covers(h.behind); err != nil || !done {
			continue
		}
		if best != nil {
			if later, err := h.behind.Covers(best.behind); err != nil || !later {
				continue
			}
		}
		best = &a.tables.history[n][i]
	}
	if best == nil || best.dropped {
		return nil
	}
	d := &definition{t: catalogOf(best.schema), used: best.schema}
	a.tables.defs[n] = d
	return d
}

// Load takes over the history of definitions: they were right at their places,
// whatever the catalog says by now.
func (a *Assembler) Load(store cdcSchemas) error {
	if store == nil {
		return nil
	}
	return store.Each(func(behind sdk.Position, s *sdk.Schema, dropped bool) error {
		p, err := position.Decode(behind)
		if err != nil {
			return err
		}
		n := tables.Name{DB: s.DB, Table: s.Table}
		a.tables.history[n] = append(a.tables.history[n], past{p, s, dropped})
		return nil
	})
}

// cdcSchemas is the part of cdc.SchemaStore that Load needs.
type cdcSchemas interface {
	Each(f func(behind sdk.Position, s *sdk.Schema, dropped bool) error) error
}

// catalogOf makes of a schema of the history what BuildSchema takes. Character
// sets are the log's to tell.
func catalogOf(s *sdk.Schema) *binlog.CatalogTable {
	t := &binlog.CatalogTable{DB: s.DB, Table: s.Table, Key: s.Key, Columns: make([]binlog.CatalogColumn, len(s.Columns))}
	for i, c := range s.Columns {
		t.Columns[i] = binlog.CatalogColumn{Name: c.Name, Native: c.Native, Nullable: c.Nullable, Labels: c.Labels}
	}
	return t
}

// changed forgets the definitions that a statement touches. Rows before it that
// were decoded by a definition read after it were decoded by the wrong one.
func (s *schemas) changed(a *Assembler, touches func(tables.Name) bool) error {
	for n, d := range s.defs {
		if !touches(n) {
			continue
		}
		delete(s.defs, n)
		if d.used == nil {
			continue
		}
		if d.read != nil && !a.tx.skip {
			after, err := a.readAfter(d.read)
			if err != nil || after {
				a.suspect = true
				return a.uncertain(n, "it is changed here, and rows before were decoded by its definition of later")
			}
		}
		if err := a.keep(d.used, true); err != nil {
			return err
		}
	}
	s.forgetMaps()
	return nil
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

// rows decodes the rows of a followed table.
func (a *Assembler) rows(ctx context.Context, ev binlog.Event) error {
	if a.tx.skip {
		return nil
	}
	h, data, err := a.parser.RowsHeader(ev)
	if err != nil {
		return err
	}
	if h.TableID == binlog.DummyTableID {
		return nil
	}
	t := a.tables.maps[a.parser.Table(h.TableID)]
	switch {
	case t == nil:
		return a.fault("binlog_corrupt", "read again from the beginning of the log file",
			"rows of table %d, which the log did not describe", h.TableID)
	case t.plan == nil:
		return nil
	case !a.tx.open:
		return a.fault("binlog_corrupt", "read again from the beginning of the log file", "rows outside of a transaction")
	}
	if data, err = a.parser.Expand(&h, data); err != nil {
		return err
	}
	rows, err := t.plan.Rows(h, data)
	if err != nil {
		return err
	}
	for rows.More() {
		if err := a.beforeRow(ctx); err != nil {
			return err
		}
		size := a.b.Size()
		if _, err := rows.Next(a.b, a.tx.rows); err != nil {
			return err
		}
		if err := a.afterRow(ctx, a.b.Size()-size); err != nil {
			return err
		}
	}
	return nil
}
