package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	blockForm = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	saveForm  = regexp.MustCompile("Save this as `([a-z.]+)`:")
)

// The tutorial does what it says: its commands run, one after another, and print
// what it shows.
func TestTutorial(t *testing.T) {
	bin := build(t)
	page, err := os.ReadFile("../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	printed, ran, compared, at := "", 0, 0, 0
	for _, m := range blockForm.FindAllSubmatchIndex(page, -1) {
		prose, kind, text := string(page[at:m[0]]), string(page[m[2]:m[3]]), string(page[m[4]:m[5]])
		at = m[1]
		switch kind {
		case "sh":
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+filepath.Join(os.TempDir(), "cdcd-test-cache"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s%v\n%s", text, err, out)
			}
			printed = string(out)
			ran++
		case "text":
			for line := range strings.Lines(text) {
				compared++
				if !prints(printed, strings.TrimSuffix(line, "\n")) {
					t.Errorf("not printed: %s\nprinted:\n%s", line, printed)
				}
			}
		case "yaml":
			name := saveForm.FindStringSubmatch(prose)
			if name == nil {
				t.Fatalf("a block without the name of its file:\n%s", text)
			}
			if err := os.WriteFile(filepath.Join(dir, name[1]), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("a block of kind %q, which nothing checks", kind)
		}
	}
	if ran < 6 || compared < 10 {
		t.Errorf("%d commands, %d lines compared: the page is not read as it is written", ran, compared)
	}
}

// prints reports whether one of the lines printed is the line shown, in which …
// stands for anything.
func prints(printed, shown string) bool {
	form := strings.ReplaceAll(regexp.QuoteMeta(shown), "…", ".*")
	return regexp.MustCompile(`(?m)^` + form + `$`).MatchString(printed)
}
