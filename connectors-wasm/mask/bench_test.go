package main

import (
	"fmt"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

// BenchmarkHost masks one of eight columns. "none" is what a connector costs
// that has nothing to do.
func BenchmarkHost(b *testing.B) {
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "users", Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "name", Type: sdk.TypeString}, {Name: "email", Type: sdk.TypeString},
		{Name: "amount", Type: sdk.TypeFloat64}, {Name: "created", Type: sdk.TypeTimestamp}, {Name: "status", Type: sdk.TypeEnum},
		{Name: "flags", Type: sdk.TypeUint}, {Name: "note", Type: sdk.TypeString, Nullable: true}}}
	sdktest.Bench(b, map[string]string{
		"none":        `{"columns":["nothing"]}`,
		"redact":      `{"columns":["email"],"how":"redact"}`,
		"keep_last_4": `{"columns":["email"],"how":"keep_last_4"}`,
		"sha256":      `{"columns":["email"]}`,
	}, s, func(b *sdk.Builder, row int) {
		b.After().SetSlot(0, uint64(row))
		b.SetBytes(b.After(), 1, []byte("Ada Lovelace"))
		b.SetBytes(b.After(), 2, fmt.Appendf(nil, "ada.%d@example.org", row))
		b.SetBytes(b.After(), 5, []byte("active"))
		b.After().SetNull(7)
	})
}
