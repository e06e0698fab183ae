package tidy

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	linkForm  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenceForm = regexp.MustCompile("(?ms)^```.*?^```$")
)

// deadLinks returns the links of a page that lead nowhere in the tree.
func deadLinks(fsys fs.FS, page, text string) (dead []string, seen int) {
	for _, m := range linkForm.FindAllStringSubmatch(fenceForm.ReplaceAllString(text, ""), -1) {
		to, _, _ := strings.Cut(m[1], "#")
		if to == "" || strings.Contains(to, "://") {
			continue
		}
		seen++
		if _, err := fs.Stat(fsys, path.Join(path.Dir(page), to)); err != nil {
			dead = append(dead, m[1])
		}
	}
	return dead, seen
}

// Links between pages lead somewhere, and every design record is in the list of
// them.
func TestLinks(t *testing.T) {
	fsys := os.DirFS("../..")
	links := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		dead, seen := deadLinks(fsys, name, string(text))
		links += seen
		for _, to := range dead {
			t.Errorf("%s: %s leads nowhere", name, to)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 30 {
		t.Errorf("only %d links: the search is broken", links)
	}
	const index = "docs/design/README.md"
	list, err := fs.ReadFile(fsys, index)
	if err != nil {
		t.Fatal(err)
	}
	records, err := fs.Glob(fsys, "docs/design/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r != index && !strings.Contains(string(list), "("+path.Base(r)+")") {
			t.Errorf("%s is not in %s", r, index)
		}
	}
	if dead, _ := deadLinks(fsys, "README.md", "[a](docs/nowhere.md) [b](https://x.y/z) [c](README.md#top)"); len(dead) != 1 {
		t.Errorf("of a dead link and two good ones, %v are dead", dead)
	}
}
