package main

import (
	"fmt"
	"testing"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

// BenchmarkHost masks one of eight columns of 256 rows in the host. "none" is
// what a connector costs that has nothing to do.
func BenchmarkHost(b *testing.B) {
	m := sdktest.Module(b, ".")
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "users", Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "name", Type: sdk.TypeString}, {Name: "email", Type: sdk.TypeString},
		{Name: "amount", Type: sdk.TypeFloat64}, {Name: "created", Type: sdk.TypeTimestamp}, {Name: "status", Type: sdk.TypeEnum},
		{Name: "flags", Type: sdk.TypeUint}, {Name: "note", Type: sdk.TypeString, Nullable: true}}}
	bl := &sdk.Builder{}
	bl.Reset()
	bl.BeginTx(sdk.TxInfo{ID: []byte("tx"), File: []byte("f")})
	for n := range 256 {
		bl.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(n))
		bl.After().SetSlot(0, uint64(n))
		bl.SetBytes(bl.After(), 1, []byte("Ada Lovelace"))
		bl.SetBytes(bl.After(), 2, fmt.Appendf(nil, "ada.%d@example.org", n))
		bl.SetBytes(bl.After(), 5, []byte("active"))
		bl.After().SetNull(7)
		bl.EndRow()
	}
	in := bl.Seal([]*sdk.Schema{nil, s})
	for _, c := range []struct{ name, with string }{
		{"none", `{"columns":["nothing"]}`},
		{"redact", `{"columns":["email"],"how":"redact"}`},
		{"keep_last_4", `{"columns":["email"],"how":"keep_last_4"}`},
		{"sha256", `{"columns":["email"]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			i, err := m.Instantiate(b.Context(), wasm.InstanceConfig{Config: []byte(c.with)})
			if err != nil {
				b.Fatal(err)
			}
			var res wasm.Result
			b.ReportAllocs()
			for b.Loop() {
				if err := i.Transform(b.Context(), in, &res); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/row")
		})
	}
}
