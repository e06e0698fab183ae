package pipeline

import (
	"sync"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

const (
	poolGroupsMax = 16
	poolBytesMax  = 1 << 20 // a group that grew beyond is not kept
)

// group is a sink.Group with what the renderer needs to make it.
type group struct {
	sink.Group
	ids    []span // transaction id of each message
	routed []span // subject of each message, where a connector gave one
}

// pool keeps groups for reuse. The sink gives one back by Group.Done.
type pool struct {
	mu   sync.Mutex
	free []*group
}

func (p *pool) get() *group {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		g := p.free[n-1]
		p.free = p.free[:n-1]
		return g
	}
	g := &group{}
	g.Done = func() { p.put(g) }
	return g
}

func (p *pool) put(g *group) {
	if cap(g.Buf) > poolBytesMax {
		return
	}
	clear(g.Messages)
	g.Messages, g.ids, g.routed = g.Messages[:0], g.ids[:0], g.routed[:0]
	g.Buf, g.Bytes = g.Buf[:0], 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < poolGroupsMax {
		p.free = append(p.free, g)
	}
}
