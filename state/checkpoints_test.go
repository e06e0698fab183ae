package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// tree returns all files of a directory with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCheckpointsAreReadOnly: who only looks changes nothing, and leaves the
// directory to whoever opens it next.
func TestCheckpointsAreReadOnly(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	want := map[string]Checkpoint{}
	for _, name := range []string{"shop", "stock"} {
		c := Checkpoint{Position: "uuid:1-9", LogPos: "binlog.1:99", CommitTime: 5, Time: time.Unix(1, 0).UTC()}
		c.LogPos += name
		if err := pipelineT(t, s, name).Commit(c); err != nil {
			t.Fatal(err)
		}
		want[name] = c
	}
	pipelineT(t, s, "new")

	before := tree(t, dir)
	if _, err := Checkpoints(dir, []string{"shop"}); !fault.HasCode(err, CodeDirInUse) {
		t.Errorf("while another has the directory: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("a refused look changed files:\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	before = tree(t, dir)
	for range 2 {
		got, err := Checkpoints(dir, []string{"shop", "new", "unknown", "stock"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Fatalf("files changed:\n%s", diff)
		}
	}
	if _, ok, err := pipelineT(t, openT(t, dir, Options{}), "shop").Load(); !ok || err != nil {
		t.Fatal("the directory is of no use any more", ok, err)
	}
}

// TestCheckpointsOfADaemonThatWasKilled: what was committed is in Pebble's log
// alone.
func TestCheckpointsOfADaemonThatWasKilled(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	s := openT(t, dir, Options{})
	if err := pipelineT(t, s, "shop").Commit(Checkpoint{Position: "uuid:1-9", CommitTime: 7}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, killed)
	got, err := Checkpoints(killed, []string{"shop"})
	if err != nil || got["shop"].CommitTime != 7 {
		t.Fatal(got, err)
	}
	if diff := cmp.Diff(before, tree(t, killed)); diff != "" {
		t.Fatalf("files changed:\n%s", diff)
	}
}

// TestCheckpointsWithoutAStore: nothing is there, and nothing is made there.
func TestCheckpointsWithoutAStore(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, []byte("of somebody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, dir := range map[string]string{
		"absent": filepath.Join(empty, "none"), "without a store": empty, "a file": file, "below a file": filepath.Join(file, "dir"),
	} {
		if got, err := Checkpoints(dir, []string{"shop"}); len(got) != 0 || err != nil {
			t.Errorf("%s: %v %v", what, got, err)
		}
	}
	if got := tree(t, empty); len(got) != 1 || got[file] != "of somebody else" {
		t.Errorf("files were made: %v", got)
	}
}

// TestCheckpointsOfAnUnknownFormat: what another version wrote is not guessed at.
func TestCheckpointsOfAnUnknownFormat(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	b := s.db.NewBatch()
	if err := b.Set(formatKey(), []byte("99"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Checkpoints(dir, nil); !fault.HasCode(err, CodeFormat) {
		t.Error(err)
	}
}

// TestCheckpointsOfAnUnfinishedStore: a daemon was killed while it made the store.
func TestCheckpointsOfAnUnfinishedStore(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: logger{&Store{}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := Checkpoints(dir, []string{"shop"}); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}
