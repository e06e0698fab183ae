package wasm

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

// What one large row took is not kept for ever; what a full batch takes is.
func TestResultShrinks(t *testing.T) {
	schema := &sdk.Schema{ID: 1, DB: "shop", Table: "orders", Columns: []sdk.Column{{Name: "note", Type: sdk.TypeString}}}
	fill := func(b *sdk.Builder, bytes int) *sdk.Batch {
		b.KeepInline()
		b.Reset()
		b.BeginTx(sdk.TxInfo{ID: []byte("a")})
		b.BeginRow(schema, sdk.OpInsert, sdk.RowAfter, 0)
		b.SetBytes(b.After(), 0, make([]byte, bytes))
		b.EndRow()
		b.EndTx(1, 0)
		return b.Seal([]*sdk.Schema{nil, schema})
	}
	for _, bytes := range []int{64 << 10, 8 << 20} {
		var r Result
		r.work.CopyFrom(fill(&r.given, bytes))
		fill(&r.merged, bytes)
		r.output = make([]byte, bytes)
		r.reset()
		for what, kept := range map[string]int{"given": r.given.Cap(), "merged": r.merged.Cap(), "work": cap(r.work.Bytes()), "output": cap(r.output)} {
			if large := bytes > resultKeptMax; large && kept > resultKeptMax || !large && kept < bytes {
				t.Errorf("after %d bytes, %s keeps %d", bytes, what, kept)
			}
		}
	}
}
