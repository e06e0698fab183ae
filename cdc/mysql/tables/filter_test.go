package tables

import (
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, db, table string
		want               bool
	}{
		{"shop.orders", "shop", "orders", true},
		{"shop.orders", "shop", "Orders", false},
		{"shop.orders", "shop", "orders2", false},
		{"shop.item_*", "shop", "item_", true},
		{"shop.item_*", "shop", "item_de", true},
		{"shop.item_*", "shop", "items", false},
		{"*.*", "shop", "orders", true},
		{"*.*", "mysql", "user", false},
		{"*.*", "sys", "x", false},
		{"m*.user", "mysql", "user", false},
		{"mysql.*", "mysql", "user", true},
		{"s*p.o*d*s", "shop", "orders", true},
		{"s*p.o*s*r*", "shop", "orders", false},
		{"shop.a*a", "shop", "a", false},
		{"shop.a*a", "shop", "aa", true},
		{"`a.b`.`c*`", "a.b", "c*", true},
		{"`a.b`.`c*`", "a.b", "cd", false},
		{"`a``b`.c", "a`b", "c", true},
	} {
		f, faults := New([]string{c.pattern})
		if faults != nil {
			t.Fatalf("%s: %v", c.pattern, faults)
		}
		if got := f.Match(c.db, c.table); got != c.want {
			t.Errorf("%s matches %s.%s: %v", c.pattern, c.db, c.table, got)
		}
		if c.want && !f.MatchDB(c.db) {
			t.Errorf("%s matches nothing in %s", c.pattern, c.db)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, text := range []string{"", "orders", "a.b.c", ".b", "a.", "`a.b", "`a`b.c", "``.c", "a b.c", "a.b`"} {
		_, faults := New([]string{"x.y", text})
		if len(faults) != 1 || faults[0].Code != "tables_invalid" || faults[0].Path != "tables[1]" || faults[0].Hint == "" {
			t.Errorf("%q: %v", text, faults)
		}
	}
	if _, faults := New(nil); len(faults) != 1 || faults[0].Path != "tables" {
		t.Errorf("no patterns: %v", faults)
	}
	if _, faults := New(make([]string, patternsMax+1)); len(faults) != 1 {
		t.Errorf("too many patterns: %d faults", len(faults))
	}
}

func TestNamed(t *testing.T) {
	f, _ := New([]string{"a.*", "a.b", "`c`.`d*`", "*.e"})
	want := []Named{{Name{"a", "b"}, 1}, {Name{"c", "d*"}, 2}}
	if d := cmp.Diff(want, f.Named()); d != "" {
		t.Fatal(d)
	}
}

// TestMatchAgainstGlob compares asterisks with those of path.Match.
func TestMatchAgainstGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{1,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "name")
		f, _ := New([]string{"x." + pattern})
		want, _ := path.Match(pattern, name)
		if got := f.Match("x", name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
