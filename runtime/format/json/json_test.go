package json

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

var mysql = format.Context{Pipeline: "shop", Source: "mysql"}

type cell struct {
	col   sdk.Column
	slot  uint64
	bytes []byte
}

func inline(name string, t sdk.Type, scale uint8, v uint64) cell {
	return cell{col: sdk.Column{Name: name, Type: t, Scale: scale}, slot: v}
}

func heap(name string, t sdk.Type, v string) cell {
	return cell{col: sdk.Column{Name: name, Type: t}, bytes: []byte(v)}
}

func vector(v ...float32) string {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return string(b)
}

func neg(v int64) uint64 { return uint64(v) }

// typeMatrix has a value of each type and the edges of those that have some.
func typeMatrix() []cell {
	dt := func(y, mo, d, h, mi, s, us int) uint64 {
		return sdk.PackDateTime(sdk.Civil{Year: y, Month: mo, Day: d, Hour: h, Minute: mi, Second: s, Micro: us})
	}
	return []cell{
		inline("int_min", sdk.TypeInt, 0, 1<<63),
		inline("uint_max", sdk.TypeUint, 0, math.MaxUint64),
		inline("float32", sdk.TypeFloat32, 0, math.Float64bits(float64(float32(0.1)))),
		inline("float64", sdk.TypeFloat64, 0, math.Float64bits(0.1)),
		inline("float64_big", sdk.TypeFloat64, 0, math.Float64bits(1.7976931348623157e308)),
		inline("float64_nan", sdk.TypeFloat64, 0, math.Float64bits(math.NaN())),
		heap("decimal", sdk.TypeDecimal, "-12.340"),
		inline("bit64", sdk.TypeBit, 0, math.MaxUint64),
		inline("year", sdk.TypeYear, 0, 2155),
		inline("year_zero", sdk.TypeYear, 0, 0),
		inline("date", sdk.TypeDate, 0, sdk.PackDate(2024, 1, 2)),
		inline("date_zero", sdk.TypeDate, 0, 0),
		inline("date_partial", sdk.TypeDate, 0, sdk.PackDate(2024, 0, 0)),
		inline("time_min", sdk.TypeTime, 6, neg(-(838*3600+59*60+59)*1e6)),
		inline("time_3", sdk.TypeTime, 3, 1_500_000),
		inline("time_0", sdk.TypeTime, 0, 3_600_000_000),
		inline("time_neg_fraction", sdk.TypeTime, 6, neg(-1)),
		inline("datetime_6", sdk.TypeDateTime, 6, dt(2024, 1, 2, 3, 4, 5, 123000)),
		inline("datetime_3", sdk.TypeDateTime, 3, dt(9999, 12, 31, 23, 59, 59, 999000)),
		inline("datetime_0", sdk.TypeDateTime, 0, dt(1, 1, 1, 0, 0, 0, 0)),
		inline("datetime_zero", sdk.TypeDateTime, 3, 0),
		inline("datetime_partial", sdk.TypeDateTime, 0, dt(2024, 2, 0, 1, 2, 3, 0)),
		inline("timestamp_3", sdk.TypeTimestamp, 3, 1714550400123000),
		inline("timestamp_0", sdk.TypeTimestamp, 0, 1),
		inline("timestamp_zero", sdk.TypeTimestamp, 0, 0),
		heap("enum", sdk.TypeEnum, "x-large"),
		heap("enum_error", sdk.TypeEnum, ""),
		heap("set", sdk.TypeSet, "a,b"),
		heap("string", sdk.TypeString, "q\" b\\ nl\n tab\t bell\a <b>&amp; 中🙂"),
		heap("string_broken", sdk.TypeString, "a\xffb\xc3"),
		heap("bytes", sdk.TypeBytes, "\x00\x01\xfe\xff"),
		heap("bytes_empty", sdk.TypeBytes, ""),
		heap("json", sdk.TypeJSON, `{"a": [1, 2.50, null]}`),
		heap("geometry", sdk.TypeGeometry, "\xe6\x10\x00\x00\x01\x02"),
		heap("vector", sdk.TypeVector, vector(1.5, -0.1)),
		heap("uuid", sdk.TypeUUID, "3e11fa47-71ca-11e1-9e33-c80aa9429562"),
		heap("inet", sdk.TypeInet, "::1"),
	}
}

func set(b *sdk.Builder, m sdk.Image, cells []cell) {
	for c, v := range cells {
		if v.col.Type.Inline() {
			m.SetSlot(c, v.slot)
		} else {
			b.SetBytes(m, c, v.bytes)
		}
	}
}

func schemaOf(id uint32, cells []cell) *sdk.Schema {
	s := &sdk.Schema{ID: id, DB: "shop", Table: `or"ders`}
	for _, c := range cells {
		s.Columns = append(s.Columns, c.col)
	}
	return s
}

func begin(b *sdk.Builder, id string) {
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte(id), File: []byte("binlog.000003"), PosStart: 1534,
		Time: 1714550400123456, Server: 7})
}

func seal(b *sdk.Builder, s *sdk.Schema) *sdk.Batch {
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	return b.Seal(schemas)
}

// inserted is a new row.
func inserted(cells []cell) sdk.Row {
	s := schemaOf(1, cells)
	var b sdk.Builder
	begin(&b, "a:1")
	b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 0)
	set(&b, b.After(), cells)
	b.EndRow()
	b.EndTx(1, 0)
	return seal(&b, s).Row(0)
}

