package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page of the security model names a test for each attack. They are there.
func TestSecurityModelNamesTests(t *testing.T) {
	page, err := os.ReadFile("design/security-model.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir("../runtime/wasm", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)(?:/([a-z]+))?`")
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[3]) == "test" || !strings.Contains(line, "Test") && !strings.Contains(line, "Fuzz") {
			continue
		}
		rows++
		found := named.FindAllStringSubmatch(cells[3], -1)
		if len(found) == 0 {
			t.Errorf("no test is named for:%s", cells[1])
		}
		for _, f := range found {
			if !strings.Contains(tests.String(), "\nfunc "+f[1]+"(") {
				t.Errorf("there is no %s", f[1])
			}
			if f[2] != "" && !strings.Contains(tests.String(), `"`+f[2]+`/`) {
				t.Errorf("there is no crime %s/...", f[2])
			}
		}
	}
	if rows < 25 {
		t.Errorf("%d rows name tests", rows)
	}
}
