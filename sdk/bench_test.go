package sdk

import "testing"

var benchSchemas = []*Schema{nil, {ID: 1, DB: "shop", Table: "orders", Columns: []Column{
	{Name: "id", Type: TypeInt}, {Name: "name", Type: TypeString}, {Name: "email", Type: TypeString},
	{Name: "amount", Type: TypeDecimal}, {Name: "created", Type: TypeTimestamp}, {Name: "status", Type: TypeEnum},
	{Name: "flags", Type: TypeUint}, {Name: "note", Type: TypeString, Nullable: true}}, Key: []int{0}}}

const benchRows = 256

var (
	benchTx             = TxInfo{ID: []byte("uuid:1"), File: []byte("binlog.000001"), PosStart: 4, Time: 1}
	name, email, amount = []byte("Ada Lovelace"), []byte("ada@example.org"), []byte("1234.50")
)

func fillBench(b *Builder) *Batch {
	b.Reset()
	b.BeginTx(benchTx)
	for n := range benchRows {
		b.BeginRow(benchSchemas[1], OpInsert, RowAfter, uint64(n))
		m := b.After()
		m.SetSlot(0, uint64(n))
		b.SetBytes(m, 1, name)
		b.SetBytes(m, 2, email)
		b.SetAppended(m, 3, append(b.Append(), amount...))
		m.SetSlot(4, 1)
		b.SetBytes(m, 5, name)
		m.SetSlot(6, 3)
		m.SetNull(7)
		b.EndRow()
	}
	b.EndTx(99, 0)
	return b.Seal(benchSchemas)
}

func readBench(b *Batch) (sum int) {
	for i := range b.Rows() {
		r := b.Row(i)
		m, s := r.After(), r.Schema()
		for c := range s.Columns {
			switch {
			case !m.Has(c):
			case s.Columns[c].Type.Inline():
				sum += int(m.Int(c))
			default:
				sum += len(m.Bytes(c))
			}
		}
	}
	return sum
}

func copyBench(b *Builder, from *Batch) *Batch {
	b.Reset()
	b.CopyTx(from.Tx(0))
	for i := range from.Rows() {
		b.CopyRow(from.Row(i))
	}
	return b.Seal(from.Schemas())
}

func TestNothingAllocates(t *testing.T) {
	var b, copied Builder
	var opened, clone Batch
	batch := fillBench(&b)
	copyBench(&copied, batch)
	clone.CopyFrom(batch)
	for name, f := range map[string]func(){
		"building": func() { fillBench(&b) },
		"reading":  func() { readBench(batch) },
		"copying":  func() { copyBench(&copied, batch) },
		"opening": func() {
			if opened.Reopen(batch.Bytes(), benchSchemas, nil) != nil {
				t.Fatal("not a batch")
			}
		},
		"cloning": func() { clone.CopyFrom(batch); clone.Keep(func(i int) bool { return i%2 == 0 }) },
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func perRow(b *testing.B, f func()) {
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

func BenchmarkBatchBuild(b *testing.B) {
	var bl Builder
	perRow(b, func() { fillBench(&bl) })
}

func BenchmarkBatchRead(b *testing.B) {
	var bl Builder
	batch := fillBench(&bl)
	perRow(b, func() { readBench(batch) })
}

func BenchmarkBatchOpen(b *testing.B) {
	var bl Builder
	var opened Batch
	batch := fillBench(&bl)
	perRow(b, func() { _ = opened.Reopen(batch.Bytes(), benchSchemas, nil) })
}

func BenchmarkCopyRow(b *testing.B) {
	var bl, to Builder
	batch := fillBench(&bl)
	perRow(b, func() { copyBench(&to, batch) })
}
