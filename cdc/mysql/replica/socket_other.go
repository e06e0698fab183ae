//go:build !unix

package replica

import "errors"

// errWouldBlock says that nothing is buffered.
var errWouldBlock = errors.New("nothing to read")

// readNow can't tell on this system: every read counts as one that may block,
// so that batches go out with each buffer read.
func readNow(uintptr, []byte) (int, error) { return 0, errWouldBlock }
