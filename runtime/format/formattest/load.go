package formattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/sdk"
)

// BusyRow is an update of a row of the usual size with every type that many
// tables have.
func BusyRow(t testing.TB) sdk.Row {
	t.Helper()
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "orders", Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt, Native: "int"},
		{Name: "email", Type: sdk.TypeString, Native: "varchar(60)"},
		{Name: "total", Type: sdk.TypeDecimal, Scale: 2, Native: "decimal(10,2)"},
		{Name: "note", Type: sdk.TypeString, Native: "text", Nullable: true},
		{Name: "at", Type: sdk.TypeDateTime, Scale: 6, Native: "datetime(6)"},
		{Name: "seen", Type: sdk.TypeTimestamp, Native: "timestamp"},
		{Name: "took", Type: sdk.TypeTime, Scale: 3, Native: "time(3)"},
		{Name: "day", Type: sdk.TypeDate, Native: "date"},
		{Name: "state", Type: sdk.TypeEnum, Labels: []string{"new", "paid"}, Native: "enum('new','paid')"},
		{Name: "tags", Type: sdk.TypeSet, Labels: []string{"a", "b"}, Native: "set('a','b')"},
		{Name: "weight", Type: sdk.TypeFloat32, Native: "float"},
		{Name: "ratio", Type: sdk.TypeFloat64, Native: "double"},
		{Name: "flags", Type: sdk.TypeBit, Length: 9, Native: "bit(9)"},
		{Name: "hash", Type: sdk.TypeBytes, Native: "binary(4)"},
		{Name: "doc", Type: sdk.TypeJSON, Native: "json"},
		{Name: "place", Type: sdk.TypeGeometry, Native: "point"},
		{Name: "near", Type: sdk.TypeVector, Native: "vector(2)"},
		{Name: "count", Type: sdk.TypeUint, Native: "bigint unsigned"},
	}}
	row := []string{"123456", "someone@example.com", "1234.50", strings.Repeat("lorem ipsum ", 10), "2024-05-01 12:00:00.000001",
		"2024-05-01 12:00:00", "-12:34:56.789", "2024-05-01", "paid", "a,b", "0.5", "0.1", "257", "00ff1020", `{"a": 1}`,
		"000000000101000000000000000000f03f0000000000000040", "0000803f000000c0", "18446744073709551615"}
	before := append([]string(nil), row...)
	before[2], before[8], before[16] = "99.00", "new", "000000000000803f"
	return Batch(t, s, Transaction(WithGTID), true, Row{Op: sdk.OpUpdate, Before: before, After: row}).Row(0)
}

// append renders all of a row's messages behind dst.
func appendAll(dst []byte, f format.Format, r sdk.Row) []byte {
	p, ok := f.(format.Parted)
	if !ok {
		dst = f.AppendRow(dst, r, Context())
		if k, ok := f.(format.Keyer); ok {
			dst = k.AppendKey(dst, r)
		}
		return dst
	}
	for i := range p.Parts(r) {
		dst = p.AppendPart(dst, r, Context(), i)
		dst = p.AppendPartKey(dst, r, Context(), i)
		dst = p.AppendPartHeaders(dst, r, Context(), i)
	}
	return dst
}

// testAllocations: nothing is allocated for a row once its schema was seen.
func (s Suite) testAllocations(t *testing.T) {
	f := s.New()
	rows := []sdk.Row{BusyRow(t)}
	for _, c := range s.changes() {
		rows = append(rows, Batch(t, c.table, Transaction(c.tx), c.whole, c.Row).Row(0))
	}
	for i, r := range rows {
		buf := appendAll(nil, f, r)
		if n := testing.AllocsPerRun(100, func() { buf = appendAll(buf[:0], f, r) }); n != 0 {
			t.Errorf("row %d: %v allocations", i, n)
		}
	}
}

// Benchmark measures the rendering of a row and its key.
func (s Suite) Benchmark(b *testing.B) {
	f, r := s.New(), BusyRow(b)
	buf := appendAll(nil, f, r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = appendAll(buf[:0], f, r)
	}
}

// testLarge: a value that lives beside the batch comes whole.
func (s Suite) testLarge(t *testing.T) {
	text := strings.Repeat("<\n>", sdk.LargeBytesMin)
	table := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "big", Type: sdk.TypeString, Native: "longtext"}}}
	b := Batch(t, table, Transaction(WithGTID), true, Row{Op: sdk.OpInsert, After: []string{text}})
	if _, _, large := b.Row(0).After().IsLarge(0); !large {
		t.Fatal("the value is not large")
	}
	want, _ := json.Marshal(text)
	want = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(want)))
	if m := Messages(s.New(), b.Row(0))[0]; !strings.Contains(string(m.Body), string(want)) || !json.Valid(m.Body) {
		t.Error("a large value was not rendered whole")
	}
}

// testSchema: a step may give another definition under the same id.
func (s Suite) testSchema(t *testing.T) {
	f := s.New()
	for _, name := range []string{"first", "second", "first"} {
		table := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: name, Type: sdk.TypeInt, Native: "int"}}}
		b := Batch(t, table, Transaction(WithGTID), true, Row{Op: sdk.OpInsert, After: []string{"1"}})
		if m := Messages(f, b.Row(0))[0]; !strings.Contains(string(m.Body), `"`+name+`"`) {
			t.Errorf("no column %q in %s", name, m.Body)
		}
	}
}

