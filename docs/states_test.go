package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page of states names code, way out and test for each. Codes are explained,
// and the tests are where the page says.
func TestStatesNameTests(t *testing.T) {
	page, err := os.ReadFile("guides/states.md")
	if err != nil {
		t.Fatal(err)
	}
	errors, err := os.ReadFile("errors.md")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile("^([a-z/]+) `(Test[A-Za-z]+)`$")
	var codes []string
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "what happened" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		code := strings.Trim(cells[2], "`")
		codes = append(codes, code)
		if !strings.Contains(string(errors), "\n### "+code+"\n") {
			t.Errorf("%s is not explained in errors.md", code)
		}
		if cells[3] == "" || cells[4] == "" {
			t.Errorf("%s: what the pipeline does, and the way out, are missing", code)
		}
		m := form.FindStringSubmatch(cells[5])
		if m == nil {
			t.Errorf("%s: no test is named in %q", code, cells[5])
			continue
		}
		if !defined(t, m[1], m[2]) {
			t.Errorf("%s: there is no %s in %s", code, m[2], m[1])
		}
	}
	for _, want := range []string{"stream_rollback", "stream_gaps", "stream_recreated", "foreign_message", "position_purged", "source_behind",
		"config_changed_mid_transaction", "not_reproducible", "fenced"} {
		if !slices.Contains(codes, want) {
			t.Errorf("%s is not in the page", want)
		}
	}
}

// defined reports whether a package has a test.
func defined(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
