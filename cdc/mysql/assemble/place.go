package assemble

import (
	"math"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/sdk"
)

// place is where the reading stands: behind the last event, and at the last
// boundary between transactions, which alone is ever given out.
type place struct {
	flavor gtid.Flavor
	server string
	file   string
	pos    uint64 // behind the last event, beyond 4 GiB too

	boundFile string
	boundPos  uint64
	from      uint64              // the last boundary of boundFile that a 32-bit position can name
	set       *gtid.Set           // executed at the boundary; nil while not known
	prepared  []position.Prepared // XA transactions that are open at the boundary; copied on change

	moved uint64       // counts the boundary's moves
	text  sdk.Position // of the boundary,
	as    uint64       // encoded at this count
}

func newPlace(p *position.Position) place {
	l := place{flavor: p.Flavor, server: p.Server, file: p.File, pos: uint64(p.Dump()), moved: 1,
		prepared: p.Prepared}
	if p.GTIDs != nil {
		l.set = p.GTIDs.Clone()
	}
	if p.File != "" {
		l.boundFile, l.boundPos, l.from = p.File, max(p.Pos, position.FirstPos), l.pos
	}
	return l
}

// position returns the boundary.
func (l *place) position() *position.Position {
	p := &position.Position{Flavor: l.flavor, File: l.boundFile, Pos: l.boundPos, GTIDs: l.set, Server: l.server,
		Prepared: l.prepared}
	if l.boundPos > math.MaxUint32 && l.set == nil {
		p.From = l.from
	}
	return p
}

// encode returns the boundary as text.
func (l *place) encode() sdk.Position {
	if l.as != l.moved {
		l.text, l.as = l.position().Encode(), l.moved
	}
	return l.text
}

// bound makes the place behind the last event the boundary.
func (l *place) bound() {
	if l.boundFile == l.file && l.boundPos == l.pos {
		return
	}
	if l.boundFile != l.file || l.pos <= math.MaxUint32 {
		l.from = min(l.pos, math.MaxUint32)
	}
	l.boundFile, l.boundPos = l.file, l.pos
	l.moved++
}

// commit makes the place behind the last event the boundary, with a
// transaction executed.
func (l *place) commit(id gtid.ID) {
	if l.set != nil && !id.IsZero() {
		l.set.Add(id)
		l.moved++
	}
	l.bound()
}

// rotate goes to another file. It is a boundary.
func (l *place) rotate(file string, pos uint64) {
	l.file, l.pos = file, pos
	l.bound()
}

// advance goes behind an event. The header has 32 bits of its end: a smaller
// number than before is a wrap, because one event is far below 4 GiB. MariaDB
// since 11.4 has no end in events that it cached; their sizes must do, until
// the event that ends the transaction tells.
func (l *place) advance(h binlog.Header) {
	const half = 1 << 31
	low := uint64(uint32(l.pos))
	at := uint64(h.LogPos)
	switch {
	case at == 0 && h.Flags&binlog.FlagArtificial == 0 && l.flavor == gtid.MariaDB:
		l.pos += uint64(h.Size)
	case at == 0 || h.Flags&binlog.FlagArtificial != 0:
	case at >= low && at-low < half:
		l.pos += at - low
	case low > at && low-at > half:
		l.pos += 1<<32 + at - low
	}
}

// start returns where an event begins whose end advance is yet to be told.
func (l *place) start(h binlog.Header) uint64 {
	end := *l
	end.advance(h)
	if h.LogPos != 0 && end.pos >= uint64(h.Size) {
		return end.pos - uint64(h.Size)
	}
	return l.pos
}