// testRandom: whatever the bytes of names and values, a body is JSON in UTF-8,
// and the same again.
func (s Suite) testRandom(t *testing.T) {
	types := []sdk.Type{sdk.TypeInt, sdk.TypeUint, sdk.TypeFloat32, sdk.TypeFloat64, sdk.TypeDecimal, sdk.TypeBit, sdk.TypeYear, sdk.TypeDate,
		sdk.TypeTime, sdk.TypeDateTime, sdk.TypeTimestamp, sdk.TypeEnum, sdk.TypeSet, sdk.TypeString, sdk.TypeBytes, sdk.TypeJSON,
		sdk.TypeGeometry, sdk.TypeVector, sdk.TypeUUID, sdk.TypeInet}
	natives := []string{"", "int", "tinyint(1)", "bigint unsigned", "decimal(10,2)", "float(7,4)", "point", "enum('a')", "varchar(", "x(1,2"}
	rapid.Check(t, func(rt *rapid.T) {
		anything := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		table := &sdk.Schema{ID: 1, DB: anything.Draw(rt, "db"), Table: anything.Draw(rt, "table")}
		for range rapid.IntRange(1, 8).Draw(rt, "columns") {
			c := sdk.Column{Name: anything.Draw(rt, "name"), Type: rapid.SampledFrom(types).Draw(rt, "type"), Nullable: rapid.Bool().Draw(rt, "nullable"),
				Native: rapid.SampledFrom(natives).Draw(rt, "native"), Scale: rapid.Uint8().Draw(rt, "scale"), Length: rapid.Uint32Range(0, 64).Draw(rt, "length")}
			if c.Type == sdk.TypeEnum || c.Type == sdk.TypeSet {
				c.Labels = rapid.SliceOfN(anything, 1, 4).Draw(rt, "labels")
			}
			table.Columns = append(table.Columns, c)
		}
		table.Key = []int{0}
		tx := Transaction(anything.Draw(rt, "tx"))
		tx.File, tx.Time = []byte(anything.Draw(rt, "file")), rapid.Int64Range(-1<<50, 1<<52).Draw(rt, "time")
		var b sdk.Builder
		b.Reset()
		b.BeginTx(tx)
		op := rapid.SampledFrom([]sdk.Op{sdk.OpInsert, sdk.OpUpdate, sdk.OpDelete, sdk.OpRead}).Draw(rt, "op")
		parts := map[sdk.Op]sdk.RowFlags{sdk.OpInsert: sdk.RowAfter, sdk.OpRead: sdk.RowAfter, sdk.OpUpdate: sdk.RowAfter | sdk.RowBefore, sdk.OpDelete: sdk.RowBefore}[op]
		b.BeginRow(table, op, parts, 0)
		for _, image := range []func() sdk.Image{b.After, b.Before} {
			if image().Valid() {
				randomImage(rt, &b, image, table)
			}
		}
		b.EndRow()
		b.EndTx(1, 0)
		row := b.Seal([]*sdk.Schema{nil, table}).Row(0)
		first, again := Messages(s.New(), row), Messages(s.New(), row)
		for i, m := range first {
			check(t, fmt.Sprint("random ", op), m)
			if string(m.Body) != string(again[i].Body) || string(m.Key) != string(again[i].Key) {
				rt.Fatal("not the same again")
			}
		}
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func randomImage(rt *rapid.T, b *sdk.Builder, image func() sdk.Image, table *sdk.Schema) {
	for i := range table.Columns {
		switch c := &table.Columns[i]; {
		case rapid.IntRange(0, 9).Draw(rt, "null") == 0:
			image().SetNull(i)
		case rapid.IntRange(0, 9).Draw(rt, "absent") == 0:
		case c.Type == sdk.TypeJSON: // the one type whose bytes are promised to be JSON
			b.SetBytes(image(), i, []byte(`{"a": [1, "ü"]}`))
		case c.Type.Inline():
			image().SetSlot(i, rapid.Uint64().Draw(rt, "slot"))
		default:
			b.SetBytes(image(), i, rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes"))
		}
	}
}

// Values renders every value of the matrix in a column that may be NULL, and
// calls f with what JSON reads in its place, numbers as json.Number.
func (s Suite) Values(t *testing.T, f func(p *cdctest.Probe, v *cdctest.Value, got any)) {
	t.Helper()
	for _, p := range cdctest.Probes("") {
		for i := range p.Values {
			v := &p.Values[i]
			b := Batch(t, ProbeTable(&p), Transaction(WithGTID), true, Row{Op: sdk.OpInsert, After: []string{"1", v.Text, v.Text}})
			d := json.NewDecoder(bytes.NewReader(s.Value(Messages(s.New(), b.Row(0))[0].Body)))
			d.UseNumber()
			var row map[string]any
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			f(&p, v, row["v"])
		}
	}
}
