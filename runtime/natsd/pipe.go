package natsd

import (
	"net"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// pipe is how one connection gets into the embedded server. It implements
// nats.InProcessConnProvider.
type pipe struct {
	nats *NATS
	mu   sync.Mutex
	conn net.Conn
}

// InProcessConn implements nats.InProcessConnProvider; a connection that
// reconnects meets the server that runs by then.
func (p *pipe) InProcessConn() (net.Conn, error) {
	p.nats.mu.Lock()
	s := p.nats.server
	p.nats.mu.Unlock()
	if s == nil {
		return nil, server.ErrServerNotRunning
	}
	c, err := s.InProcessConn()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
	return c, err
}

// Pipe returns the client's end of the pipe of the last InProcessConn; nil before.
// It is net.Pipe's, whose Write keeps each piece together whoever else writes, and
// nats.go writes whole protocol messages: so others may write theirs between.
func (p *pipe) Pipe() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}
