package state

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// A disk that fails at its n-th write, whichever that is - of a log, a table, the
// list of files, while the store opens, works, compacts or closes - neither ends
// the process nor hangs it, is told by name, and leaves what was confirmed.
func TestDiskFailsAnywhere(t *testing.T) {
	failed := 0
	for n := int64(1); n < 400; n += 1 + n/12 {
		cause := []syscall.Errno{syscall.ENOSPC, syscall.EIO}[n%2]
		mem := vfs.NewCrashableMem()
		var count atomic.Int64
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpMkdirAll && op.Kind != errorfs.OpRemove && count.Add(1) >= n {
				return cause
			}
			return nil
		}))
		var confirmed uint64
		var err error
		waitOver(t, fmt.Sprint("failing at write ", n), func() { confirmed, err = work(fs) })
		if err == nil {
			continue // it came to its end before that write
		}
		failed++
		f := fault.Of(err)
		if f.Code != CodeWriteFailed && (f.Code != CodeDirUnwritable || confirmed > 0) || f.Hint == "" || !errors.Is(err, cause) {
			t.Errorf("write %d: %v", n, err)
		}
		s := openT(t, "db", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
		v, err := s.Survey()
		if err != nil || len(v.Damage) > 0 {
			t.Fatalf("write %d: %+v %v", n, v, err)
		}
		c, _, err := pipelineT(t, s, "p").Load()
		if err != nil || c.Number < confirmed {
			t.Fatalf("write %d: checkpoint %d after %d was confirmed: %v", n, c.Number, confirmed, err)
		}
	}
	if failed < 30 {
		t.Errorf("only %d failures", failed)
	}
}

// work opens a store, fills several memtables, and closes it; it returns the last
// checkpoint that was confirmed.
func work(fs vfs.FS) (confirmed uint64, err error) {
	s, err := Open("db", Options{FS: fs})
	if err != nil {
		return 0, err
	}
	p, err := s.Pipeline("p")
	for i := uint64(1); i <= 60 && err == nil; i++ {
		var c Changes
		c.Put("s", fmt.Append(nil, "k", i%9), bytes.Repeat([]byte{byte(i)}, 50<<10), Origin{})
		if err = p.Persist(&c); err != nil {
			break
		}
		if err = p.Commit(Checkpoint{Number: i}); err == nil {
			confirmed = i
		}
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return confirmed, err
}
