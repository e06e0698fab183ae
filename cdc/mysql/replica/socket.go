package replica

import (
	"net"
	"syscall"
	"time"
)

// socket is the connection under the protocol (and under TLS). Once armed, it
// tells when nothing more is buffered in the kernel, before it blocks.
type socket struct {
	net.Conn
	raw   syscall.RawConn // nil where reading without blocking is not possible
	hooks *Hooks
	quiet time.Duration // armed: the longest silence of the server
	debt  int           // bytes read that the limit was not yet asked for

	// The pending non-blocking read; fields, so that it allocates nothing.
	p    []byte
	n    int
	err  error
	once func(fd uintptr) bool
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.once = func(fd uintptr) bool {
		s.n, s.err = readNow(fd, s.p)
		return true
	}
	return s
}

// Read reads what is there; when nothing is, it calls Hooks.Drained and then
// blocks. The rate limit acts here, before more is taken from the server.
func (s *socket) Read(p []byte) (int, error) {
	if s.hooks == nil {
		return s.Conn.Read(p)
	}
	if s.debt > 0 && s.hooks.Limit != nil {
		if err := s.hooks.Limit(s.debt); err != nil {
			return 0, err
		}
	}
	s.debt = 0
	if s.hooks.ReadMax > 0 {
		p = p[:min(len(p), s.hooks.ReadMax)]
	}
	n, err := s.try(p)
	if err == errWouldBlock {
		if err := s.hooks.Drained(); err != nil {
			return 0, err
		}
		if err := s.SetReadDeadline(time.Now().Add(s.quiet)); err != nil {
			return 0, err
		}
		n, err = s.Conn.Read(p)
		// The next look must not meet this deadline: it may come late, when the
		// pipeline is slow or the rate limited, and says nothing of the server.
		if cerr := s.SetReadDeadline(time.Time{}); err == nil {
			err = cerr
		}
	}
	s.debt = n
	return n, err
}

// try reads without blocking.
func (s *socket) try(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return 0, errWouldBlock
	}
	s.p, s.n, s.err = p, 0, nil
	if err := s.raw.Read(s.once); err != nil {
		return 0, err
	}
	s.p = nil
	return s.n, s.err
}
