package cdctest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/types.md anew")

// TestTypesPage holds the page of types to the matrix: go generate ./cdc/cdctest
// writes it.
func TestTypesPage(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "types.md")
	want := TypesPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/reference/types.md is not what the matrix says (%v): run go generate ./cdc/cdctest", err)
	}
}

// TestProbesAreWhole: a line without a value, or the same line twice, tests
// nothing.
func TestProbesAreWhole(t *testing.T) {
	for _, flavor := range []string{MySQL, MariaDB} {
		seen := map[string]bool{}
		for _, p := range Probes(flavor) {
			if len(p.Values) == 0 || p.Kind == "" || !p.Type.Valid() || pageNotes(p.Kind) == "" {
				t.Errorf("%+v", p)
			}
			if seen[p.Column] {
				t.Errorf("%s is there twice", p.Column)
			}
			seen[p.Column] = true
			for _, v := range p.Values {
				if v.Text == NullText && !strings.HasPrefix(p.Column, "VARCHAR") && !strings.HasPrefix(p.Column, "ENUM") {
					t.Errorf("%s: %s", p.Column, v.SQL)
				}
			}
		}
		if len(seen) < 140 {
			t.Errorf("%s: only %d types", flavor, len(seen))
		}
	}
}
