package binlog

import (
	"errors"
	"io"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// The seeds in testdata/fuzz are events that MySQL 9.7 and MariaDB 10.11 wrote
// for TestTypes.

const fuzzEventMax = 1 << 20

// coded fails unless err is nil or a fault with one of this package's codes.
func coded(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && fault.Of(err).Code == "unexpected" {
		t.Fatalf("an error without a code: %v", err)
	}
	return err == nil
}

// rawEvent frames a body as an event without checksum.
func rawEvent(typ EventType, body []byte) []byte {
	raw := make([]byte, HeaderSize, HeaderSize+len(body))
	raw[4] = byte(typ)
	le.PutUint32(raw[9:], uint32(HeaderSize+len(body)))
	return append(raw, body...)
}

// FuzzParse reads any event, and decodes its body by its type.
func FuzzParse(f *testing.F) {
	f.Add(rawEvent(RotateEvent, []byte("\x04\x00\x00\x00\x00\x00\x00\x00binlog.000001")), false)
	f.Add(rawEvent(XIDEvent, make([]byte, 8)), true)
	f.Add(rawEvent(TransactionPayloadEvent, []byte{2, 1, 255, 0}), false)
	f.Fuzz(func(t *testing.T, raw []byte, maria bool) {
		o := Options{Flavor: FlavorMySQL, VerifyChecksum: len(raw)%2 == 0, EventBytesMax: fuzzEventMax, WindowBytesMax: 1 << 20}
		if maria {
			o.Flavor = FlavorMariaDB
		}
		p := NewParser(o)
		ev, err := p.Parse(raw)
		if !coded(t, err) {
			return
		}
		fuzzBody(t, p, ev, 0)
	})
}

func fuzzBody(t *testing.T, p *Parser, ev Event, depth int) {
	var err error
	switch ev.Type {
	case RotateEvent:
		_, err = ParseRotate(ev)
	case XIDEvent:
		_, err = ParseXID(ev)
	case HeartbeatEvent, HeartbeatV2Event:
		_, err = ParseHeartbeat(ev)
	case IncidentEvent:
		_, err = ParseIncident(ev)
	case XAPrepareEvent:
		_, err = ParseXAPrepare(ev)
	case GTIDEvent, AnonymousGTIDEvent, GTIDTaggedEvent:
		var g GTID
		if g, err = ParseGTID(ev); err == nil {
			g.AppendText(nil)
		}
	case MariaGTIDEvent:
		_, err = ParseMariaGTID(ev)
	case MariaGTIDListEvent:
		_, err = ParseMariaGTIDList(ev)
	case QueryEvent, MariaQueryCompressedEvent:
		_, err = p.Query(ev)
	case TableMapEvent:
		_, err = p.TableMap(ev)
	case TransactionPayloadEvent:
		l, e := p.Payload(ev)
		for n := 0; e == nil && n < 1000; n++ {
			var inner Event
			if inner, e = l.Next(); e == nil && depth == 0 {
				fuzzBody(t, p, inner, 1)
			}
		}
		if e != io.EOF {
			err = e
		}
	default:
		if ev.Type.IsRows() {
			h, data, e := p.RowsHeader(ev)
			if e == nil {
				_, e = p.Expand(&h, data)
			}
			err = e
		}
	}
	coded(t, err)
}

// fuzzCatalog supplies whatever a log may lack.
func fuzzCatalog(m *TableMap) *CatalogTable {
	natives := map[ColumnType]string{ColTiny: "tinyint", ColShort: "smallint", ColLong: "int unsigned", ColLongLong: "bigint",
		ColInt24: "mediumint unsigned", ColFloat: "float", ColDouble: "double", ColNewDecimal: "decimal", ColBit: "bit(1)",
		ColYear: "year", ColDate: "date", ColNewDate: "date", ColTime: "time", ColDateTime: "datetime", ColTimestamp: "timestamp",
		ColString: "uuid", ColVarchar: "varchar(9)", ColVarcharCompressed: "varchar(9)", ColBlob: "text", ColBlobCompressed: "text",
		ColEnum: "enum", ColSet: "set", ColJSON: "json", ColGeometry: "point", ColVector: "vector", ColVarString: "char(3)"}
	c := &CatalogTable{DB: m.DB, Table: m.Table}
	visible := len(m.Columns)
	if visible > 1 && m.Columns[visible-1].Type == ColLongLong { // perhaps a hash that no catalog has
		visible--
		c.HashesMax = 1
	}
	for i := range m.Columns[:visible] {
		c.Columns = append(c.Columns, CatalogColumn{Name: "c", Native: natives[m.Columns[i].Type], Charset: "gbk", Labels: []string{"a", "ü"}})
	}
	return c
}

// FuzzTableMap reads any table map and makes a schema of it, which must survive
// its own encoding.
func FuzzTableMap(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, maria bool) {
		fuzzTableMap(t, NewParser(Options{EventBytesMax: fuzzEventMax}), body, maria)
	})
}