func TestGolden(t *testing.T) {
	cells := typeMatrix()
	s := schemaOf(2, cells)
	s.Key = []int{0, 6}
	small := &sdk.Schema{ID: 1, DB: "shop", Table: "t", Key: []int{0},
		Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt}, {Name: "n", Type: sdk.TypeInt}}}
	f := New()
	var out []byte
	line := func(b *sdk.Batch) {
		for i := range b.Rows() {
			out = append(f.AppendRow(out, b.Row(i), mysql), '\n')
			out = append(f.AppendKey(append(out, "key "...), b.Row(i)), '\n')
		}
	}
	var b sdk.Builder
	begin(&b, "3e11fa47-71ca-11e1-9e33-c80aa9429562:23")
	b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 0)
	set(&b, b.After(), cells)
	b.EndRow()
	b.EndTx(1700, 0)
	line(seal(&b, s))

	begin(&b, "binlog.000003:1534") // no GTID; a part of a transaction
	b.BeginRow(small, sdk.OpUpdate, sdk.RowAfter|sdk.RowBefore, 3)
	b.Before().SetSlot(0, 1) // n is absent
	b.After().SetSlot(0, 1)
	b.After().SetNull(1)
	b.EndRow()
	b.BeginRow(small, sdk.OpDelete, sdk.RowBefore, 4)
	b.Before().SetSlot(0, 9)
	b.EndRow()
	b.BeginRow(small, sdk.OpTruncate, 0, 5)
	b.EndRow()
	line(seal(&b, small))

	begin(&b, "snapshot/shop.t/0/k1~0a1b2c3d~i9") // read from the table: no GTID
	b.BeginRow(small, sdk.OpRead, sdk.RowAfter, 0)
	b.After().SetSlot(0, 9) // n was not asked for
	b.EndRow()
	b.EndTx(0, 0)
	line(seal(&b, small))

	out = append(format.AppendSchema(out, s, s.Fingerprint()), '\n')
	out = append(format.AppendTxEnd(out, format.TxEndBody{Tx: "3e11:7", Rows: 12, Messages: 10, Subjects: map[string]*uint64{"cdc.a.b.c": new(uint64(7)), "cdc.a.b.a": new(uint64(3))}}), '\n')
	out = append(format.AppendHeartbeat(out, "3e11:1-7", "binlog.000003:99"), '\n')
	for i, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if l = strings.TrimSpace(strings.TrimPrefix(l, "key")); l != "" && !json.Valid([]byte(l)) {
			t.Errorf("line %d is not JSON: %s", i+1, l)
		}
	}
	golden(t, "rows.jsonl", out)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Fatal(d)
	}
}

func TestLargeValue(t *testing.T) {
	text := strings.Repeat("<\n>", sdk.LargeBytesMin)
	cells := []cell{heap("big", sdk.TypeString, text)}
	body := New().AppendRow(nil, inserted(cells), mysql)
	var got struct{ After map[string]string }
	if err := json.Unmarshal(body, &got); err != nil || got.After["big"] != text {
		t.Fatal("a large value was not rendered whole", err)
	}
}

// A step may give another definition under the same id.
func TestSchemaBehindTheSameIDChanges(t *testing.T) {
	f := New()
	for _, name := range []string{"a", "b", "a"} {
		cells := []cell{inline(name, sdk.TypeInt, 0, 1)}
		if body := string(f.AppendRow(nil, inserted(cells), mysql)); !strings.Contains(body, `"after":{"`+name+`":1}`) {
			t.Fatal(body)
		}
	}
}

func benchRow(tb testing.TB) sdk.Row {
	tb.Helper()
	cells := []cell{
		inline("id", sdk.TypeInt, 0, 123456),
		heap("email", sdk.TypeString, "someone@example.com"),
		heap("total", sdk.TypeDecimal, "1234.50"),
		heap("note", sdk.TypeString, strings.Repeat("lorem ipsum ", 10)),
		inline("at", sdk.TypeDateTime, 6, sdk.PackDateTime(sdk.Civil{Year: 2024, Month: 5, Day: 1})),
		heap("doc", sdk.TypeJSON, `{"a": 1}`),
	}
	s := schemaOf(1, cells)
	s.Key = []int{0}
	var b sdk.Builder
	begin(&b, "3e11fa47-71ca-11e1-9e33-c80aa9429562:23")
	b.BeginRow(s, sdk.OpUpdate, sdk.RowAfter|sdk.RowBefore, 0)
	set(&b, b.After(), cells)
	set(&b, b.Before(), cells)
	b.EndRow()
	b.EndTx(1, 0)
	return seal(&b, s).Row(0)
}

func TestNoAllocations(t *testing.T) {
	r, f := benchRow(t), New()
	buf := f.AppendKey(f.AppendRow(nil, r, mysql), r)
	if n := testing.AllocsPerRun(100, func() { buf = f.AppendKey(f.AppendRow(buf[:0], r, mysql), r) }); n != 0 {
		t.Fatalf("%v allocations per row", n)
	}
}

func BenchmarkAppendRow(b *testing.B) {
	r, f := benchRow(b), New()
	buf := f.AppendRow(nil, r, mysql)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = f.AppendRow(buf[:0], r, mysql)
	}
}
