package sdk

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The model of a batch: what went into a Builder, as plain values.
type (
	modelCell struct {
		Null, Absent bool
		Slot         uint64
		Heap         string
	}
	modelRow struct {
		Schema                uint32
		Op                    Op
		After, Before         []modelCell // nil for none
		Ordinal               uint64
		Dest                  bool
		Subject, Key, Headers string
	}
	modelTx struct {
		ID, File   string
		Start, End uint64
		Time       int64
		Server     uint32
		RowsBefore uint64
		Ends       bool
		Rows       []modelRow
	}
)

func drawSchemas(t *rapid.T) []*Schema {
	list := []*Schema{nil}
	for id := range rapid.IntRange(1, 3).Draw(t, "schemas") {
		s := &Schema{ID: uint32(id + 1), DB: "db", Table: fmt.Sprint("t", id)}
		for c := range rapid.SampledFrom([]int{0, 1, 2, 5, 63, 64, 65, 130}).Draw(t, "columns") {
			s.Columns = append(s.Columns, Column{Name: fmt.Sprint("c", c), Type: Type(rapid.IntRange(1, int(typeEnd)-1).Draw(t, "type")), Nullable: true})
		}
		list = append(list, s)
	}
	return list
}

func drawImage(t *rapid.T, s *Schema) []modelCell {
	cells := make([]modelCell, len(s.Columns))
	for c := range cells {
		switch rapid.IntRange(0, 4).Draw(t, "state") {
		case 0:
			cells[c].Null = true
		case 1:
			cells[c].Absent = true
		default:
			if s.Columns[c].Type.Inline() {
				cells[c].Slot = rapid.Uint64().Draw(t, "slot")
			} else if rapid.IntRange(0, 40).Draw(t, "large") == 0 {
				cells[c].Heap = strings.Repeat("L", LargeBytesMin+rapid.IntRange(0, 9).Draw(t, "more"))
			} else {
				cells[c].Heap = rapid.StringN(0, 12, 20).Draw(t, "heap")
			}
		}
	}
	return cells
}

func drawTx(t *rapid.T, schemas []*Schema, n int) modelTx {
	tx := modelTx{ID: fmt.Sprint("tx:", n), File: "binlog.000001", Start: rapid.Uint64().Draw(t, "start"),
		End: rapid.Uint64().Draw(t, "end"), Time: rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"),
		Server: rapid.Uint32().Draw(t, "server"), RowsBefore: rapid.Uint64Range(0, 3).Draw(t, "before"), Ends: true}
	for i := range rapid.IntRange(0, 4).Draw(t, "rows") {
		s := schemas[rapid.IntRange(1, len(schemas)-1).Draw(t, "schema")]
		r := modelRow{Schema: s.ID, Op: Op(rapid.IntRange(1, 5).Draw(t, "op")), Ordinal: tx.RowsBefore + uint64(i)}
		if rapid.Bool().Draw(t, "after") {
			r.After = drawImage(t, s)
		}
		if rapid.Bool().Draw(t, "before image") {
			r.Before = drawImage(t, s)
		}
		if rapid.Bool().Draw(t, "dest") {
			r.Dest, r.Subject, r.Key, r.Headers = true, "a.b", rapid.StringN(0, 5, 9).Draw(t, "key"), "X: y\n"
		}
		tx.Rows = append(tx.Rows, r)
	}
	return tx
}

func buildTx(b *Builder, schemas []*Schema, tx modelTx) {
	b.BeginTx(TxInfo{ID: []byte(tx.ID), File: []byte(tx.File), PosStart: tx.Start, Time: tx.Time, Server: tx.Server, RowsBefore: tx.RowsBefore})
	for _, r := range tx.Rows {
		buildRow(b, schemas[r.Schema], r)
	}
	if tx.Ends {
		b.EndTx(tx.End, 0)
	}
}

func buildRow(b *Builder, s *Schema, r modelRow) {
	var parts RowFlags
	if r.After != nil {
		parts |= RowAfter
	}
	if r.Before != nil {
		parts |= RowBefore
	}
	if r.Dest {
		parts |= RowDest
	}
	b.BeginRow(s, r.Op, parts, r.Ordinal)
	if r.Dest {
		b.SetDest([]byte(r.Subject), []byte(r.Key), []byte(r.Headers))
	}
	fill := func(m Image, cells []modelCell) {
		for c, v := range cells {
			switch {
			case v.Null:
				m.SetNull(c)
			case v.Absent: // as it begins
			case s.Columns[c].Type.Inline():
				m.SetSlot(c, v.Slot)
			case c%2 == 0:
				b.SetBytes(m, c, []byte(v.Heap))
			default:
				b.SetAppended(m, c, append(b.Append(), v.Heap...))
			}
		}
	}
	fill(b.After(), r.After)
	fill(b.Before(), r.Before)
	b.EndRow()
}

