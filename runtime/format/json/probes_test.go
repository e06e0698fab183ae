package json

import (
	"encoding/json"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestProbes renders every value of the matrix of types, whose texts the
// servers themselves confirm elsewhere.
func TestProbes(t *testing.T) {
	values := 0
	for _, p := range cdctest.Probes("") {
		s := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "v", Type: p.Type, Scale: p.Scale(), Nullable: true}}}
		for i := range p.Values {
			v := &p.Values[i]
			var b sdk.Builder
			begin(&b, "1-1-1")
			b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 0)
			if err := cdctest.SetText(&b, b.After(), 0, &s.Columns[0], v.Text); err != nil {
				t.Errorf("%s %q: %v", p.Column, v.Text, err)
				continue
			}
			b.EndRow()
			b.EndTx(2, 0)
			m := seal(&b, s).Row(0).After()
			if got := cdctest.ServerText(&s.Columns[0], m, 0); got != v.Text {
				t.Errorf("%s: the text %.200q was read back as %.200q", p.Column, v.Text, got)
			}
			got, want := string(appendValue(nil, m, 0, &s.Columns[0])), p.JSON(v)
			if got != want {
				t.Errorf("%s %.100s: %.200s, want %.200s", p.Column, v.SQL, got, want)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("%s %.100s: %.200s is no JSON", p.Column, v.SQL, got)
			}
			values++
		}
	}
	if values < 500 {
		t.Errorf("only %d values", values)
	}
}

// TestKeyFromBefore: with binlog_row_image=MINIMAL an update's image after the
// change has the columns that the statement names; a key that it does not is that
// of the image before.
func TestKeyFromBefore(t *testing.T) {
	s := &sdk.Schema{ID: 1, DB: "d", Table: "t", Key: []int{0, 1}, Columns: []sdk.Column{
		{Name: "a", Type: sdk.TypeInt}, {Name: "b", Type: sdk.TypeInt}, {Name: "c", Type: sdk.TypeInt}}}
	var b sdk.Builder
	begin(&b, "1-1-1")
	row := func(op sdk.Op, before, after map[int]uint64) {
		parts := sdk.RowFlags(0)
		if before != nil {
			parts |= sdk.RowBefore
		}
		if after != nil {
			parts |= sdk.RowAfter
		}
		b.BeginRow(s, op, parts, 0)
		for c, v := range before {
			b.Before().SetSlot(c, v)
		}
		for c, v := range after {
			b.After().SetSlot(c, v)
		}
		b.EndRow()
	}
	row(sdk.OpUpdate, map[int]uint64{0: 1, 1: 2}, map[int]uint64{2: 9})
	row(sdk.OpUpdate, map[int]uint64{0: 1, 1: 2}, map[int]uint64{1: 3})
	row(sdk.OpUpdate, map[int]uint64{0: 1}, map[int]uint64{2: 9})
	row(sdk.OpDelete, map[int]uint64{0: 1, 1: 2}, nil)
	b.EndTx(2, 0)
	batch := seal(&b, s)
	for i, want := range []string{`{"a":1,"b":2}`, `{"a":1,"b":3}`, ``, `{"a":1,"b":2}`} {
		if got := string(New().AppendKey(nil, batch.Row(i))); got != want {
			t.Errorf("row %d: key %s, want %s", i, got, want)
		}
	}
}
