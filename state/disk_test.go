package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cdcd-io/cdcd/internal/fault"
)

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	openT(t, dir, Options{})
	_, err := Open(dir, Options{})
	if f := fault.Of(err); f.Code != CodeDirInUse || f.Class != fault.Environment || f.Hint == "" || f.Path != dir {
		t.Fatal(err)
	}
}

func TestDirUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "dir"), Options{})
	if f := fault.Of(err); f.Code != CodeDirUnwritable || f.Class != fault.Environment || f.Hint == "" {
		t.Fatal(err)
	}
}

// A crash keeps every commit that returned, whatever part of the unsynced rest
// reached the disk.
func TestCrashKeepsWhatCommitReturned(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewCrashableMem()
	acked := uint64(0)
	for range 60 {
		s, err := Open("db", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		p := pipelineT(t, s, "p")
		c, _, err := p.Load()
		if err != nil || c.Number < acked {
			t.Fatalf("checkpoint %d after %d was confirmed: %v", c.Number, acked, err)
		}
		var clone *vfs.MemFS
		for i := range 1 + rng.IntN(40) {
			c.Number++
			if err := p.Commit(c); err != nil {
				t.Fatal(err)
			}
			acked = c.Number
			if i%7 == 3 {
				clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				break
			}
		}
		if clone == nil {
			clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = clone
	}
	if acked < 60 {
		t.Fatalf("only %d commits", acked)
	}
}

// A disk that fails never ends the process and never confirms: the first
// failure is returned by this and every later call.
func TestDiskFailures(t *testing.T) {
	hits := 0
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo} {
			mem := vfs.NewCrashableMem()
			var on, hit atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && op.Kind == kind {
					hit.Store(true)
					return cause
				}
				return nil
			}))
			s := openT(t, "db", Options{FS: fs})
			p := pipelineT(t, s, "p")
			if err := p.Commit(Checkpoint{Number: 1}); err != nil {
				t.Fatal(err)
			}
			on.Store(true)
			err := p.Commit(Checkpoint{Number: 2})
			if !hit.Load() {
				continue // this file system does not use the call for the log
			}
			hits++
			f := fault.Of(err)
			if f.Code != CodeWriteFailed || f.Class != fault.Environment || f.Hint == "" || !errors.Is(err, cause) {
				t.Fatalf("%v %v: %v", cause, kind, err)
			}
			on.Store(false)
			select {
			case <-s.Failed():
			default:
				t.Fatal("Failed is not closed")
			}
			if err2 := p.Commit(Checkpoint{Number: 3}); !errors.Is(err2, err) {
				t.Fatalf("a commit after the failure: %v", err2)
			}
			if _, _, err := p.Load(); err == nil {
				t.Fatal("a read after the failure succeeded")
			}
			if err := s.Close(); !fault.HasCode(err, CodeWriteFailed) {
				t.Fatalf("Close: %v", err)
			}
			s2 := openT(t, "db", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
			c, ok, err := pipelineT(t, s2, "p").Load()
			if err != nil || !ok || c.Number < 1 || c.Number > 2 {
				t.Fatalf("after the crash: %+v %v %v", c, ok, err)
			}
		}
	}
	if hits < 4 {
		t.Fatalf("only %d failures were injected", hits)
	}
}

func TestDamageIsReported(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "p")
	for i := range 200 {
		var c Changes
		c.Put("s", fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte{byte(i)}, 100), Origin{})
		if err := p.Persist(&c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no table files")
	}
	for _, name := range tables {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(data) / 4 { // the first quarter is data blocks
			data[i] ^= 0x40
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, Options{})
	for i := 0; err == nil && i < 200; i++ {
		_, _, err = pipelineOrErr(s, "p", fmt.Sprintf("%03d", i))
	}
	if f := fault.Of(err); f.Code != CodeCorrupt || f.Hint == "" {
		t.Fatal(err)
	}
	if s != nil {
		s.Close()
	}
}

func pipelineOrErr(s *Store, name, key string) ([]byte, bool, error) {
	p, err := s.Pipeline(name)
	if err != nil {
		return nil, false, err
	}
	return p.Values("s").Get([]byte(key))
}
