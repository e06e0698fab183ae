package codecache

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// anonymous makes a file in memory that has no name. A full disk does not
// matter to it.
func anonymous(dir string) (*os.File, error) {
	fd, err := unix.MemfdCreate("cdcd-code", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.CreateTemp(dir, "copy-")
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := os.Stat(f.Name()); err != nil { // no /proc here
		_ = f.Close()
		return os.CreateTemp(dir, "copy-")
	}
	return f, nil
}

// expose gives an anonymous file a path, and ends all writing to it.
func expose(f *os.File, path string) error {
	_, _ = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return os.Symlink(f.Name(), path)
}
