package file_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/file"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

func config(path string) file.Config {
	cfg := *file.Kind().NewConfig().(*file.Config)
	cfg.Path = path
	return cfg
}

func env() sink.Env { return sink.Env{Pipeline: "p", Fingerprint: "f1"} }

// place is a path whose files together are what was delivered.
type place struct{ cfg file.Config }

func (p place) Open(*testing.T) sink.Sink { return file.Open(p.cfg, env()) }

func (p place) Bodies(t *testing.T) []string {
	t.Helper()
	closed, err := filepath.Glob(strings.TrimSuffix(p.cfg.Path, ".jsonl") + "-*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(closed)
	var text []byte
	for _, name := range append(closed, p.cfg.Path) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestSuite(t *testing.T) {
	for name, change := range map[string]func(*file.Config){
		"one file": func(*file.Config) {},
		"rotated":  func(c *file.Config) { c.Rotate.Bytes = 64 << 10 },
		"batched":  func(c *file.Config) { c.Sync.Every = unit.Duration(3 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Suite(t, &sinktest.Feed{Subject: "s", Control: "c"}, func(t *testing.T) sinktest.Place {
				cfg := config(filepath.Join(t.TempDir(), "changes.jsonl"))
				change(&cfg)
				return place{cfg}
			})
		})
	}
}

func initial(context.Context) (sdk.Position, error) { return "p0", nil }

// written is a sink that has confirmed one line, and what a checkpoint says of it.
func written(t *testing.T, cfg file.Config) (*file.Sink, sink.Hint) {
	t.Helper()
	s := file.Open(cfg, env())
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), group(1)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, sink.Hint{Token: got[0].Token, Position: "p2", Exact: true, Messages: 1}
}

func group(n uint64) *sink.Group {
	return &sink.Group{Number: n, Base: "p1", End: "p2", Messages: []sink.Message{
		{Body: []byte("0123456789"), TxLast: true, Place: sink.Place{Tx: "a:1", Parts: 1}}}}
}

func claim(t *testing.T, cfg file.Config, e sink.Env, hint sink.Hint) (sink.Anchor, error) {
	t.Helper()
	s := file.Open(cfg, e)
	defer s.Close(t.Context())
	return s.Claim(t.Context(), hint, initial)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.Of(err); f.Code != code || f.Hint == "" || f.Path == "" {
		t.Errorf("%v (hint %q), want %s", err, f.Hint, code)
	}
}

// What somebody did to the files between two runs.
func TestFaultsAtStart(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, path string, hint *sink.Hint)
		code  string
	}{
		"cut":               {func(t *testing.T, path string, _ *sink.Hint) { must(t, os.Truncate(path, 5)) }, file.CodeTruncated},
		"edited":            {func(t *testing.T, path string, _ *sink.Hint) { write(t, path, "0123x56789\n") }, file.CodeChanged},
		"edited and longer": {func(t *testing.T, path string, _ *sink.Hint) { write(t, path, "new\n0123456789\n") }, file.CodeChanged},
		"removed":           {func(t *testing.T, path string, _ *sink.Hint) { must(t, os.Remove(path)) }, file.CodeRemoved},
		"journal removed":   {func(t *testing.T, path string, _ *sink.Hint) { must(t, os.Remove(path+".journal")) }, file.CodeRemoved},
		"journal without checkpoint removed": {func(t *testing.T, path string, h *sink.Hint) {
			must(t, os.Remove(path+".journal"))
			*h = sink.Hint{}
		}, file.CodeUnknown},
		"journal damaged":       {func(t *testing.T, path string, _ *sink.Hint) { write(t, path+".journal", "rubbish") }, file.CodeJournal},
		"checkpoint of others":  {func(t *testing.T, _ string, h *sink.Hint) { h.Token = "file:1:2:3" }, file.CodeChanged},
		"no checkpoint of ours": {func(t *testing.T, _ string, h *sink.Hint) { h.Token = "1:2:3:4" }, "bad_token"},
		"a folder has the name": {func(t *testing.T, path string, _ *sink.Hint) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		}, file.CodeUnwritable},
		"closed files of others": {func(t *testing.T, path string, h *sink.Hint) {
			must(t, os.Remove(path))
			must(t, os.Remove(path+".journal"))
			write(t, strings.TrimSuffix(path, ".jsonl")+"-00000001-00000000000000000001.jsonl", "x\n")
			*h = sink.Hint{}
		}, file.CodeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(filepath.Join(t.TempDir(), "changes.jsonl"))
			s, hint := written(t, cfg)
			must(t, s.Close(t.Context()))
			tt.spoil(t, cfg.Path, &hint)
			before, _ := os.ReadFile(cfg.Path)
			_, err := claim(t, cfg, env(), hint)
			wantCode(t, err, tt.code)
			if after, _ := os.ReadFile(cfg.Path); string(after) != string(before) {
				t.Errorf("a refused claim changed the file: %q", after)
			}
		})
	}
}

