//go:build !unix

package codecache

import (
	"errors"
	"os"
)

const (
	noWait      = 0
	modesMatter = false
)

func ours(os.FileInfo) error { return nil }

// lock: there is none; time has to tell.
func lock(_ *os.File, wait bool) error {
	if wait {
		return nil
	}
	return errors.ErrUnsupported
}
