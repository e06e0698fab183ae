package sdktest

import (
	"testing"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

// Bench measures the connector of the package under test in the host: one call
// per batch of 256 rows for each configuration, named by its key. It reports
// time and fuel per row. What it keeps is in memory, and forgotten behind each batch.
func Bench(b *testing.B, configs map[string]string, s *sdk.Schema, fill func(b *sdk.Builder, row int)) {
	m := Module(b, ".")
	const rows = 256
	builder := &sdk.Builder{}
	builder.Reset()
	builder.BeginTx(sdk.TxInfo{ID: []byte("bench:1"), File: []byte("bench")})
	for n := range rows {
		builder.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(n))
		fill(builder, n)
		builder.EndRow()
	}
	builder.EndTx(1, 0)
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	in := builder.Seal(schemas)
	for name, with := range configs {
		b.Run(name, func(b *testing.B) {
			i, err := m.Instantiate(b.Context(), wasm.InstanceConfig{Config: []byte(with), Capabilities: m.Manifest().Capabilities, KV: kept{}})
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
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			b.ReportMetric(float64(res.Fuel)/rows, "fuel/row")
		})
	}
}
