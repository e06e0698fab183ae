package assemble

import (
	"sync"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	// poolMax bounds the builders that wait for use: as many as batches are read
	// ahead. More may be under way: the byte budget bounds those.
	poolMax = 6
	// keepBytesMax is the room of a builder that is kept.
	keepBytesMax = 4 * cdc.BatchBytesMax
)

// pool is a bounded free list of builders.
type pool struct {
	mu   sync.Mutex
	free []*sdk.Builder
}

// get returns an empty builder.
func (p *pool) get() *sdk.Builder {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b *sdk.Builder
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b = new(sdk.Builder)
	}
	b.Reset()
	return b
}

// put takes a builder back, unless it has grown large or enough are there.
func (p *pool) put(b *sdk.Builder) {
	if b.Cap() > keepBytesMax {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < poolMax {
		p.free = append(p.free, b)
	}
}
