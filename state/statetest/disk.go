package statetest

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cdcd-io/cdcd/state"
)

// Disk is a disk in memory that knows what has been synced.
type Disk struct{ fs *vfs.MemFS }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{vfs.NewCrashableMem()} }

// Crash returns the disk as a power cut now would leave it: what was synced,
// and an arbitrary part of the rest.
func (d *Disk) Crash(seed uint64) *Disk {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &Disk{d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})}
}

// Open opens the store on the disk; the caller closes it.
func (d *Disk) Open(t testing.TB) *state.Store {
	t.Helper()
	s, err := state.Open("state", state.Options{FS: d.fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