func TestFaultsOfOthers(t *testing.T) {
	dir := t.TempDir()
	cfg := config(filepath.Join(dir, "changes.jsonl"))
	_, hint := written(t, cfg)
	_, err := claim(t, cfg, env(), hint)
	wantCode(t, err, file.CodeLocked)

	cfg = config(filepath.Join(dir, "other.jsonl"))
	s, hint := written(t, cfg)
	must(t, s.Close(t.Context()))
	other := env()
	other.Pipeline = "q"
	_, err = claim(t, cfg, other, hint)
	wantCode(t, err, file.CodeUnknown)

	_, err = claim(t, config(filepath.Join(dir, "none", "changes.jsonl")), env(), sink.Hint{})
	wantCode(t, err, file.CodeFolder)
	write(t, filepath.Join(dir, "found.jsonl"), "somebody's\n")
	_, err = claim(t, config(filepath.Join(dir, "found.jsonl")), env(), sink.Hint{})
	wantCode(t, err, file.CodeUnknown)
}

// What somebody does to the files while the sink writes: noticed before
// anything more is confirmed.
func TestFaultsWhileRunning(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, path string)
		code  string
	}{
		"removed":         {func(t *testing.T, path string) { must(t, os.Remove(path)) }, file.CodeRemoved},
		"moved":           {func(t *testing.T, path string) { must(t, os.Rename(path, path+".1")) }, file.CodeRemoved},
		"replaced":        {func(t *testing.T, path string) { must(t, os.Rename(path, path+".1")); write(t, path, "0123456789\n") }, file.CodeChanged},
		"cut":             {func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, file.CodeTruncated},
		"appended":        {func(t *testing.T, path string) { appendTo(t, path, "more\n") }, file.CodeChanged},
		"journal removed": {func(t *testing.T, path string) { must(t, os.Remove(path+".journal")) }, file.CodeRemoved},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(filepath.Join(t.TempDir(), "changes.jsonl"))
			s, _ := written(t, cfg)
			tt.spoil(t, cfg.Path)
			must(t, s.Publish(t.Context(), group(2)))
			got, err := s.Wait(t.Context())
			wantCode(t, err, tt.code)
			if len(got) > 0 {
				t.Error("a group was confirmed")
			}
			if err := s.Publish(t.Context(), group(3)); err == nil {
				t.Error("the sink goes on without a claim")
			}
		})
	}
}

// As root nothing is denied, so the test says so and skips.
func TestPermissionDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root: TestDenied has the errors")
		return
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o500))
	_, err := claim(t, config(filepath.Join(dir, "changes.jsonl")), env(), sink.Hint{})
	wantCode(t, err, file.CodeUnwritable)
}

