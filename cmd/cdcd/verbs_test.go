package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var (
	verbForm   = regexp.MustCompile("(?m)`(?:bin/)?cdcd ([a-z]+)( (?:list|inspect|new|build|test|show|purge|verify|export|restore|quarantine|set|rewind|start|status|pause|resume|cancel)\\b)?")
	fenceForm  = regexp.MustCompile("(?ms)^```[a-z]*$.*?^```$")
	promptForm = regexp.MustCompile(`(?m)^(?:\$ )?(?:bin/)?cdcd `)
)

// commands returns what a file tells to run: in backticks, and in a page's
// blocks of code.
func commands(text string) [][]string {
	text = fenceForm.ReplaceAllStringFunc(text, func(block string) string { return promptForm.ReplaceAllString(block, "`cdcd ") })
	return verbForm.FindAllStringSubmatch(text, -1)
}

// A hint or a page that tells to run a verb which there is not helps nobody.
func TestEveryVerbThatIsNamedIsThere(t *testing.T) {
	var c cli
	var verbs []string
	for _, n := range kong.Must(&c).Model.Children {
		verbs = append(verbs, n.Name)
		for _, sub := range n.Children {
			verbs = append(verbs, n.Name+" "+sub.Name)
		}
	}
	named := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (len(d.Name()) > 2 && d.Name()[0] == '.' || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md" && (filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go")):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range commands(string(text)) {
			named++
			if !slices.Contains(verbs, m[1]) || (m[1] == "connector" || m[1] == "dlq" || m[1] == "checkpoint" || m[1] == "snapshot" || m[1] == "position") && m[2] != "" && !slices.Contains(verbs, m[1]+m[2]) {
				t.Errorf("%s: there is no `cdcd %s%s`", path, m[1], m[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if named < 20 {
		t.Errorf("found only %d: the search is broken", named)
	}
}
