package main

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

// BenchmarkHost numbers rows, each of which reads and writes the host's kv once:
// of one key, and of as many keys as rows.
func BenchmarkHost(b *testing.B) {
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "orders", Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "customer", Type: sdk.TypeInt}, {Name: "note", Type: sdk.TypeString}}}
	sdktest.Bench(b, map[string]string{"many keys": `{}`, "one key": `{"by":["customer"]}`}, s, func(b *sdk.Builder, row int) {
		b.After().SetSlot(0, uint64(row))
		b.After().SetSlot(1, 7)
		b.SetBytes(b.After(), 2, []byte("a note of middling length"))
	})
}
