package host

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// Host is a testing.TB for a program: what a test would log goes to standard
// error, what would fail a test ends the program, and Close does what the end
// of a test would do.
type Host struct {
	testing.TB // nil: only for the method that cannot be written
	cleanups   []func()
	failed     bool
}

// New returns a Host; the caller closes it. It is called before flag.Parse:
// package testing has flags of its own, and panics without them.
func New() *Host {
	testing.Init()
	return &Host{}
}

// Close undoes everything in reverse order.
func (h *Host) Close() {
	for len(h.cleanups) > 0 {
		last := h.cleanups[len(h.cleanups)-1]
		h.cleanups = slices.Delete(h.cleanups, len(h.cleanups)-1, len(h.cleanups))
		last()
	}
}

// Helper does nothing.
func (h *Host) Helper() {}

// Name is the program's.
func (h *Host) Name() string { return "bench" }

// Failed reports whether something failed.
func (h *Host) Failed() bool { return h.failed }

// Cleanup registers what Close does.
func (h *Host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// TempDir returns a folder that Close removes.
func (h *Host) TempDir() string {
	dir, err := os.MkdirTemp("", "cdcd-bench-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder that stays is a nuisance, no error
	return dir
}

// Log prints.
func (h *Host) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

// Logf prints.
func (h *Host) Logf(format string, args ...any) { h.Log(fmt.Sprintf(format, args...)) }

// Error prints, and makes Failed true.
func (h *Host) Error(args ...any) { h.failed = true; h.Log(args...) }

// Errorf prints, and makes Failed true.
func (h *Host) Errorf(format string, args ...any) { h.Error(fmt.Sprintf(format, args...)) }

// Fatal prints, cleans up and ends the program.
func (h *Host) Fatal(args ...any) {
	h.Error(args...)
	h.Close()
	os.Exit(1)
}

// Fatalf prints, cleans up and ends the program.
func (h *Host) Fatalf(format string, args ...any) { h.Fatal(fmt.Sprintf(format, args...)) }

// Skipf is Fatalf: there is no benchmark without its servers.
func (h *Host) Skipf(format string, args ...any) { h.Fatalf(format, args...) }
