package sdk

import (
	"strings"
	"testing"
)

// A destination survives that its texts make the builder's buffer grow.
func TestDestSurvivesGrowth(t *testing.T) {
	s := &Schema{ID: 1, DB: "d", Table: "t", Columns: []Column{{Name: "id", Type: TypeInt}}}
	for size := range 600 {
		var b Builder
		b.Reset()
		b.BeginTx(TxInfo{ID: []byte("a:1"), File: []byte(strings.Repeat("f", size))})
		b.BeginRow(s, OpInsert, RowAfter|RowDest, 0)
		b.SetDest([]byte("orders.eu"), []byte("key"), []byte("A: b\n"))
		b.After().SetSlot(0, 7)
		b.EndRow()
		b.EndTx(1, 0)
		subject, key, headers := b.Seal([]*Schema{nil, s}).Row(0).Dest()
		if string(subject) != "orders.eu" || string(key) != "key" || string(headers) != "A: b\n" {
			t.Fatalf("with a buffer of %d bytes: %q %q %q", size, subject, key, headers)
		}
	}
}
