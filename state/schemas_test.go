package state

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

func TestSchemasKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 { // over reopenings too
		s := openT(t, dir, Options{})
		h := pipelineT(t, s, "p").Schemas()
		for i := range 5 {
			n := run*5 + i
			if err := h.Put(sdk.Position(fmt.Sprint(n)), fmt.Append(nil, "record ", n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	p := pipelineT(t, openT(t, dir, Options{}), "p")
	err := p.Schemas().Each(func(behind sdk.Position, record []byte) error {
		if string(behind) != fmt.Sprint(n) || string(record) != fmt.Sprint("record ", n) {
			t.Errorf("record %d: %s %s", n, behind, record)
		}
		n++
		return nil
	})
	if err != nil || n != 15 {
		t.Fatal(n, err)
	}
}

func FuzzDecodeSchema(f *testing.F) {
	f.Add(encodeSchema("pos", []byte("record")))
	f.Fuzz(func(t *testing.T, p []byte) {
		behind, record, err := decodeSchema(p)
		if err != nil {
			return
		}
		b2, r2, err := decodeSchema(encodeSchema(behind, record))
		if err != nil || b2 != behind || !bytes.Equal(r2, record) {
			t.Fatal("does not survive encoding", err)
		}
	})
}
