package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const memPath = "/d/changes.jsonl"

// rows returns the lines of all files in a disk, in order. A file that is there
// both plain and packed counts once.
func (d *memDisk) rows(tb rapid.TB) []string {
	t := &target{cfg: Config{Path: memPath}, disk: d}
	files, err := t.closedFiles()
	if err != nil {
		tb.Fatal(err)
	}
	var text []byte
	last := uint64(0)
	for _, f := range files {
		if f.number == last {
			continue
		}
		if last > 0 && f.number != last+1 {
			tb.Fatalf("file %d follows file %d", f.number, last)
		}
		last = f.number
		text = append(text, unpacked(tb, f.name, d.names[t.beside(f.name)].data)...)
	}
	if n := d.names[memPath]; n != nil {
		text = append(text, n.data...)
	}
	if len(text) == 0 {
		return nil
	}
	if text[len(text)-1] != '\n' {
		tb.Fatalf("half a line at the end: %q", text[max(0, len(text)-80):])
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func unpacked(tb rapid.TB, name string, data []byte) []byte {
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch filepath.Ext(name) {
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r); err == nil {
			defer z.Close()
			r = z
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// Whatever dies, and whenever, and whichever checkpoint is left: the files have
// each row once, in order.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{Path: memPath, Compress: rapid.SampledFrom([]string{packNone, packGzip, packZstd}).Draw(rt, "compress"),
			Rotate: Rotate{Bytes: unit.Bytes(rapid.SampledFrom([]int{0, 300, 2000}).Draw(rt, "rotate"))}, Sync: Sync{Bytes: 8 << 20}}
		if cfg.Rotate.Bytes == 0 {
			cfg.Compress = packNone
		}
		d, hints := newMemDisk(), []sink.Hint{{}}
		for range rapid.IntRange(1, 6).Draw(rt, "lives") {
			d.dies = rapid.IntRange(0, 250).Draw(rt, "operations")
			if rapid.Bool().Draw(rt, "full") {
				d.limit = d.used() + int64(rapid.IntRange(0, 4000).Draw(rt, "room"))
			}
			dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
			hint := hints[len(hints)-1]
			if rapid.IntRange(0, 3).Draw(rt, "checkpoint") == 0 { // an older one, or none at all
				hint = hints[dice.IntN(len(hints))]
			}
			r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c"}, Hint: hint, Seed: dice.Uint64(), Groups: 50}
			s := open(cfg, sink.Env{Pipeline: "p"}, d)
			err := r.Do(t.Context(), s)
			_ = s.Close(t.Context()) // of a disk that is dead
			if err != nil && !errors.Is(err, errDead) && !fault.HasCode(err, CodeFull) {
				rt.Fatal(err)
			}
			if r.Hint.Token != "" {
				hints = append(hints, r.Hint)
			}
			d = d.cut(dice, rapid.Bool().Draw(rt, "power"))
		}
		r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c"}, Hint: hints[len(hints)-1], Groups: 20}
		s := open(cfg, sink.Env{Pipeline: "p"}, d)
		if err := r.Do(t.Context(), s); err != nil {
			rt.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if r.Anchor.Lost > 0 {
			rt.Fatalf("%d confirmed rows are lost", r.Anchor.Lost)
		}
		rows := d.rows(rt)
		if err := r.Feed.Check(rows); err != nil {
			rt.Fatal(err)
		}
		if uint64(len(rows)) != r.Hint.Messages {
			rt.Fatalf("%d rows in the files, %d delivered", len(rows), r.Hint.Messages)
		}
	})
}

// A full disk is a state that passes: no half line stays, and with room it goes
// on where it was.
func TestDiskFull(t *testing.T) {
	d := newMemDisk()
	d.limit = 2*slotBytes + 5000
	s := open(Config{Path: memPath, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
	defer s.Close(t.Context())
	r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c", BodyBytes: 100}, Groups: 200}
	err := r.Do(t.Context(), s)
	if f := fault.Of(err); f.Code != CodeFull || f.Class != fault.Retryable || f.Hint == "" {
		t.Fatalf("%v", err)
	}
	if rows := d.rows(t); uint64(len(rows)) != r.Hint.Messages || len(rows) == 0 {
		t.Errorf("%d rows in the file, %d delivered", len(rows), r.Hint.Messages)
	}
	d.mu.Lock()
	d.limit = 0
	d.mu.Unlock()
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	rows := d.rows(t)
	if err := r.Feed.Check(rows); err != nil || uint64(len(rows)) != r.Hint.Messages {
		t.Errorf("%d rows, %d delivered: %v", len(rows), r.Hint.Messages, err)
	}
}

// What was synced is what a reader of the closed files gets, by age too, also
// while nothing is written.
func TestRotateByAge(t *testing.T) {
	d := newMemDisk()
	s := open(Config{Path: memPath, Compress: packNone, Rotate: Rotate{Age: unit.Duration(time.Second)}, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
	defer s.Close(t.Context())
	r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c"}, Groups: 3, Seed: 4}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		files, err := s.t.closedFiles()
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 { // more, where writing took longer than the age
			if files[0].name != "changes-00000001-00000000000000000001.jsonl" {
				t.Errorf("%q", files[0].name)
			}
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the file was never closed")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := d.rows(t); uint64(len(rows)) != r.Hint.Messages {
		t.Errorf("%d rows, %d delivered", len(rows), r.Hint.Messages)
	}
}

func TestSurplus(t *testing.T) {
	now := time.Unix(1e9, 0)
	files := make([]closedFile, 5)
	for i := range files {
		files[i] = closedFile{number: uint64(i + 1), bytes: 10, at: now.Add(time.Duration(i-5) * time.Hour)}
	}
	for _, tt := range []struct {
		keep Keep
		gone int
	}{
		{Keep{}, 0}, {Keep{Files: 5}, 0}, {Keep{Files: 2}, 3}, {Keep{Bytes: 50}, 0}, {Keep{Bytes: 49}, 1}, {Keep{Bytes: 5}, 5},
		{Keep{Age: unit.Duration(3*time.Hour + 1)}, 2}, {Keep{Files: 4, Age: unit.Duration(3*time.Hour + 1)}, 2},
	} {
		if got := surplus(tt.keep, files, now); len(got) != tt.gone {
			t.Errorf("%+v removes %d, want %d", tt.keep, len(got), tt.gone)
		}
	}
}

func TestClosedNames(t *testing.T) {
	for _, path := range []string{"/d/changes.jsonl", "/d/changes", "/d/.hidden", "/d/a-b.c.json"} {
		tg := &target{cfg: Config{Path: path}}
		var names []string
		for _, n := range []uint64{1, 9, 10, 99999999, 100000000} {
			name := tg.closedName(n, n*3)
			names = append(names, name)
			for _, end := range []string{"", ".gz", ".zst"} {
				if f, ok := tg.parseClosed(name + end); !ok || f.number != n || f.packed != (end != "") {
					t.Errorf("%s%s is read as %+v, %v", name, end, f, ok)
				}
			}
		}
		if !slices.IsSorted(names[:4]) {
			t.Errorf("%q are not in order", names)
		}
		for _, other := range []string{filepath.Base(path), filepath.Base(path) + ".journal", names[0] + ".bak", names[0] + ".gz.tmp", "x-00000001-1.jsonl"} {
			if f, ok := tg.parseClosed(other); ok {
				t.Errorf("%q is read as %+v", other, f)
			}
		}
	}
}

// What the system denies is told, at the start and later, and nothing is
// confirmed.
func TestDenied(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "syncdir", "truncate", "list"} {
		d := newMemDisk()
		d.deny = func(o, _ string) error {
			if o == op {
				return fs.ErrPermission
			}
			return nil
		}
		s := open(Config{Path: memPath, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
		_, err := s.Claim(t.Context(), sink.Hint{}, func(context.Context) (sdk.Position, error) { return "p0", nil })
		if f := fault.Of(err); f.Code != CodeUnwritable || f.Class != fault.Environment || f.Hint == "" {
			t.Errorf("%s is denied: %v", op, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	d := newMemDisk()
	s := open(Config{Path: memPath, Rotate: Rotate{Bytes: 1000}, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
	defer s.Close(t.Context())
	r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c"}, Groups: 30}
	d.deny = func(op, _ string) error {
		if op == "rename" {
			return fs.ErrPermission
		}
		return nil
	}
	if err := r.Do(t.Context(), s); !fault.HasCode(err, CodeUnwritable) {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.deny = nil
	d.mu.Unlock()
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if rows := d.rows(t); r.Feed.Check(rows) != nil || uint64(len(rows)) != r.Hint.Messages {
		t.Errorf("%d rows, %d delivered: %v", len(rows), r.Hint.Messages, r.Feed.Check(rows))
	}
}

// Closed files that can't be removed are an alarm, which ends when they can, and
// hold up nothing.
func TestHousekeepingAlarm(t *testing.T) {
	d := newMemDisk()
	d.deny = func(op, _ string) error {
		if op == "remove" {
			return fs.ErrPermission
		}
		return nil
	}
	s := open(Config{Path: memPath, Rotate: Rotate{Bytes: 500}, Keep: Keep{Files: 2}, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
	defer s.Close(t.Context())
	r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "s", Control: "c"}, Groups: 60}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	alarms := func() []*fault.Fault {
		h, err := s.Audit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h.Alarms
	}
	eventually(t, func() bool { a := alarms(); return len(a) == 1 && a[0].Code == CodeHousekeeping && a[0].Hint != "" })
	d.mu.Lock()
	d.deny = nil
	d.mu.Unlock()
	s.t.closed <- struct{}{}
	eventually(t, func() bool {
		files, err := s.t.closedFiles()
		return err == nil && len(files) == 2 && len(alarms()) == 0
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}
