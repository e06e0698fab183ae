package sdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var fuzzSchemas = []*Schema{nil,
	{ID: 1, DB: "d", Table: "t", Columns: []Column{{Name: "i", Type: TypeInt}, {Name: "s", Type: TypeString}}, Key: []int{0}},
	{ID: 2, DB: "d", Table: "e", Columns: []Column{{Name: "e", Type: TypeEnum, Labels: []string{"a", "b"}}}},
}

func seedBatch() *Batch {
	var b Builder
	b.Reset()
	buildTx(&b, fuzzSchemas, modelTx{ID: "a:1", File: "f", Time: 5, Ends: true, End: 9, Rows: []modelRow{
		{Schema: 1, Op: OpUpdate, After: []modelCell{{Slot: 1}, {Heap: "old"}}, Before: []modelCell{{Slot: 1}, {Null: true}}, Dest: true, Subject: "x"},
		{Schema: 2, Op: OpInsert, After: []modelCell{{Heap: "b"}}, Ordinal: 1}}})
	buildTx(&b, fuzzSchemas, modelTx{ID: "a:2", File: "f", Time: 6})
	return b.Seal(fuzzSchemas)
}

// Arbitrary bytes are refused or give a batch whose every accessor stays inside,
// before and after every setter was used.
func FuzzOpen(f *testing.F) {
	seed := seedBatch().Bytes()
	f.Add(seed)
	f.Add([]byte("CDB1"))
	for _, off := range []int{offSize, offRows, offRowDir, offTxs, offTxDir, offTxStride, offLarge} {
		bad := bytes.Clone(seed)
		le.PutUint32(bad[off:], 0xfffffff8)
		f.Add(bad)
	}
	large := [][]byte{bytes.Repeat([]byte("x"), LargeBytesMin)}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, beside := range [][][]byte{nil, large} {
			b, err := Open(bytes.Clone(p), fuzzSchemas, beside)
			if err != nil {
				if !errors.Is(err, ErrBatch) {
					t.Fatal(err)
				}
				continue
			}
			touch(b)
			for i := range b.Rows() {
				for _, m := range [...]Image{b.Row(i).After(), b.Row(i).Before()} {
					for c := 0; m.Valid() && c < b.Row(i).Columns(); c++ {
						m.SetNull(c)
						m.SetAbsent(c)
						m.SetSlot(c, 0)
						_ = m.SetBytes(c, []byte("abc"))
					}
				}
				b.Row(i).MarkChanged()
			}
			touch(b)
			b.SetSeq(1)
			b.Keep(func(i int) bool { return i%2 == 1 })
			touch(b)
		}
	})
}

// touch reads everything, and copies every row.
func touch(b *Batch) {
	_ = modelOf(b)
	_, _, _ = b.Seq(), b.Time(), b.Size()
	var to Builder
	to.Reset()
	to.BeginTx(TxInfo{})
	for i := range b.Rows() {
		r := b.Row(i)
		_, _ = r.Source(), r.Size()
		for _, m := range [...]Image{r.After(), r.Before()} {
			for c := 0; m.Valid() && c < r.Columns(); c++ { // whether there is a value or not
				_, _ = r.Changed(c), m.Has(c)
				if !r.Schema().Columns[c].Type.Inline() {
					_ = m.Bytes(c)
				}
			}
		}
		to.CopyRow(r)
	}
	to.Seal(b.Schemas())
}

func FuzzDecodeSchema(f *testing.F) {
	for _, s := range fuzzSchemas[1:] {
		f.Add(AppendSchema(nil, s))
	}
	f.Add(binary.LittleEndian.AppendUint32(make([]byte, 12), 1<<31))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := DecodeSchema(p)
		if err != nil {
			return
		}
		again, err := DecodeSchema(AppendSchema(nil, s))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Fatal(d)
		}
		_ = s.Fingerprint()
	})
}

func TestFingerprintIgnoresTheID(t *testing.T) {
	a, b := *fuzzSchemas[1], *fuzzSchemas[1]
	b.ID = 77
	if a.Fingerprint() != b.Fingerprint() || len(a.Fingerprint()) != 32 {
		t.Error("equal definitions have other fingerprints")
	}
	b.Columns = append([]Column(nil), b.Columns...)
	b.Columns[1].Nullable = true
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("other definitions have equal fingerprints")
	}
}

// What overlaps, shares or claims too much is refused.
func TestOpenRefuses(t *testing.T) {
	seed := seedBatch().Bytes()
	dir := int(le.Uint32(seed[offRowDir:]))
	row0, row1 := le.Uint32(seed[dir:]), le.Uint32(seed[dir+4:])
	txDir := int(le.Uint32(seed[offTxDir:]))
	whole := uint64(len(seed)) << 32 // a value that is the whole region
	for name, change := range map[string]func(p []byte){
		"rows the wrong way round": func(p []byte) { le.PutUint32(p[dir:], row1); le.PutUint32(p[dir+4:], row0) },
		"one row twice":            func(p []byte) { le.PutUint32(p[dir+4:], row0) },
		"row in the header":        func(p []byte) { le.PutUint32(p[dir:], 8) },
		"row on the directory":     func(p []byte) { le.PutUint32(p[dir+4:], uint32(dir)&^7) },
		"directories overlap":      func(p []byte) { le.PutUint32(p[offRowDir:], uint32(txDir)) },
		"too many columns":         func(p []byte) { le.PutUint32(p[row0+rowColumns:], 3) },
		"unknown schema":           func(p []byte) { le.PutUint32(p[row0+rowSchema:], 9) },
		"another transaction":      func(p []byte) { le.PutUint32(p[row0+rowTx:], 1) },
		"shared bytes":             func(p []byte) { le.PutUint64(p[txDir+txID:], whole); le.PutUint64(p[txDir+txFile:], whole) },
		"null with a wild slot":    func(p []byte) { le.PutUint64(p[int(row0)+int(le.Uint32(p[row0+rowSize:]))-8:], 1<<62) },
		"large values missing":     func(p []byte) { le.PutUint64(p[int(row0)+int(le.Uint32(p[row0+rowSize:]))-8:], LargeBit<<32) },
		"first row beyond":         func(p []byte) { SetFirstRow(p, 3) },
		"header too short":         func(p []byte) { le.PutUint16(p[offHeaderSize:], 88) },
		"another abi":              func(p []byte) { le.PutUint16(p[offABI:], 2) },
		"size beyond capacity":     func(p []byte) { SetCapacity(p, len(p)-8) },
		"transactions overlap":     func(p []byte) { le.PutUint32(p[txDir+TxStride+txFirstRow:], 1) },
		"rows without transaction": func(p []byte) { le.PutUint32(p[txDir+txRows:], 1) },
	} {
		p := bytes.Clone(seed)
		change(p)
		if _, err := Open(p, fuzzSchemas, nil); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(seed, fuzzSchemas, nil); err != nil {
		t.Errorf("the seed itself: %v", err)
	}
}