// The files say where to resume, whatever a checkpoint says.
func TestAnchor(t *testing.T) {
	cfg := config(filepath.Join(t.TempDir(), "changes.jsonl"))
	s, hint := written(t, cfg)
	must(t, s.Close(t.Context()))
	a, err := claim(t, cfg, env(), sink.Hint{}) // of an empty state.dir
	if err != nil || a.Base != "p1" || a.At.String() != "a:1#0.0/1#0" || !a.Complete || !a.Found || a.Messages != 1 || a.Fingerprint != "f1" || a.Writer == 0 || a.Epoch <= a.Writer {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = claim(t, cfg, env(), hint); err != nil || a.Base != "p1" || a.Lost != 0 { // it names a group of an earlier claim's
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = claim(t, cfg, env(), sink.Hint{Token: hint.Token, Position: "p9", Messages: 3}); err != nil || a.Lost != 2 || a.Messages != 1 {
		t.Errorf("%+v, %v", a, err)
	}

	cfg = config(filepath.Join(t.TempDir(), "changes.jsonl"))
	s, hint = written(t, cfg)
	must(t, s.Close(t.Context()))
	appendTo(t, cfg.Path, "torn")
	if a, err = claim(t, cfg, env(), hint); err != nil || a.Base != "p2" || a.At.Tx != "" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = claim(t, cfg, env(), sink.Hint{}); err != nil || a.Base != "p2" || a.At.Tx != "" { // the claim before is on record
		t.Errorf("%+v, %v", a, err)
	}
	if text, err := os.ReadFile(cfg.Path); err != nil || string(text) != "0123456789\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*file.Config)
		path   string
	}{
		"fine":           {func(*file.Config) {}, ""},
		"all":            {func(c *file.Config) { c.Rotate.Bytes, c.Keep.Files, c.Compress = 1<<20, 3, "zstd" }, ""},
		"no path":        {func(c *file.Config) { c.Path = "" }, "path"},
		"small files":    {func(c *file.Config) { c.Rotate.Bytes = 10 }, "rotate.bytes"},
		"short age":      {func(c *file.Config) { c.Rotate.Age = 1 }, "rotate.age"},
		"packer":         {func(c *file.Config) { c.Rotate.Bytes, c.Compress = 1<<20, "rar" }, "compress"},
		"nothing closed": {func(c *file.Config) { c.Compress = "gzip" }, "rotate"},
		"nothing to go":  {func(c *file.Config) { c.Keep.Files = 1 }, "rotate"},
		"negative":       {func(c *file.Config) { c.Rotate.Bytes, c.Keep.Files = 1<<20, -1 }, "keep"},
		"soon gone":      {func(c *file.Config) { c.Rotate.Bytes, c.Keep.Age = 1<<20, 1 }, "keep.age"},
		"rare syncs":     {func(c *file.Config) { c.Sync.Every = unit.Duration(time.Minute) }, "sync.every"},
		"small syncs":    {func(c *file.Config) { c.Sync.Bytes = 1 }, "sync.bytes"},
	} {
		cfg := config("x")
		tt.change(&cfg)
		faults := cfg.Validate()
		if tt.path == "" && len(faults) > 0 || tt.path != "" && (len(faults) != 1 || faults[0].Path != tt.path || faults[0].Hint == "") {
			t.Errorf("%s: %v, want one at %q", name, faults, tt.path)
		}
	}
	if cfg := config("x"); cfg.FormatName() != "json" {
		t.Error(cfg.FormatName())
	}
}

// A tombstone has no line, but it is a step forward.
func TestTombstones(t *testing.T) {
	cfg := config(filepath.Join(t.TempDir(), "f"))
	s := file.Open(cfg, env())
	defer s.Close(t.Context())
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial); err != nil {
		t.Fatal(err)
	}
	must(t, s.Publish(t.Context(), &sink.Group{Base: "p1", Messages: []sink.Message{{Body: []byte("x"), Place: sink.Place{Tx: "a:1", Parts: 2}}, {Place: sink.Place{Tx: "a:1", Part: 1, Parts: 2, N: 1}}}}))
	if _, err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, s.Close(t.Context()))
	a, err := claim(t, cfg, env(), sink.Hint{})
	if err != nil || a.At.String() != "a:1#0.1/2#1" || a.Complete || a.Messages != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	if text, err := os.ReadFile(cfg.Path); err != nil || string(text) != "x\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}
