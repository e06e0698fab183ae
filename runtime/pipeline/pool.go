package pipeline

import (
	"sync"
	"unsafe"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// poolBytesMax bounds the groups that wait for use: those of a few full batches.
const poolBytesMax = 2 << 20

// group is a sink.Group with what the renderer needs to make it.
type group struct {
	sink.Group
	ids    []span // transaction id of each message
	routed []span // subject of each message, where a connector gave one
	text   string // all texts of the messages
	began  int    // capacity of Buf when the group was begun
}

// memory returns the bytes that the group's buffers take, in use or not. A buffer
// that grew leaves those before it to the messages that are views of them.
func (g *group) memory() int {
	outgrown := 0
	if cap(g.Buf) > g.began {
		outgrown = cap(g.Buf)
	}
	return outgrown + cap(g.Buf) + cap(g.Messages)*int(unsafe.Sizeof(sink.Message{})) +
		(cap(g.ids)+cap(g.routed))*int(unsafe.Sizeof(span{})) + len(g.text) + len(g.Base) + len(g.End)
}

// pool keeps groups for reuse. The sink gives one back by Group.Done.
type pool struct {
	mu    sync.Mutex
	free  []*group
	bytes int // that they take
}

func (p *pool) get() *group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		g := p.free[n-1]
		p.free = p.free[:n-1]
		p.bytes -= g.memory()
		return g
	}
	g := &group{}
	g.Done = func() { p.put(g) }
	return g
}

func (p *pool) put(g *group) {
	clear(g.Messages)
	g.Messages, g.ids, g.routed = g.Messages[:0], g.ids[:0], g.routed[:0]
	g.Buf, g.Bytes, g.text, g.Base, g.End, g.Run = g.Buf[:0], 0, "", "", "", ""
	g.began = cap(g.Buf)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := g.memory(); p.bytes+n <= poolBytesMax {
		p.free = append(p.free, g)
		p.bytes += n
	}
}
