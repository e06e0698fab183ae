package state

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// putBack puts files of an earlier moment into a directory, which a disk does that
// has not kept what it said it had.
func putBack(t *testing.T, image, dir, pattern string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(image, pattern))
	if err != nil || len(old) == 0 {
		t.Fatal(old, err)
	}
	for _, path := range old {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A store whose log has lost synced writes opens, is marked, and says so once;
// whatever is done to the record of how far it had come, nothing else does that.
func TestLostWritesAreNoticed(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, filepath.Join(dir, "now"), Options{})
	p := pipelineT(t, s, "shop")
	commit := func(n uint64) {
		t.Helper()
		if err := p.Commit(Checkpoint{Position: "p", Number: n}); err != nil {
			t.Fatal(err)
		}
	}
	image := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.CopyFS(path, os.DirFS(filepath.Join(dir, "now"))); err != nil {
			t.Fatal(err)
		}
		return path
	}
	commit(1)
	early := image("early")
	commit(2)
	for i, c := range []struct {
		name string
		harm func(at string)
		lost bool
	}{
		{"a crash", func(string) {}, false},
		{"the log is an earlier one", func(at string) { putBack(t, early, at, "*.log") }, true},
		{"the record is an earlier one: a power cut", func(at string) { putBack(t, early, at, reachedName) }, false},
		{"both are", func(at string) { putBack(t, early, at, "*.log"); putBack(t, early, at, reachedName) }, false},
		{"the record is gone", func(at string) { _ = os.Remove(filepath.Join(at, reachedName)) }, false},
		{"the record is damaged", func(at string) {
			if err := os.WriteFile(filepath.Join(at, reachedName), []byte("99999999999999999999 00000000\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		at := image(fmt.Sprint("case", i))
		c.harm(at)
		for _, again := range []bool{false, true} {
			var log bytes.Buffer
			r, err := Open(at, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got, _, err := pipelineT(t, r, "shop").Load()
			said := strings.Contains(log.String(), "lost its last writes")
			if err != nil || got.Restored != c.lost || said != (c.lost && !again) {
				t.Errorf("%s, opened again %t: %+v, %v\n%s", c.name, again, got, err, log.String())
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A copy is brought into a directory that Quarantine has left, and what was there
// is moved away; a store that a pipeline has run with stays.
func TestRoomForACopy(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	furnish(t, s)
	var export bytes.Buffer
	if err := errors.Join(s.Export(&export), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Import(bytes.NewReader(export.Bytes()), dir); !fault.HasCode(err, CodeDirOccupied) || !strings.Contains(fault.Of(err).Hint, "cdcd checkpoint quarantine") {
		t.Fatal("over a store:", err)
	}
	q, err := Quarantine(dir, []string{"shop"}, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil || q.DeadLetters != 40 {
		t.Fatalf("%+v %v", q, err)
	}
	if _, names, err := Import(bytes.NewReader(export.Bytes()), dir); err != nil || len(names) != 1 {
		t.Fatal("into what quarantine left:", names, err)
	}
	moved, err := filepath.Glob(filepath.Join(dir, "before-restore-*", "*.log"))
	if err != nil || len(moved) == 0 {
		t.Error("the store that quarantine left is gone:", err)
	}
	r := openT(t, dir, Options{})
	defer r.Close()
	p := pipelineT(t, r, "shop")
	if c, ok, err := p.Load(); err != nil || !ok || !c.Restored || c.Number != 39 || p.DeadLetters() != 40 {
		t.Errorf("%+v, %d dead letters, %v", c, p.DeadLetters(), err)
	}
}