func fuzzTableMap(t *testing.T, p *Parser, body []byte, maria bool) (*TableMap, *RowPlan) {
	if maria {
		p.opt.Flavor = FlavorMariaDB
	}
	m, err := p.TableMap(Event{Header: Header{Type: TableMapEvent}, Body: body})
	if !coded(t, err) {
		return nil, nil
	}
	s, pl, err := BuildSchema(m, fuzzCatalog(m))
	if !coded(t, err) {
		return nil, nil
	}
	s.ID = 1
	if _, err := sdk.DecodeSchema(sdk.AppendSchema(nil, s)); err != nil {
		t.Fatalf("schema %+v: %v", s, err)
	}
	return m, pl
}

// FuzzRows reads any rows for any table; what comes out must be a valid batch.
func FuzzRows(f *testing.F) {
	f.Fuzz(func(t *testing.T, table, rows []byte, typ byte, maria bool) {
		p := NewParser(Options{EventBytesMax: fuzzEventMax})
		m, pl := fuzzTableMap(t, p, table, maria)
		ev := Event{Header: Header{Type: EventType(typ)}, Body: rows}
		if m == nil || len(m.Columns) > 500 || !ev.Type.IsRows() {
			return
		}
		h, data, err := p.RowsHeader(ev)
		if coded(t, err) {
			data, err = p.Expand(&h, data)
		}
		if !coded(t, err) {
			return
		}
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		stop := errors.New("enough")
		n, err := pl.AppendRows(&b, h, data, 0, func() error {
			if b.Rows() >= 200 {
				return stop
			}
			return nil
		})
		if err != nil {
			if err != stop {
				coded(t, err)
			}
			return
		}
		b.EndTx(1, 1)
		schemas := []*sdk.Schema{nil, pl.Schema()}
		batch := b.Seal(schemas)
		if _, err := sdk.Open(batch.Bytes(), schemas, batch.Large()); err != nil || batch.Rows() != n {
			t.Fatalf("%d rows, %d in the batch: %v", n, batch.Rows(), err)
		}
	})
}

// FuzzJSON prints any document; the text is bounded by the document.
func FuzzJSON(f *testing.F) {
	f.Add([]byte{jsonSmallObject, 1, 0, 12, 0, 11, 0, 1, 0, jsonInt16, 5, 0, 'a'})
	f.Add([]byte{jsonOpaque, byte(ColNewDecimal), 5, 5, 2, 0x80, 1, 2})
	f.Add([]byte{jsonDouble, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f})
	f.Fuzz(func(t *testing.T, doc []byte) {
		text, err := appendJSON(nil, doc)
		if len(text) > 60*len(doc)+200 {
			t.Fatalf("%d bytes became %d (%v)", len(doc), len(text), err)
		}
	})
}

// FuzzDecimal reads any DECIMAL; the text is no longer than its digits.
func FuzzDecimal(f *testing.F) {
	f.Add([]byte{0x80, 1, 2}, byte(5), byte(2))
	f.Fuzz(func(t *testing.T, p []byte, precision, scale byte) {
		if precision == 0 || precision > 81 || scale > precision {
			return
		}
		text, n, err := appendDecimal(nil, p, int(precision), int(scale))
		if err == nil && (n != decimalSize(int(precision), int(scale)) || len(text) > int(precision)+3) {
			t.Fatalf("%d bytes: %q", n, text)
		}
	})
}
