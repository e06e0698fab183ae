package testserver

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server and does to the connection what
// networks do: it cuts, resets, delays, slices, slows down and falls silent. Its
// address stays the same while the server behind it changes, as a virtual
// address does after a failover.
type Proxy struct {
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond // of mu: silence, or links
	target  string
	links   map[*link]struct{}
	down    bool          // nobody is let in
	slice   int           // bytes of one write to the client; 0 for as they come
	delay   time.Duration // before each write to the client
	latency time.Duration // before each write to either side
	rate    int           // bytes a second each way; 0 for no limit
	silent  [2]bool       // nothing gets through to the server, to the client
	cutIn   int64         // bytes to the client until all connections are cut; 0 for none
	dropped int           // connections that were cut
	away    time.Duration // one way, of connections made from now on

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
	p.changed = sync.NewCond(&p.mu)
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

// Latency delays what goes either way; 0 for none.
func (p *Proxy) Latency(d time.Duration) { p.set(func() { p.latency = d }) }

// Distance makes each byte of connections made from now on take that long, one
// way, in both directions, and takes nothing of the throughput. Such connections
// know none of the other troubles but being cut.
func (p *Proxy) Distance(d time.Duration) { p.set(func() { p.away = d }) }

// Limit lets so many bytes a second through each way; 0 for any number.
func (p *Proxy) Limit(bytesPerSecond int) { p.set(func() { p.rate = bytesPerSecond }) }

// Silence lets nothing through to the client, to the server, or both, and
// breaks nothing: as when packets are lost and sent again for as long as it
// lasts. What was said meanwhile arrives when it ends, unless the connection has
// ended before.
func (p *Proxy) Silence(toClient, toServer bool) {
	p.set(func() { p.silent = [2]bool{toServer, toClient} })
}

// Mend ends whatever is done to connections; those that were cut stay cut.
func (p *Proxy) Mend() {
	p.set(func() {
		p.down, p.slice, p.delay, p.latency, p.rate, p.silent, p.cutIn = false, 0, 0, 0, 0, [2]bool{}, 0
	})
}

// CutIn cuts all connections after n more bytes to clients.
func (p *Proxy) CutIn(n int64) { p.set(func() { p.cutIn = n }) }

// Cut cuts all connections.
func (p *Proxy) Cut() { p.set(p.cut) }

// Reset cuts all connections without a goodbye: both sides get a reset, and
// what was on its way is lost.
func (p *Proxy) Reset() {
	p.set(func() {
		for l := range p.links {
			for _, c := range []net.Conn{l.client, l.server} {
				_ = c.(*net.TCPConn).SetLinger(0) // fails on a connection that has ended
			}
		}
		p.cut()
	})
}

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
	p.changed.Broadcast()
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
		both.Go(func() { p.copy(l, server, client, toServer); _ = server.Close() })
		both.Go(func() { p.copy(l, client, server, toClient); _ = client.Close() })
		both.Wait()
	}
	_ = client.Close()
	_ = server.Close()
	p.set(func() { delete(p.links, l) })
}

// direction is an index of Proxy.silent.
type direction int

const (
	toServer direction = iota
	toClient
)

// copyLate moves bytes, each as late as the distance says.
func copyLate(to, from net.Conn, away time.Duration) {
	type late struct {
		due   time.Time
		bytes []byte
	}
	way := make(chan late, 4096)
	var writer sync.WaitGroup
	writer.Go(func() {
		for l := range way {
			time.Sleep(time.Until(l.due))
			if _, err := to.Write(l.bytes); err != nil {
				_ = from.Close() // ends the reader
			}
		}
	})
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil {
			break
		}
		way <- late{time.Now().Add(away), buf[:n]}
	}
	close(way)
	writer.Wait()
}

// copy moves bytes one way until either side ends.
func (p *Proxy) copy(l *link, to, from net.Conn, way direction) {
	p.mu.Lock()
	away := p.away
	p.mu.Unlock()
	if away > 0 {
		copyLate(to, from, away)
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			piece, delay := p.piece(rest, way)
			time.Sleep(delay)
			if !p.await(l, way) {
				return
			}
			if _, err := to.Write(piece); err != nil {
				return
			}
			rest = rest[len(piece):]
			if way == toClient {
				p.count(len(piece))
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits for silence to end; false when the link ended before. Who talks
// into a silence that ends with the link finds out by its own means.
func (p *Proxy) await(l *link, way direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.silent[way] {
		if _, there := p.links[l]; !there {
			return false
		}
		p.changed.Wait()
	}
	return true
}

// limitPieces is into how many pieces a second's worth of a limited link is cut.
const limitPieces = 20

// piece returns what to write next, and after which delay.
func (p *Proxy) piece(rest []byte, way direction) ([]byte, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, delay := len(rest), p.latency
	if way == toClient {
		delay += p.delay
		if p.slice > 0 {
			n = min(n, p.slice)
		}
		if p.cutIn > 0 {
			n = int(min(int64(n), p.cutIn))
		}
	}
	if p.rate > 0 {
		n = min(n, max(1, p.rate/limitPieces))
		delay += time.Duration(n) * time.Second / time.Duration(p.rate)
	}
	return rest[:n], delay
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
