//go:build unix

package codecache

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noWait keeps a pipe in the place of a file from holding us up.
const noWait = unix.O_NONBLOCK

// modesMatter: what a file's mode says of others is so.
const modesMatter = true

// ours fails for a file of another user's.
func ours(info os.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to the user with number %d, while this is %d", st.Uid, os.Geteuid())
	}
	return nil
}

// lock takes the lock of a file, or fails at once unless it is to wait.
func lock(f *os.File, wait bool) error {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	return unix.Flock(int(f.Fd()), how)
}
