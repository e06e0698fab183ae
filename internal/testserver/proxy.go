package testserver

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server and does to the connection what
// networks do: it cuts, delays and slices. Its address stays the same while the
// server behind it changes, as a virtual address does after a failover.
type Proxy struct {
	listener net.Listener

	mu      sync.Mutex
	target  string
	links   map[*link]struct{}
	down    bool          // nobody is let in
	slice   int           // bytes of one write to the client; 0 for as they come
	delay   time.Duration // before each write to the client
	cutIn   int64         // bytes to the client until all connections are cut; 0 for none
	dropped int           // connections that were cut

	wg sync.WaitGroup
}

type link struct{ client, server net.Conn }

// NewProxy starts a proxy on a port of its own before the address. It ends
// with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, links: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Down(true)
		p.wg.Wait()
	})
	return p
}

// Addr is the proxy's host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target leads new connections to another server.
func (p *Proxy) Target(addr string) { p.set(func() { p.target = addr }) }

// Slice writes to the client in pieces of n bytes, with a delay before each; 0
// and 0 as they come.
func (p *Proxy) Slice(n int, delay time.Duration) { p.set(func() { p.slice, p.delay = n, delay }) }

// CutIn cuts all connections after n more bytes to clients.
func (p *Proxy) CutIn(n int64) { p.set(func() { p.cutIn = n }) }

// Cut cuts all connections.
func (p *Proxy) Cut() { p.set(p.cut) }

// Down refuses connections and cuts those that are open, until Down(false).
func (p *Proxy) Down(down bool) {
	p.set(func() {
		p.down = down
		if down {
			p.cut()
		}
	})
}

// Cuts returns how many connections were cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// cut is called with mu held.
func (p *Proxy) cut() {
	for l := range p.links {
		_ = l.client.Close() // cutting is the point
		_ = l.server.Close()
		delete(p.links, l)
		p.dropped++
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target, down := p.target, p.down
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, connectTimeout)
	if err != nil || down {
		if server != nil {
			_ = server.Close()
		}
		_ = client.Close()
		return
	}
	l := &link{client, server}
	p.set(func() {
		if p.down {
			err = errors.New("down")
			return
		}
		p.links[l] = struct{}{}
	})
	var both sync.WaitGroup
	if err == nil {
		both.Go(func() { p.copy(server, client, false); _ = server.Close() })
		both.Go(func() { p.copy(client, server, true); _ = client.Close() })
		both.Wait()
	}
	_ = client.Close()
	_ = server.Close()
	p.set(func() { delete(p.links, l) })
}

// copy moves bytes until either side ends; down says to the client.
func (p *Proxy) copy(to, from net.Conn, down bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			piece := rest
			if down {
				var delay time.Duration
				piece, delay = p.piece(rest)
				time.Sleep(delay)
			}
			if _, err := to.Write(piece); err != nil {
				return
			}
			rest = rest[len(piece):]
			if down {
				p.count(len(piece))
			}
		}
		if err != nil {
			return
		}
	}
}

// piece returns what to write next to a client, and after which delay.
func (p *Proxy) piece(rest []byte) ([]byte, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(rest)
	if p.slice > 0 {
		n = min(n, p.slice)
	}
	if p.cutIn > 0 {
		n = int(min(int64(n), p.cutIn))
	}
	return rest[:n], p.delay
}

// count cuts the connections when enough was written.
func (p *Proxy) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cutIn == 0 {
		return
	}
	if p.cutIn -= int64(n); p.cutIn <= 0 {
		p.cutIn = 0
		p.cut()
	}
}
