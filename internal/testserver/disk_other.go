//go:build !linux

package testserver

import (
	"errors"
	"testing"
)

// SmallDisk skips the test: it needs Linux.
func SmallDisk(t testing.TB, _ int) string {
	t.Helper()
	Missing(t, "a small disk", errors.New("run the test on Linux"))
	return ""
}

// FillDisk is for what SmallDisk returns.
func FillDisk(testing.TB, string, int) func() { return func() {} }
