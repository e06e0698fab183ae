package assemble

import (
	"context"
	"sync"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
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

// schemas is what is known of the followed tables' definitions.
type schemas struct {
	mu      *sync.Mutex   // guards byID, byPrint and latest
	byID    []*sdk.Schema // 0 is none
	byPrint map[string]uint32
	latest  map[tables.Name]*sdk.Schema
	maps    map[*binlog.TableMap]*table
}

// table is a table map, prepared; the zero table is not followed.
type table struct {
	plan   *binlog.RowPlan
	schema *sdk.Schema
}

func newSchemas() schemas {
	return schemas{mu: new(sync.Mutex), byID: make([]*sdk.Schema, 1), byPrint: map[string]uint32{}, latest: map[tables.Name]*sdk.Schema{},
		maps: map[*binlog.TableMap]*table{}}
}

// snapshot returns the schemas by id. The slice only ever grows behind its end.
func (s *schemas) snapshot() []*sdk.Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[:len(s.byID):len(s.byID)]
}

// forgetMaps is called where the log's table maps start anew.
func (s *schemas) forgetMaps() { clear(s.maps) }

// number gives a schema its id: that of an equal one, or the next.
func (s *schemas) number(schema *sdk.Schema) error {
	print := schema.Fingerprint()
	s.mu.Lock()
	defer s.mu.Unlock()
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
	if schema.ID != id { // otherwise others may be reading it: rows of one table come from several goroutines
		schema.ID = id
	}
	s.latest[tables.Name{DB: schema.DB, Table: schema.Table}] = s.byID[id]
	return nil
}

// named returns the last known schema of a table, or one without columns.
func (s *schemas) named(n tables.Name) (*sdk.Schema, error) {
	s.mu.Lock()
	schema := s.latest[n]
	s.mu.Unlock()
	if schema != nil {
		return schema, nil
	}
	schema = &sdk.Schema{DB: n.DB, Table: n.Table}
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

// rows decodes the rows of a followed table.
func (a *Assembler) rows(ctx context.Context, ev binlog.Event) error {
	if a.tx.skip {
		return nil
	}
	id, err := a.parser.RowsTable(ev)
	if err != nil || id == binlog.DummyTableID {
		return err
	}
	t := a.tables.maps[a.parser.Table(id)]
	switch {
	case t == nil:
		if _, _, err := a.parser.RowsHeader(ev); err != nil {
			return err // which says more
		}
		return a.fault("binlog_corrupt", "read again from the beginning of the log file",
			"rows of table %d, which the log did not describe", id)
	case t.plan == nil:
		return nil // not followed: nothing but the id was read
	case !a.tx.open:
		return a.fault("binlog_corrupt", "read again from the beginning of the log file", "rows outside of a transaction")
	}
	h, data, err := a.parser.RowsHeader(ev)
	if err == nil {
		data, err = a.parser.Expand(&h, data)
	}
	if err != nil {
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

// Number gives a schema of rows that come from elsewhere than the log the id
// that the batches have for it; it may be called from any goroutine. It returns
// the schemas by id.
func (a *Assembler) Number(schema *sdk.Schema) ([]*sdk.Schema, error) {
	if err := a.tables.number(schema); err != nil {
		return nil, err
	}
	return a.tables.snapshot(), nil
}
