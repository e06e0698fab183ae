package codecache

import (
	"fmt"
	"os"
)

// DirError says why a directory can't be trusted with code.
type DirError struct {
	Dir  string
	Why  string
	Hint string
}

// Error is the reason without the hint.
func (e *DirError) Error() string { return e.Why }

// private makes a directory of this user's alone, or checks that it is one. That
// others may look into it is mended.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := Check(dir); err != nil || !modesMatter {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Check fails for a directory that others may write to (*DirError), or that is
// not there (os.ErrNotExist).
func Check(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := ours(info); err != nil {
		return &DirError{dir, "what lies in it is executed, and " + err.Error(),
			"name a directory of the user that runs cdcd"}
	}
	perm := info.Mode().Perm()
	if modesMatter && perm&0o022 != 0 {
		return &DirError{dir, fmt.Sprintf("what lies in it is executed, and others may write to it (mode %o)", perm),
			"remove the directory: cdcd makes it anew, for itself alone"}
	}
	return nil
}
