package state

import (
	"bytes"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// CodeGapsFull is the code of the fault of a ledger of gaps that is full.
const CodeGapsFull = "gaps_full"

// GapsMax is how many gaps one pipeline keeps. They are what a person has to
// repair, and are never forgotten to make room.
const GapsMax = 1000

// Gaps is a pipeline's ledger of what its source could not deliver:
// cdc.GapLedger. A record's form is the source's own.
type Gaps struct{ p *Pipeline }

// Gaps returns the ledger of gaps.
func (p *Pipeline) Gaps() *Gaps { return &Gaps{p} }

// Put makes a record durable before it returns. The same key again leaves the
// first record as it is. Fault: gaps_full.
func (g *Gaps) Put(key string, record []byte) error {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	k := gapKey(p.name, key)
	_, known, err := p.s.get(k)
	if err != nil || known {
		return err
	}
	if len(p.gaps) >= GapsMax {
		return fault.New(fault.Fatal, CodeGapsFull, p.name,
			"repair what the ledger lists (status, gaps), and begin anew: give the pipeline and its stream new names",
			"%d gaps are on record, which is the limit", len(p.gaps))
	}
	if err := p.set(k, append([]byte{valueVersion}, record...)); err != nil {
		return err
	}
	p.gaps = append(p.gaps, bytes.Clone(record))
	return nil
}

// List returns all records: those of earlier runs by key, then those of this
// one as they were put. They must not be changed.
func (g *Gaps) List() [][]byte {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	return g.p.gaps[:len(g.p.gaps):len(g.p.gaps)]
}

// loadGaps reads the records of earlier runs.
func (p *Pipeline) loadGaps() error {
	return p.s.each(pipelineKey(p.name, kindGap), func(_, v []byte) error {
		if len(v) == 0 || v[0] != valueVersion {
			return p.s.corrupt(fmt.Errorf("gap of %s: %w", p.name, errValue))
		}
		p.gaps = append(p.gaps, bytes.Clone(v[1:]))
		return nil
	})
}
