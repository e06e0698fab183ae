package file_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/file"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

type place struct{ path string }

func (p place) Open(*testing.T) sink.Sink { return file.Open(file.Config{Path: p.path}) }

func (p place) Bodies(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestSuite(t *testing.T) {
	sinktest.Suite(t, &sinktest.Feed{Subject: "s", Control: "c"}, func(t *testing.T) sinktest.Place {
		return place{filepath.Join(t.TempDir(), "changes.jsonl")}
	})
}

func claim(path string, hint sink.Hint) (sink.Anchor, error) {
	s := file.Open(file.Config{Path: path})
	defer s.Close(context.Background())
	return s.Claim(context.Background(), hint, func(context.Context) (sdk.Position, error) { return "p0", nil })
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, token, code string }{
		{dir, "", file.CodeUnwritable},
		{filepath.Join(dir, "no", "f"), "", file.CodeUnwritable},
		{path, "", file.CodeUnknown},
		{path, "6", file.CodeTruncated},
		{path, "x", "bad_token"},
		{path, "-1", "bad_token"},
		{path, "3 nowhere", "bad_token"},
	} {
		_, err := claim(tt.path, sink.Hint{Token: tt.token, Position: "p", Exact: true})
		if f := fault.Of(err); f.Code != tt.code || f.Hint == "" {
			t.Errorf("%s with token %q: %v, want %s", tt.path, tt.token, err, tt.code)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "12345" {
		t.Fatalf("a refused claim changed the file: %q, %v", text, err)
	}
	if a, err := claim(filepath.Join(dir, "new"), sink.Hint{Position: "p", Exact: true}); err != nil || a.Base != "p" {
		t.Fatalf("a claim behind one that confirmed nothing begins at %q: %v", a.Base, err)
	}
	if _, err := claim(path, sink.Hint{Token: "3", Position: "p", Exact: true}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "123" {
		t.Fatalf("file %q, %v; want what was confirmed", text, err)
	}
}

func TestConfig(t *testing.T) {
	cfg := file.Kind().NewConfig().(*file.Config)
	if f := cfg.Validate(); len(f) != 1 || f[0].Path != "path" {
		t.Errorf("no path: %v", f)
	}
	cfg.Path = "x"
	if f := cfg.Validate(); len(f) != 0 || cfg.FormatName() != "json" {
		t.Errorf("%v, format %q", f, cfg.FormatName())
	}
}
