//go:build unix

package replica

import (
	"errors"
	"io"
	"syscall"
)

// errWouldBlock says that nothing is buffered.
var errWouldBlock = errors.New("nothing to read")

// readNow reads from a socket that does not block.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