// modelOf reads a batch back into the model.
func modelOf(b *Batch) []modelTx {
	var list []modelTx
	for i := range b.Txs() {
		tx := b.Tx(i)
		m := modelTx{ID: string(tx.ID()), File: string(tx.File()), Start: tx.PosStart(), End: tx.PosEnd(), Time: tx.Time(),
			Server: tx.Server(), RowsBefore: tx.RowsBefore(), Ends: tx.Ends()}
		for k := tx.FirstRow(); k < tx.FirstRow()+tx.Rows(); k++ {
			r := b.Row(k)
			subject, key, headers := r.Dest()
			m.Rows = append(m.Rows, modelRow{Schema: r.SchemaID(), Op: r.Op(), Ordinal: r.Ordinal(), After: cellsOf(r.After(), r.Schema()),
				Before: cellsOf(r.Before(), r.Schema()), Dest: r.Flags()&RowDest != 0, Subject: string(subject), Key: string(key), Headers: string(headers)})
		}
		list = append(list, m)
	}
	return list
}

func cellsOf(m Image, s *Schema) []modelCell {
	if !m.Valid() {
		return nil
	}
	cells := make([]modelCell, len(s.Columns))
	for c := range cells {
		cells[c].Null, cells[c].Absent = m.IsNull(c), m.IsAbsent(c)
		if m.Has(c) && s.Columns[c].Type.Inline() {
			cells[c].Slot = m.Slot(c)
		} else if m.Has(c) {
			cells[c].Heap = string(m.Bytes(c))
		}
	}
	return cells
}

// changedWant says which columns differ between the images.
func changedWant(r modelRow, c int) bool {
	return r.After != nil && r.Before != nil && r.After[c] != r.Before[c]
}

func TestRoundTrip(t *testing.T) {
	var b, moved, copied Builder // reused from one draw to the next, as in use
	rapid.Check(t, func(t *rapid.T) {
		schemas := drawSchemas(t)
		var want []modelTx
		b.Reset()
		for n := range rapid.IntRange(0, 4).Draw(t, "txs") {
			tx := drawTx(t, schemas, n)
			if rapid.IntRange(0, 3).Draw(t, "dropped") == 0 {
				tx.Ends = false
				buildTx(&b, schemas, tx)
				b.DropTx()
				continue
			}
			want = append(want, tx)
			buildTx(&b, schemas, tx)
		}
		last := drawTx(t, schemas, 99)
		last.Ends, last.End = false, 0
		buildTx(&b, schemas, last)
		b.MoveTx(&moved, schemas)

		batch := b.Seal(schemas)
		opened, err := Open(bytes.Clone(batch.Bytes()), schemas, batch.Large())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, modelOf(opened)); d != "" {
			t.Fatal(d)
		}
		row := 0
		for _, tx := range want {
			for _, r := range tx.Rows {
				for c := range r.After {
					if got := opened.Row(row).Changed(c); got != changedWant(r, c) {
						t.Fatalf("row %d column %d changed: %v", row, c, got)
					}
				}
				row++
			}
		}
		rest := moved.Seal(schemas)
		if err := rest.Check(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]modelTx{last}, modelOf(rest)); d != "" {
			t.Fatal(d)
		}
		checkCopies(t, &copied, opened, want)
		checkKeep(t, opened, want)
	})
}

// checkCopies copies a batch row by row, once as it is and once with
// destinations, and compares.
func checkCopies(t *rapid.T, b *Builder, from *Batch, want []modelTx) {
	for _, routed := range []bool{false, true} {
		b.Reset()
		for i := range from.Txs() {
			tx := from.Tx(i)
			b.CopyTx(tx)
			for k := tx.FirstRow(); k < tx.FirstRow()+tx.Rows(); k++ {
				size, before := from.Row(k).Size(), b.Size()
				if routed {
					b.CopyRowTo(from.Row(k), []byte("to"), nil, []byte("H: 1\n"))
				} else {
					b.CopyRow(from.Row(k))
					if grown := b.Size() - before; grown < size || grown > size+4+8 {
						t.Fatalf("row %d says %d bytes, takes %d", k, size, grown)
					}
				}
			}
		}
		copied := b.Seal(from.Schemas())
		if err := copied.Check(); err != nil {
			t.Fatal(err)
		}
		expect := want
		if routed {
			expect = nil
			for _, tx := range want {
				rows := tx.Rows
				tx.Rows = nil
				for _, r := range rows {
					r.Dest, r.Subject, r.Key, r.Headers = true, "to", "", "H: 1\n"
					tx.Rows = append(tx.Rows, r)
				}
				expect = append(expect, tx)
			}
		}
		if d := cmp.Diff(expect, modelOf(copied)); d != "" {
			t.Fatal(d)
		}
	}
}

