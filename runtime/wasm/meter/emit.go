package meter

import "encoding/binary"

// emitter writes rewritten function bodies.
type emitter struct {
	m       *module
	fuel    uint32 // index of the global
	depth   uint32
	out     uint32 // index of the host's function
	scratch []byte
}

// function appends the body that s has scanned, p[at:], with its size.
//
// A function that calls others is wrapped in a block, so that whatever way it
// ends by, what it took from the depth is given back behind that block.
func (e *emitter) function(dst []byte, s *scanner, p []byte, at int, t funcType) []byte {
	o := e.locals(e.scratch[:0], s, p, at)
	size := int64(1 + (s.locals+s.instructions)>>frameShift)
	if s.calls {
		o = e.subtract(o, e.depth, size)
	}
	if s.first == 0 || s.segs[0].cost > 0 {
		o = e.subtract(o, e.fuel, max(s.segs[0].cost, 1))
	}
	if s.calls && s.first == 0 {
		o = e.look(o, true)
	}
	if s.calls {
		o = e.m.blockOf(append(o, opBlock), t.results)
	}
	from := s.instrAt
	for _, d := range s.edits {
		if d.kind == editReturn && !s.calls {
			continue
		}
		o = append(o, p[from:d.at]...)
		from = d.end
		switch d.kind {
		case editIndex:
			o = leb(o, d.arg)
		case editReturn:
			o = leb(append(o, opBr), d.arg)
		case editBulk:
			o = e.size(o, uint32(s.locals))
		case editWide:
			o = e.choose(o, d.arg, uint32(s.locals), p[d.at:d.end])
		case editCharge:
			if g := s.segs[d.arg]; d.arg > 0 && g.into == int32(d.arg) {
				o = e.subtract(o, e.fuel, max(g.cost, 1))
				if g.header {
					o = e.look(o, s.calls && d.arg == uint32(s.first))
				}
			}
		}
	}
	o = append(o, p[from:s.endAt]...)
	if s.calls {
		o = append(o, opEnd)
		o = leb(append(o, opGlobalGet), e.depth)
		o = append(sleb(append(o, opI64Const), size), opI64Add)
		o = leb(append(o, opGlobalSet), e.depth)
	}
	o = append(o, opEnd)
	e.scratch = o
	return append(leb(dst, uint32(len(o))), o...)
}

// locals copies the declarations, and adds one for the sizes of bulk operations.
func (e *emitter) locals(o []byte, s *scanner, p []byte, at int) []byte {
	if !s.bulks {
		return append(o, p[at:s.instrAt]...)
	}
	r := reader{p: p, at: at}
	o = leb(o, r.u32()+1)
	o = append(o, p[r.at:s.instrAt]...)
	return append(o, 1, typeI32)
}

// subtract takes n from a global.
func (e *emitter) subtract(o []byte, global uint32, n int64) []byte {
	o = leb(append(o, opGlobalGet), global)
	o = append(sleb(append(o, opI64Const), n), opI64Sub)
	return leb(append(o, opGlobalSet), global)
}

// look calls the host when the fuel is below zero, or the depth.
func (e *emitter) look(o []byte, depth bool) []byte {
	o = leb(append(o, opGlobalGet), e.fuel)
	if depth { // its sign in the fuel's
		o = append(leb(append(o, opGlobalGet), e.depth), opI64Or)
	}
	o = append(o, opI64Const, 0, opI64LtS, opIf, 0x40)
	o = leb(append(o, opGlobalGet), e.fuel)
	o = leb(append(o, opGlobalGet), e.depth)
	o = leb(append(o, opCall), e.out)
	return append(leb(append(o, opGlobalSet), e.fuel), opEnd)
}

// size charges for the size on top of the stack, which stays there.
func (e *emitter) size(o []byte, local uint32) []byte {
	o = leb(append(o, opLocalTee), local)
	o = leb(append(o, opGlobalGet), e.fuel)
	o = leb(append(o, opLocalGet), local)
	o = append(o, opI64ExtendU, opI64Const, bulkBytesShift, opI64ShrU, opI64Sub)
	return e.look(leb(append(o, opGlobalSet), e.fuel), false)
}

func leb(o []byte, v uint32) []byte { return binary.AppendUvarint(o, uint64(v)) }

func sleb(o []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(o, b)
		}
		o = append(o, b|0x80)
	}
}
