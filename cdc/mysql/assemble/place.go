package assemble

import (
	"fmt"
	"math"
	"time"

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

	born      uint32 // when the server began the file; 0 while not known
	boundBorn uint32 // when it began boundFile

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
		l.boundBorn = p.Born
	}
	return l
}

// position returns the boundary.
func (l *place) position() *position.Position {
	p := &position.Position{Flavor: l.flavor, File: l.boundFile, Pos: l.boundPos, GTIDs: l.set, Server: l.server, Born: l.boundBorn,
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

// servedBy says which server the events come from. Its files are not those of
// another one: with GTIDs, where the file does not decide, they are forgotten.
func (l *place) servedBy(server string) {
	if l.server != "" && l.server != server && l.set != nil {
		l.file, l.boundFile, l.boundPos, l.boundBorn, l.from = "", "", 0, 0, 0
	}
	l.server = server
	l.as = 0 // not as it was encoded
}

// bound makes the place behind the last event the boundary.
func (l *place) bound() {
	if l.boundFile == l.file && l.boundPos == l.pos || l.passed() {
		return
	}
	if l.boundFile != l.file || l.pos <= math.MaxUint32 {
		l.from = min(l.pos, math.MaxUint32)
	}
	l.boundFile, l.boundPos, l.boundBorn = l.file, l.pos, l.born
	l.moved++
}

// passed reports whether the boundary is beyond the place: where GTIDs decide, a
// server sends the head of the file in which it begins to look, and passes over
// what is executed. A boundary never steps back.
func (l *place) passed() bool {
	if l.set == nil || l.boundFile == "" {
		return false
	}
	c, err := position.Compare(l.file, l.pos, l.boundFile, l.boundPos)
	return err == nil && c < 0
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
	if l.file != file {
		l.born = 0
	}
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

// CodeReplaced is the code of the fault for a log that is not the one that was
// read before, although its files have the same names.
const CodeReplaced = "log_replaced"

// HintReplaced is the way out of it.
const HintReplaced = "find out who reset the log or restored the server; then begin anew: give the pipeline and its stream new names, " +
	"and copy the followed tables' content"

// Replaced says in a sentence that a file is not the one that was read.
func Replaced(file string, born, before uint32) error {
	clock := func(seconds uint32) string { return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339) }
	return fmt.Errorf("the server began %s at %s; the file of that name in which reading stopped was begun at %s", file, clock(born), clock(before))
}

// begun takes note of when the file that is read was begun, which its format
// description tells. A server whose log was reset (RESET BINARY LOGS AND GTIDS,
// RESET MASTER), or that was restored from a backup, counts its files and its
// GTIDs anew: their names say nothing then, but the time does.
func (a *Assembler) begun(h binlog.Header) error {
	l := &a.at
	if a.o.Files {
		return nil
	}
	if l.boundBorn != 0 && l.file == l.boundFile && h.Timestamp != l.boundBorn {
		return a.fault(CodeReplaced, HintReplaced, "%w", Replaced(l.file, h.Timestamp, l.boundBorn))
	}
	l.born = h.Timestamp
	if l.file == l.boundFile && l.boundBorn == 0 {
		l.boundBorn, l.as = l.born, 0
	}
	return nil
}
