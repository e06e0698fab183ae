package binlog

import (
	"bytes"
	"compress/zlib"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

// deflated is data as MariaDB compresses it.
func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	out.Write([]byte{0x82, byte(len(data) >> 8), byte(len(data))}) // zlib, two bytes of length
	z := zlib.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestCompressedVariants: each type of compressed rows has header and rows of the
// plain one of its version, of which servers write only one.
func TestCompressedVariants(t *testing.T) {
	one, two := []byte{0, 1, 0, 0, 0}, []byte{0, 2, 0, 0, 0} // nulls, a number
	for _, c := range []struct {
		typ     EventType
		op      sdk.Op
		version int
	}{
		{MariaWriteRowsCompressedV1, sdk.OpInsert, 1}, {MariaUpdateRowsCompressedV1, sdk.OpUpdate, 1}, {MariaDeleteRowsCompressedV1, sdk.OpDelete, 1},
		{MariaWriteRowsCompressedEvent, sdk.OpInsert, 2}, {MariaUpdateRowsCompressedEvent, sdk.OpUpdate, 2}, {MariaDeleteRowsCompressedEvent, sdk.OpDelete, 2},
	} {
		t.Run(c.typ.String(), func(t *testing.T) {
			body := []byte{7, 0, 0, 0, 0, 0, 1, 0}
			if c.version == 2 {
				body = append(body, 2, 0)
			}
			body = append(body, 1, 1) // one column, which is there
			rows := one
			if c.op == sdk.OpUpdate {
				body, rows = append(body, 1), append(bytes.Clone(one), two...)
			}
			p := NewParser(Options{Flavor: FlavorMariaDB})
			ev, err := p.Parse(rawEvent(c.typ, append(body, deflated(t, rows)...)))
			if err != nil || !ev.Type.IsRows() {
				t.Fatal(err)
			}
			h, data, err := p.RowsHeader(ev)
			if err != nil || h.Op != c.op || h.TableID != 7 || !h.Compressed || !h.StatementEnd() {
				t.Fatalf("%+v, %v", h, err)
			}
			schema, plan, err := BuildSchema(&TableMap{ID: 7, DB: "d", Table: "t", names: true,
				Columns: []ColumnMap{{Type: ColLong, Name: "id", SignKnown: true}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if data, err = p.Expand(&h, data); err != nil {
				t.Fatal(err)
			}
			r, err := plan.Rows(h, data)
			if err != nil {
				t.Fatal(err)
			}
			var b sdk.Builder
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			if ok, err := r.Next(&b, 0); !ok || err != nil || r.More() {
				t.Fatal(ok, err)
			}
			b.EndTx(1, 1)
			row := b.Seal([]*sdk.Schema{schema}).Row(0)
			before, after := row.Before(), row.After()
			if before.Valid() != (c.op != sdk.OpInsert) || after.Valid() != (c.op != sdk.OpDelete) ||
				before.Valid() && before.Int(0) != 1 || c.op == sdk.OpUpdate && after.Int(0) != 2 || c.op == sdk.OpInsert && after.Int(0) != 1 {
				t.Errorf("row %v", row.Op())
			}
		})
	}
}
