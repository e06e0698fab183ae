package json

import (
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// Kind returns the format's entry for the list of formats.
func Kind() format.Kind {
	return format.Kind{Name: "json", NewConfig: func() any { return &struct{}{} }, New: func(any) format.Format { return New() }}
}

// Format renders rows; see the package comment. It implements format.Format
// and format.Keyer.
type Format struct {
	tables []*table // by schema id
}

// New returns a Format.
func New() *Format { return &Format{} }

// table holds what is the same for all rows of one schema.
type table struct {
	schema    *sdk.Schema
	connector string
	names     [][]byte // `"name":` of each column
	source    []byte   // `,"source":{"connector":…,"db":…,"table":…,"server_id":`
}

func (f *Format) table(s *sdk.Schema, connector string) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s && (connector == "" || t.connector == connector) {
		return t
	}
	t := &table{schema: s, connector: connector, names: make([][]byte, len(s.Columns))}
	for i := range s.Columns {
		t.names[i] = append(jsontext.AppendText(nil, s.Columns[i].Name), ':')
	}
	t.source = jsontext.AppendText([]byte(`,"source":{"connector":`), connector)
	t.source = jsontext.AppendText(append(t.source, `,"db":`...), s.DB)
	t.source = jsontext.AppendText(append(t.source, `,"table":`...), s.Table)
	t.source = append(t.source, `,"server_id":`...)
	f.tables[s.ID] = t
	return t
}

// AppendRow appends the body of one row's message to dst.
func (f *Format) AppendRow(dst []byte, r sdk.Row, c format.Context) []byte {
	t, tx := f.table(r.Schema(), c.Source), r.Tx()
	dst = t.appendImage(append(dst, `{"before":`...), r.Before())
	dst = t.appendImage(append(dst, `,"after":`...), r.After())
	dst = t.appendSource(dst, r, tx)
	dst = append(dst, `,"op":"`...)
	dst = append(dst, r.Op().Letter())
	dst = strconv.AppendInt(append(dst, `","ts_ms":`...), tx.Time()/1000, 10)
	dst = jsontext.AppendText(append(dst, `,"transaction":{"id":`...), tx.ID())
	dst = strconv.AppendUint(append(dst, `,"index":`...), r.Ordinal(), 10)
	if tx.Whole() {
		dst = strconv.AppendUint(append(dst, `,"total":`...), tx.RowsTotal(), 10)
	}
	return append(dst, '}', '}')
}

// AppendImage implements format.Imager.
func (f *Format) AppendImage(dst []byte, r sdk.Row, m sdk.Image, c format.Context) []byte {
	return f.table(r.Schema(), c.Source).appendImage(dst, m)
}

func (t *table) appendSource(dst []byte, r sdk.Row, tx sdk.Tx) []byte {
	dst = strconv.AppendUint(append(dst, t.source...), uint64(tx.Server()), 10)
	if id := format.GTID(tx); id != nil {
		dst = jsontext.AppendText(append(dst, `,"gtid":`...), id)
	}
	dst = jsontext.AppendText(append(dst, `,"file":`...), tx.File())
	dst = strconv.AppendUint(append(dst, `,"pos":`...), tx.PosStart(), 10)
	dst = strconv.AppendUint(append(dst, `,"row":`...), r.Ordinal(), 10)
	dst = strconv.AppendInt(append(dst, `,"ts_ms":`...), tx.Time()/1000, 10)
	if r.Op() == sdk.OpRead {
		dst = append(dst, `,"snapshot":true`...)
	}
	return append(dst, '}')
}

func (t *table) appendImage(dst []byte, m sdk.Image) []byte {
	if !m.Valid() {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	first := true
	for c := range t.names {
		if m.IsAbsent(c) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = t.appendColumn(dst, m, c)
	}
	return append(dst, '}')
}

func (t *table) appendColumn(dst []byte, m sdk.Image, c int) []byte {
	dst = append(dst, t.names[c]...)
	if m.IsNull(c) {
		return append(dst, "null"...)
	}
	return appendValue(dst, m, c, &t.schema.Columns[c])
}

// AppendKey appends the primary key as an object, such as {"id":7}: of the row
// after its change, or before it where there is no after. A column that the
// image after the change lacks did not change: it is that of the image before.
func (f *Format) AppendKey(dst []byte, r sdk.Row) []byte {
	t := f.table(r.Schema(), "")
	after, before := r.After(), r.Before()
	if len(t.schema.Key) == 0 || !after.Valid() && !before.Valid() {
		return dst
	}
	start := len(dst)
	for i, c := range t.schema.Key {
		m := format.KeyImage(before, after, c)
		if m.IsAbsent(c) {
			return dst[:start]
		}
		dst = append(dst, "{,"[min(i, 1)])
		dst = t.appendColumn(dst, m, c)
	}
	return append(dst, '}')
}
