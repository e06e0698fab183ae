//go:build unix && !linux

package testserver

import (
	"syscall"
	"time"
)

// dieWithParent exists on Linux only; elsewhere a crashed test binary leaves
// its servers behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitStopped waits for as long as a stop takes anywhere.
func awaitStopped(int) { time.Sleep(50 * time.Millisecond) }
