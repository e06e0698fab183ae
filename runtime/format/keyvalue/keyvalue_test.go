package keyvalue_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/canal"
	"github.com/cdcd-io/cdcd/runtime/format/debezium"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/format/keyvalue"
	"github.com/cdcd-io/cdcd/runtime/format/maxwell"
	"github.com/cdcd-io/cdcd/sdk"
)

const prefix = "$KV.SHOP."

func table(key ...int) *sdk.Schema {
	return &sdk.Schema{ID: 1, DB: "shop", Table: "order.items", Key: key, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt, Native: "int"}, {Name: "part", Type: sdk.TypeBytes, Native: "varbinary(9)"},
		{Name: "note", Type: sdk.TypeString, Native: "varchar(9)", Nullable: true}}}
}

func row(t testing.TB, s *sdk.Schema, r formattest.Row) sdk.Row {
	return formattest.Batch(t, s, formattest.Transaction(formattest.WithGTID), true, r).Row(0)
}

// said is what the format makes of a row, "subject body" for each part.
func said(f *keyvalue.Format, r sdk.Row) (all []string) {
	for i := range f.Parts(r) {
		all = append(all, strings.TrimSpace(string(f.AppendPartSubject(nil, r, i))+" "+string(f.AppendPart(nil, r, formattest.Context(), i))))
	}
	return all
}

func TestParts(t *testing.T) {
	const at = prefix + "shop.order=2Eitems."
	x, y, z := []string{"7", "612e", formattest.Null}, []string{"7", "612e", "n"}, []string{"8", "612e", "n"}
	for name, tt := range map[string]struct {
		row  formattest.Row
		want []string
	}{
		"insert":      {formattest.Row{Op: sdk.OpInsert, After: x}, []string{at + `7.a=2E {"id":7,"part":"YS4=","note":null}`}},
		"read":        {formattest.Row{Op: sdk.OpRead, After: y}, []string{at + `7.a=2E {"id":7,"part":"YS4=","note":"n"}`}},
		"update":      {formattest.Row{Op: sdk.OpUpdate, Before: x, After: y}, []string{at + `7.a=2E {"id":7,"part":"YS4=","note":"n"}`}},
		"another key": {formattest.Row{Op: sdk.OpUpdate, Before: y, After: z}, []string{at + "7.a=2E", at + `8.a=2E {"id":8,"part":"YS4=","note":"n"}`}},
		"delete":      {formattest.Row{Op: sdk.OpDelete, Before: y}, []string{at + "7.a=2E"}},
		"truncate":    {formattest.Row{Op: sdk.OpTruncate}, []string{at + `> {"op":"t","db":"shop","table":"order.items"}`}},
	} {
		f, r := keyvalue.New(json.New(), prefix), row(t, table(0, 1), tt.row)
		if err := f.Refuse(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, said(f, r)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// The value is the row as the format has it inside its body.
func TestFormats(t *testing.T) {
	r := row(t, table(0), formattest.Row{Op: sdk.OpUpdate, Before: []string{"7", "61", "m"}, After: []string{"7", "61", formattest.Null}})
	for _, kind := range []format.Kind{json.Kind(), debezium.Kind(), maxwell.Kind(), canal.Kind()} {
		f, ok := kind.New(nil).(format.Imager)
		if !ok {
			t.Fatalf("%s has no form for a row alone", kind.Name)
		}
		value := keyvalue.New(f, prefix).AppendRow(nil, r, formattest.Context())
		body := kind.New(nil).AppendRow(nil, r, formattest.Context())
		if len(value) < 10 || value[0] != '{' || !strings.Contains(string(body), string(value)) {
			t.Errorf("%s: the value %s is not in the body %s", kind.Name, value, body)
		}
	}
}

func TestRefused(t *testing.T) {
	whole := []string{"7", "61", "n"}
	for name, tt := range map[string]struct {
		schema *sdk.Schema
		row    formattest.Row
		want   string
	}{
		"no key":          {table(), formattest.Row{Op: sdk.OpInsert, After: whole}, keyvalue.CodeNoKey},
		"not whole":       {table(0), formattest.Row{Op: sdk.OpUpdate, Before: whole, After: []string{"7", formattest.Absent, "n"}}, keyvalue.CodeRowImage},
		"no key before":   {table(0), formattest.Row{Op: sdk.OpDelete, Before: []string{formattest.Absent, "61", "n"}}, keyvalue.CodeRowImage},
		"only key before": {table(0), formattest.Row{Op: sdk.OpDelete, Before: []string{"7", formattest.Absent, formattest.Absent}}, ""},
		"NULL":            {table(2), formattest.Row{Op: sdk.OpInsert, After: []string{"7", "61", formattest.Null}}, keyvalue.CodeNoKey},
		"long":            {table(1), formattest.Row{Op: sdk.OpInsert, After: []string{"7", strings.Repeat("2e", 1000), "n"}}, keyvalue.CodeKeyTooLong},
		"long enough":     {table(1), formattest.Row{Op: sdk.OpInsert, After: []string{"7", strings.Repeat("2e", 990), "n"}}, ""},
		"truncation":      {table(), formattest.Row{Op: sdk.OpTruncate}, ""},
	} {
		err := keyvalue.New(json.New(), prefix).Refuse(row(t, tt.schema, tt.row))
		if tt.want == "" && err != nil || tt.want != "" && (!fault.HasCode(err, tt.want) || fault.Of(err).Hint == "") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	s := table(0)
	routed := formattest.Batch(t, s, formattest.Transaction(formattest.WithGTID), true, formattest.Row{Op: sdk.OpInsert, After: whole})
	var b sdk.Builder
	b.Reset()
	b.CopyTx(routed.Tx(0))
	b.CopyRowTo(routed.Row(0), []byte("a.b"), nil, nil)
	if err := keyvalue.New(json.New(), prefix).Refuse(b.Seal(routed.Schemas()).Row(0)); !fault.HasCode(err, keyvalue.CodeRouted) {
		t.Errorf("a routed row: %v", err)
	}
}

// Nothing is allocated for a row.
func TestAllocations(t *testing.T) {
	f := keyvalue.New(json.New(), prefix)
	r := row(t, table(0, 1), formattest.Row{Op: sdk.OpUpdate, Before: []string{"7", "61", "n"}, After: []string{"8", "61", "n"}})
	var body, subject []byte
	if n := testing.AllocsPerRun(100, func() {
		if err := f.Refuse(r); err != nil {
			t.Fatal(err)
		}
		for i := range f.Parts(r) {
			body = f.AppendPart(body[:0], r, formattest.Context(), i)
			subject = f.AppendPartSubject(subject[:0], r, i)
		}
	}); n > 0 {
		t.Errorf("%v allocations a row", n)
	}
}
