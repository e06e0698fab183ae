package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// A store with damaged tables that are to be compacted is refused, or opened and
// found to be damaged, and does not hang.
func TestCompactionOfADamagedTable(t *testing.T) {
	dir := t.TempDir()
	live, image := filepath.Join(dir, "live"), filepath.Join(dir, "image")
	s := openT(t, live, Options{})
	p := pipelineT(t, s, "shop")
	for round := range 4 {
		for i := range 60 {
			var c Changes
			c.Put("count", fmt.Append(nil, "key", i), bytes.Repeat([]byte{byte(round)}, 500), Origin{Tx: "t", Row: uint64(i)})
			c.End("p", true, false)
			if err := p.Persist(&c); err != nil {
				t.Fatal(err)
			}
		}
		if round < 3 { // the last is in the log, and a table more once that is read
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.CopyFS(image, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(image, "*.sst"))
	if err != nil || len(tables) < 2 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/3] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	waitOver(t, "opening", func() {
		s, err := Open(image, Options{})
		if err == nil { // it was not compacted yet
			_, err = s.Survey()
			if cerr := s.Close(); cerr != nil {
				err = cerr
			}
		}
		if !fault.HasCode(err, CodeCorrupt) {
			t.Error(err)
		}
	})
}

// With more tables than one level has room for, they are compacted, one
// compaction after the other, and a store closes in the middle of that.
func TestCompactions(t *testing.T) {
	s := openT(t, t.TempDir(), Options{})
	p := pipelineT(t, s, "shop")
	for round := range 12 {
		for i := range 20 {
			var c Changes
			c.Put("count", fmt.Append(nil, "key", i), bytes.Repeat([]byte{byte(round)}, 500), Origin{Tx: "t", Row: uint64(i)})
			c.End("p", true, false)
			if err := p.Persist(&c); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	waitOver(t, "compacting", func() {
		for s.db.Metrics().Levels[0].TablesCount >= 4 {
			if s.db.Metrics().Compact.NumInProgress > 1 {
				t.Error("several at once")
			}
		}
	})
	if n := s.db.Metrics().Compact.Count; n == 0 {
		t.Error("no compaction")
	}
	waitOver(t, "closing", func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// waiting is a DB that always has something to compact.
type waiting struct{ granted int }

func (*waiting) GetAllowedWithoutPermission() int { return 1 }
func (*waiting) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return true, pebble.WaitingCompaction{}
}
func (w *waiting) Schedule(pebble.CompactionGrantHandle) bool { w.granted++; return true }

// Behind a failure nothing is compacted any more, or what failed would be tried
// for ever.
func TestNoCompactionBehindAFailure(t *testing.T) {
	for _, well := range []bool{true, false} {
		now, db := true, &waiting{}
		c := &compactor{well: func() bool { return now }}
		c.Register(1, db)
		ok, grant := c.TrySchedule()
		if !ok {
			t.Fatal("the first one is refused")
		}
		if again, _ := c.TrySchedule(); again {
			t.Error("two at a time")
		}
		now = well
		grant.Done()
		if db.granted == 1 != well {
			t.Errorf("well %t: %d granted behind the first", well, db.granted)
		}
		if !well {
			if again, _ := c.TrySchedule(); again {
				t.Error("one is granted behind a failure")
			}
		}
		c.Unregister()
	}
}
