package format_test

import (
	"testing"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestKeyChanged(t *testing.T) {
	const null, absent = formattest.Null, formattest.Absent
	keyed := &sdk.Schema{ID: 1, DB: "d", Table: "t", Key: []int{2, 0}, Columns: []sdk.Column{
		{Name: "n", Type: sdk.TypeInt, Nullable: true}, {Name: "other", Type: sdk.TypeInt}, {Name: "s", Type: sdk.TypeString}}}
	keyless := *keyed
	keyless.Key = nil
	for _, c := range []struct {
		name          string
		s             *sdk.Schema
		before, after []string
		want          bool
	}{
		{"nothing", keyed, []string{"1", "2", "a"}, []string{"1", "2", "a"}, false},
		{"another column", keyed, []string{"1", "2", "a"}, []string{"1", "3", "a"}, false},
		{"a number", keyed, []string{"1", "2", "a"}, []string{"4", "2", "a"}, true},
		{"a text", keyed, []string{"1", "2", "a"}, []string{"1", "2", "A"}, true},
		{"to NULL", keyed, []string{"1", "2", "a"}, []string{null, "2", "a"}, true},
		{"NULL to NULL", keyed, []string{null, "2", "a"}, []string{null, "2", "a"}, false},
		{"not told after", keyed, []string{"1", absent, "a"}, []string{absent, "3", absent}, false},
		{"told after", keyed, []string{"1", absent, "a"}, []string{absent, absent, "b"}, true},
		{"not told before", keyed, []string{absent, absent, absent}, []string{null, "1", "b"}, false},
		{"no key", &keyless, []string{"1", "2", "a"}, []string{"4", "2", "a"}, false},
		{"an insert", keyed, nil, []string{"4", "2", "a"}, false},
	} {
		b := formattest.Batch(t, c.s, formattest.Transaction("u:1"), true, formattest.Row{Op: sdk.OpUpdate, Before: c.before, After: c.after})
		if got := format.KeyChanged(b.Row(0)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestGTID(t *testing.T) {
	s := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "n", Type: sdk.TypeInt}}}
	for id, want := range map[string]string{formattest.WithGTID: formattest.WithGTID, "0-1-7": "0-1-7", formattest.WithoutGTID: "",
		"binlog.000003:15345": "binlog.000003:15345", "binlog.000003:153": "binlog.000003:153", "binlog.000003": "binlog.000003"} {
		b := formattest.Batch(t, s, formattest.Transaction(id), true, formattest.Row{Op: sdk.OpInsert, After: []string{"1"}})
		if got := string(format.GTID(b.Row(0).Tx())); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}
