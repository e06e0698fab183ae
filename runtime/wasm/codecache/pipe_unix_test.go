//go:build unix

package codecache

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to would hold up whoever opens it.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1<<30)
	for _, name := range []string{key(1).file(), secretFile} {
		_ = os.Remove(filepath.Join(dir, name))
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if get(t, c, key(1)) != nil {
			t.Error("it read a pipe")
		}
		put(t, c, key(1), content(1))
		if get(t, c, key(1)) == nil {
			t.Error("a pipe in the way")
		}
	}
}
