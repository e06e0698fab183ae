package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cdcd-io/cdcd/internal/oracle"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// filer is a pipeline into files.
type filer struct{ *keeper }

// newFiler writes the configuration; options are those of the sink.
func newFiler(t *testing.T, db *testserver.DB, options string, tables ...string) *filer {
	t.Helper()
	k := &keeper{t: t, db: db, dir: t.TempDir(), listen: fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))}
	k.config = filepath.Join(k.dir, "cdcd.yaml")
	if err := os.Mkdir(filepath.Join(k.dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	k.write("cdcd.yaml", fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source:
      mysql: {dsn: %q, tables: [%s], snapshot: never}
    sink: {file: {path: ./out/changes.jsonl%s}}
server: {listen: %q}
state: {dir: ./state}
`, db.UserDSN("cdcd", "secret"), strings.Join(tables, ", "), options, k.listen))
	t.Cleanup(k.kill)
	return &filer{k}
}

// lines returns what all files have, the closed ones in the order of their
// names, and how many of these there are.
func (f *filer) lines() (lines []string, closed int) {
	f.t.Helper()
	out := filepath.Join(f.dir, "out")
	names, err := filepath.Glob(filepath.Join(out, "changes-*"))
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range append(slices.Clone(names), filepath.Join(out, "changes.jsonl")) {
		if _, err := os.Stat(strings.TrimSuffix(name, ".jsonl") + ".jsonl.zst"); err == nil && strings.HasSuffix(name, ".jsonl") {
			continue // there plain as well: cdcd was killed while it packed
		}
		lines = append(lines, linesOf(f.t, name)...)
	}
	return lines, len(names)
}

func linesOf(t *testing.T, name string) (lines []string) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		s = bufio.NewScanner(z)
	}
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if err := s.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return lines
}

// However often cdcd is killed, its files have what one undisturbed run over the
// same log writes: each row once, in order, across closed and packed files.
func TestKillWithFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills cdcd for a minute")
	}
	db := testserver.MySQL(t)
	db.CreateUser(t, "cdcd", "secret")
	f := newFiler(t, db, ", rotate: {bytes: 256KiB}, compress: zstd, sync: {every: 20ms}", oracle.Tables()...)
	w := oracle.NewWorkload(db, oracle.Options{Seed: 77, LargeEvery: 300, XAEvery: 8})
	if err := w.Create(); err != nil {
		t.Fatal(err)
	}
	const kills = 25
	f.underLoad(w, kills, rand.New(rand.NewPCG(5, 1)), nil)
	f.catchUp(2 * time.Minute)
	once := newFiler(t, db, "", oracle.Tables()...)
	once.catchUp(2 * time.Minute)
	got, closed := f.lines()
	want, _ := once.lines()
	same(t, "line", got, want)
	if closed < 5 || len(want) < 1000 {
		t.Errorf("%d lines and %d closed files: too few to say anything", len(want), closed)
	}
	t.Logf("%d kills, %d lines in %d closed files and the open one", kills, len(got), closed)
}

// The files say where to resume: without the state, with an older one, and behind
// a line that was torn, each row is in them once.
func TestFilesOutliveTheState(t *testing.T) {
	db := testserver.MySQL(t)
	db.CreateUser(t, "cdcd", "secret")
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(100))")
	f := newFiler(t, db, ", rotate: {bytes: 64KiB}", "shop.orders")
	state, older := filepath.Join(f.dir, "state"), filepath.Join(f.dir, "older")
	insert := func() {
		t.Helper()
		for range 5 {
			db.Exec(t, "INSERT INTO shop.orders (note) VALUES ('a')"+strings.Repeat(", ('b')", 99))
		}
	}
	insert()
	f.catchUp(time.Minute)
	if err := os.CopyFS(older, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	insert()
	f.catchUp(time.Minute)
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	insert()
	f.catchUp(time.Minute)
	if err := errors.Join(os.RemoveAll(state), os.Rename(older, state)); err != nil {
		t.Fatal(err)
	}
	open, err := os.OpenFile(filepath.Join(f.dir, "out", "changes.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.WriteString(`{"before":null,"aft`); err != nil {
		t.Fatal(err)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	insert()
	f.catchUp(time.Minute)
	lines, closed := f.lines()
	for i, line := range lines {
		if !strings.Contains(line, fmt.Sprintf(`"after":{"id":%d,`, i+1)) {
			t.Fatalf("line %d is %.200s", i+1, line)
		}
	}
	if len(lines) != 2000 || closed < 3 {
		t.Errorf("%d lines, %d closed files", len(lines), closed)
	}
}
