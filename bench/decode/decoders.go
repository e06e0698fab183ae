package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/sdk"
)

// split returns the events of a log file: views.
func split(log []byte) (events [][]byte) {
	for at := 4; at+binlog.HeaderSize <= len(log); {
		size := int(binary.LittleEndian.Uint32(log[at+9:]))
		events = append(events, log[at:at+size])
		at += size
	}
	return events
}

// decoder is cdcd's decoder as the source uses it. It keeps what it knows of the
// tables from one round to the next, as a source does for as long as it runs.
type decoder struct {
	follow bool // decode the tables' rows; else pass over them
	parser *binlog.Parser
	plans  map[string]*binlog.RowPlan // by table
	maps   map[*binlog.TableMap]*binlog.RowPlan
	batch  sdk.Builder
}

func newDecoder() *decoder {
	return &decoder{follow: true, parser: binlog.NewParser(binlog.Options{}), plans: map[string]*binlog.RowPlan{},
		maps: map[*binlog.TableMap]*binlog.RowPlan{}}
}

func (d *decoder) decode(events [][]byte) (images int, err error) {
	d.reset()
	for _, raw := range events {
		if _, known := d.parser.Format(); known && raw[4] == byte(binlog.FormatDescriptionEvent) {
			continue // the same in each file; it would make the parser forget the tables
		}
		ev, err := d.parser.Parse(raw)
		if err != nil {
			return 0, err
		}
		switch {
		case ev.Type == binlog.TableMapEvent:
			err = d.tableMap(ev)
		case ev.Type.IsRows():
			var n int
			n, err = d.rows(ev)
			images += n
		}
		if err != nil {
			return 0, err
		}
	}
	return images, nil
}

func (d *decoder) reset() {
	d.batch.Reset()
	d.batch.BeginTx(sdk.TxInfo{})
}

func (d *decoder) tableMap(ev binlog.Event) error {
	m, err := d.parser.TableMap(ev)
	if err != nil {
		return err
	}
	if _, known := d.maps[m]; known {
		return nil
	}
	var plan *binlog.RowPlan
	if d.follow {
		if plan = d.plans[m.FullName()]; plan == nil {
			if _, plan, err = binlog.BuildSchema(m, catalog(m)); err != nil {
				return err
			}
			plan.Schema().ID = 1
			d.plans[m.FullName()] = plan
		}
	}
	d.maps[m] = plan
	return nil
}

func (d *decoder) rows(ev binlog.Event) (images int, err error) {
	id, err := d.parser.RowsTable(ev)
	if err != nil {
		return 0, err
	}
	plan := d.maps[d.parser.Table(id)]
	if plan == nil {
		return 0, nil
	}
	h, data, err := d.parser.RowsHeader(ev)
	if err != nil {
		return 0, err
	}
	rows, err := plan.Rows(h, data)
	if err != nil {
		return 0, err
	}
	each := 1
	if h.Op == sdk.OpUpdate {
		each = 2
	}
	for rows.More() {
		if d.batch.Rows() >= cdc.BatchRowsMax || d.batch.Size() >= cdc.BatchBytesMax {
			d.reset()
		}
		if _, err := rows.Next(&d.batch, 0); err != nil {
			return 0, err
		}
		images += each
	}
	return images, nil
}

// catalog names what the log of an old server does not: enough to decode every
// row, whatever its meaning. A log with names needs nothing.
func catalog(m *binlog.TableMap) *binlog.CatalogTable {
	if m.HasNames() {
		return nil
	}
	native := map[binlog.ColumnType]string{
		binlog.ColTiny: "tinyint unsigned", binlog.ColShort: "smallint unsigned", binlog.ColInt24: "mediumint unsigned",
		binlog.ColLong: "int unsigned", binlog.ColLongLong: "bigint", binlog.ColNewDecimal: "decimal", binlog.ColTimestamp: "timestamp",
		binlog.ColDateTime: "datetime", binlog.ColDate: "date", binlog.ColYear: "year",
		binlog.ColEnum: "enum", binlog.ColSet: "set", binlog.ColGeometry: "geometry",
	}
	c := &binlog.CatalogTable{DB: m.DB, Table: m.Table}
	for i := range m.Columns {
		col := &m.Columns[i]
		out := binlog.CatalogColumn{Name: "c", Native: native[col.Type], Nullable: col.Nullable}
		switch col.Type {
		case binlog.ColVarchar:
			out.Native, out.Charset = fmt.Sprintf("varchar(%d)", col.Meta), "latin1"
		case binlog.ColString:
			out.Native, out.Charset = fmt.Sprintf("char(%d)", col.Meta), "latin1"
		case binlog.ColBlob:
			out.Native = [...]string{"", "tinyblob", "blob", "mediumblob", "longblob"}[col.Meta]
		case binlog.ColEnum, binlog.ColSet:
			for k := range 8 * int(col.Meta) {
				out.Labels = append(out.Labels, string(rune('a'+k)))
			}
		}
		c.Columns = append(c.Columns, out)
	}
	return c
}

// theirs is go-mysql's decoder with its defaults, but for UTC.
func theirs(events [][]byte) (images int, err error) {
	p := replication.NewBinlogParser()
	p.SetTimestampStringLocation(time.UTC)
	for _, raw := range events {
		ev, err := p.Parse(raw)
		if err != nil {
			return 0, err
		}
		if rows, ok := ev.Event.(*replication.RowsEvent); ok {
			images += len(rows.Rows)
		}
	}
	return images, nil
}
