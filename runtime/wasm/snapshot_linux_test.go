package wasm

import (
	"fmt"
	"os"
	"testing"
)

// What is mapped of a snapshot can't be changed through its file.
func TestSnapshotIsSealed(t *testing.T) {
	needsSnapshots(t)
	m := load(t, newHost(t), stamp(t, passAll().bytes(), "pass"))
	instance(t, m, InstanceConfig{})
	path := fmt.Sprintf("/proc/self/fd/%d", m.code.origin.snap.file.fd)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, 0); err == nil {
		t.Error("it can be written to")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("it can be cut")
	}
}
