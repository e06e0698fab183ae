//go:build unix && !(linux && amd64)

package testserver

import (
	"errors"
	"os/exec"
	"time"
)

// Clock exists on Linux on amd64 only.
type Clock struct{}

// StartWithClock exists on Linux on amd64 only.
func StartWithClock(*exec.Cmd) (*Clock, error) {
	return nil, errors.ErrUnsupported
}

// Jump exists on Linux on amd64 only.
func (*Clock) Jump(time.Duration) error { return errors.ErrUnsupported }

// Close exists on Linux on amd64 only.
func (*Clock) Close() error { return nil }

// ClockProblem says that there is none here.
func ClockProblem() error { return errors.ErrUnsupported }
