package binlog

import (
	"bytes"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

// BenchmarkSelection makes batches of rows of a SELECT, each a transaction as a
// snapshot's are: a row of sysbench's.
func BenchmarkSelection(b *testing.B) {
	c := &CatalogTable{DB: "d", Table: "t", Columns: []CatalogColumn{
		{Name: "id", Native: "bigint"}, {Name: "k", Native: "int"},
		{Name: "c", Native: "char(120)", Charset: "latin1"}, {Name: "pad", Native: "char(60)", Charset: "latin1"}}}
	t, err := Described(c, false, true)
	if err != nil {
		b.Fatal(err)
	}
	_, plan, err := BuildSchema(t, nil)
	if err != nil {
		b.Fatal(err)
	}
	s := NewSelection(plan, []int{0, 1, 2, 3})
	if !s.Numbers([]byte{byte(ColLongLong), byte(ColLong), byte(ColString), byte(ColString)}) {
		b.Fatal("the types are not taken")
	}
	row := rowOf(s, "\x01\x02\x03\x00\x00\x00\x00\x00", "\x01\x00\x00\x00", string(bytes.Repeat([]byte("c"), 119)), string(bytes.Repeat([]byte("p"), 59)))
	id, file := []byte("snapshot/sbtest.sbtest1/3/k1~0123abcd~i1234567"), []byte("binlog.000001")
	var batch sdk.Builder
	batch.Reset()
	b.ReportAllocs()
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		if batch.Size() > 128<<10 {
			batch.Reset()
		}
		batch.BeginTx(sdk.TxInfo{ID: id, File: file})
		if err := s.Parse(row); err != nil {
			b.Fatal(err)
		}
		if err := s.Append(&batch, sdk.OpRead, 0); err != nil {
			b.Fatal(err)
		}
		batch.EndTx(0, 0)
	}
}