// checkKeep drops every other row.
func checkKeep(t *rapid.T, b *Batch, want []modelTx) {
	n := 0
	var expect []modelTx
	for _, tx := range want {
		rows := tx.Rows
		tx.Rows = nil
		for _, r := range rows {
			if n%2 == 0 {
				tx.Rows = append(tx.Rows, r)
			}
			n++
		}
		expect = append(expect, tx)
	}
	b.Keep(func(i int) bool { return i%2 == 0 })
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(expect, modelOf(b)); d != "" {
		t.Fatal(d)
	}
}

// An edit in place grows the heap within the capacity and no further, and what
// was adopted from an edited copy is what the edit said.
func TestEditInPlace(t *testing.T) {
	s := &Schema{ID: 1, DB: "d", Table: "t", Columns: []Column{{Name: "id", Type: TypeInt}, {Name: "v", Type: TypeString}}}
	schemas := []*Schema{nil, s}
	var b Builder
	b.Reset()
	buildTx(&b, schemas, modelTx{ID: "x:1", File: "f", Time: 5, Rows: []modelRow{
		{Schema: 1, Op: OpUpdate, After: []modelCell{{Slot: 1}, {Heap: "old"}}, Before: []modelCell{{Slot: 1}, {Heap: "old"}}},
		{Schema: 1, Op: OpInsert, After: []modelCell{{Slot: 2}, {Heap: "two"}}, Ordinal: 1}}})
	original := b.Seal(schemas)
	region := make([]byte, len(original.Bytes())+8)
	size := copy(region, original.Bytes())
	SetCapacity(region, len(region))
	SetFirstRow(region, 1)
	edited, err := Open(region[:size], schemas, nil)
	if err != nil || edited.FirstRow() != 1 || edited.Capacity() != len(region) {
		t.Fatal(err, edited)
	}
	if err := edited.Row(0).After().SetBytes(1, []byte("new!")); err != nil {
		t.Fatal(err)
	}
	if err := edited.Row(0).Before().SetBytes(1, []byte("12345")); err != ErrFull {
		t.Fatalf("5 bytes fit into 4: %v", err)
	}
	edited.Row(1).After().SetNull(1)

	var took Batch
	took.CopyFrom(original)
	if err := took.Adopt(region); err != nil {
		t.Fatal(err)
	}
	took.Row(0).Adopt(region)
	if err := took.Reopen(took.Bytes(), schemas, nil); err != nil {
		t.Fatal(err)
	}
	took.Row(0).MarkChanged()
	if got := string(took.Row(0).After().Bytes(1)); got != "new!" || !took.Row(0).Changed(1) || took.Row(0).Changed(0) {
		t.Errorf("row 0 is %q", got)
	}
	if got := string(took.Row(1).After().Bytes(1)); got != "two" {
		t.Errorf("row 1 was not adopted and is %q", got)
	}
	if err := took.Adopt(region[:10]); err == nil {
		t.Error("a copy of 10 bytes was adopted")
	}
}

func TestZeroBatchIsEmpty(t *testing.T) {
	var b Batch
	if b.Rows()+b.Txs()+b.FirstRow()+b.Capacity()+b.Size()+b.LargeMissing() != 0 || b.Seq() != 0 || b.Time() != 0 {
		t.Error("it is not")
	}
}

// A row that begins whole is the same row, byte for byte.
func TestWholeRow(t *testing.T) {
	const columns = 70 // more than one word of a mask
	s := &Schema{Columns: make([]Column, columns)}
	for i := range s.Columns {
		s.Columns[i].Type = [...]Type{TypeInt, TypeString}[i%2]
	}
	build := func(whole bool) []byte {
		var b Builder
		b.Reset()
		b.BeginTx(TxInfo{ID: []byte("t"), File: []byte("f")})
		if whole {
			b.BeginWholeRow(s, OpRead, RowAfter, 3)
		} else {
			b.BeginRow(s, OpRead, RowAfter, 3)
		}
		for c := range columns {
			text := []byte(strings.Repeat("x", c))
			switch m := b.After(); {
			case c%7 == 0:
				m.SetNull(c)
			case c%11 == 0:
				m.SetAbsent(c)
			case whole && c%2 == 1:
				m.InitSlot(c, b.Value(text))
			case whole:
				m.InitSlot(c, uint64(c))
			case c%2 == 1:
				b.SetBytes(m, c, text)
			default:
				m.SetSlot(c, uint64(c))
			}
		}
		b.EndRow()
		b.EndTx(0, 0)
		return b.Seal([]*Schema{s}).Bytes()
	}
	if diff := cmp.Diff(build(false), build(true)); diff != "" {
		t.Error(diff)
	}
}
