package main

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

// BenchmarkHost filters on one, two and three columns; half of the rows stay.
func BenchmarkHost(b *testing.B) {
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "orders", Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "status", Type: sdk.TypeEnum}, {Name: "amount", Type: sdk.TypeDecimal}}}
	sdktest.Bench(b, map[string]string{
		"true":  `{"where":"true"}`,
		"one":   `{"where":"id < 128"}`,
		"two":   `{"where":"id < 128 AND status = 'paid'"}`,
		"three": `{"where":"id < 128 AND status IN ('sent', 'paid') AND amount >= 10.50"}`,
	}, s, func(b *sdk.Builder, row int) {
		b.After().SetSlot(0, uint64(row))
		b.SetBytes(b.After(), 1, []byte("paid"))
		b.SetBytes(b.After(), 2, []byte("1234.50"))
	})
}
