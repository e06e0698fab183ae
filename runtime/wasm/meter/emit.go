package meter

import "encoding/binary"

// emitter writes rewritten function bodies.
type emitter struct {
	m       *module
	fuel    uint32 // index of the global
	depth   uint32
	out     uint32 // index of the host's function
	local   int    // where the function in hand keeps the fuel; -1 is the global
	scratch []byte
}

// function appends the body that s has scanned, p[at:], with its size.
//
// A function that calls others is wrapped in a block, so that whatever way it
// ends by, what it took from the depth is given back behind that block. One that
// charges more than once keeps the fuel in a local between its calls: a global is
// memory to the engine, and each charge would wait for the one before it to be
// written. Such a function is wrapped as well, and gives the fuel back there.
func (e *emitter) function(dst []byte, s *scanner, p []byte, at int, t funcType) []byte {
	e.local = -1
	if s.keeps() {
		e.local = s.locals
		if s.bulks {
			e.local++
		}
	}
	wrapped := s.calls || e.local >= 0
	o := e.locals(e.scratch[:0], s, p, at)
	size := int64(1 + (s.locals+s.instructions)>>frameShift)
	if s.calls {
		o = e.subtract(o, e.depth, size)
	}
	o = e.reload(o)
	if s.first == 0 || s.segs[0].cost > 0 {
		o = e.charge(o, max(s.segs[0].cost, 1))
	}
	switch {
	case s.calls && s.first == 0:
		o = e.look(o, true)
	case s.calls: // the fuel is looked at in the loop, many times; the depth changes here
		o = e.ask(leb(append(o, opGlobalGet), e.depth))
	}
	if wrapped {
		o = e.m.blockOf(append(o, opBlock), t.results)
	}
	from := s.instrAt
	for _, d := range s.edits {
		if d.kind == editReturn && !wrapped {
			continue
		}
		o = append(o, p[from:d.at]...)
		from = d.end
		o = e.edit(o, s, d, p)
	}
	o = append(o, p[from:s.endAt]...)
	if wrapped {
		o = append(o, opEnd)
	}
	o = e.flush(o)
	if s.calls {
		o = leb(append(o, opGlobalGet), e.depth)
		o = append(sleb(append(o, opI64Const), size), opI64Add)
		o = leb(append(o, opGlobalSet), e.depth)
	}
	o = append(o, opEnd)
	e.scratch = o
	return append(leb(dst, uint32(len(o))), o...)
}

// edit appends what stands in the place of a change to p.
func (e *emitter) edit(o []byte, s *scanner, d edit, p []byte) []byte {
	switch d.kind {
	case editIndex:
		return leb(o, d.arg)
	case editReturn:
		return leb(append(o, opBr), d.arg)
	case editBulk:
		return e.size(o, uint32(s.locals), bulkBytesShift)
	case editTable:
		return e.size(o, uint32(s.locals), bulkEntriesShift)
	case editWide:
		return e.choose(o, d.arg, uint32(s.locals), p[d.at:d.end])
	case editFlush:
		return e.flush(o)
	case editReload:
		return e.reload(o)
	}
	if g := s.segs[d.arg]; d.arg > 0 && g.into == int32(d.arg) {
		o = e.charge(o, max(g.cost, 1))
		if g.header {
			o = e.look(o, false)
		}
	}
	return o
}

// keeps reports whether a function keeps the fuel in a local: if it charges
// more than once beyond its beginning.
func (s *scanner) keeps() bool {
	charges := 0
	for i := 1; i < len(s.segs); i++ {
		if s.segs[i].into == int32(i) {
			charges++
		}
	}
	return charges > 1
}

// locals copies the declarations, and adds one for the sizes of bulk operations
// and one for the fuel.
func (e *emitter) locals(o []byte, s *scanner, p []byte, at int) []byte {
	r := reader{p: p, at: at}
	groups := r.u32()
	if s.bulks {
		groups++
	}
	if e.local >= 0 {
		groups++
	}
	o = leb(o, groups)
	o = append(o, p[r.at:s.instrAt]...)
	if s.bulks {
		o = append(o, 1, typeI32)
	}
	if e.local >= 0 {
		o = append(o, 1, typeI64)
	}
	return o
}

// charge takes n from the fuel.
func (e *emitter) charge(o []byte, n int64) []byte {
	if e.local < 0 {
		return e.subtract(o, e.fuel, n)
	}
	o = e.get(o)
	return e.set(append(sleb(append(o, opI64Const), n), opI64Sub))
}

// subtract takes n from a global.
func (e *emitter) subtract(o []byte, global uint32, n int64) []byte {
	o = leb(append(o, opGlobalGet), global)
	o = append(sleb(append(o, opI64Const), n), opI64Sub)
	return leb(append(o, opGlobalSet), global)
}

// get and set are the fuel's, wherever the function keeps it.
func (e *emitter) get(o []byte) []byte {
	if e.local >= 0 {
		return leb(append(o, opLocalGet), uint32(e.local))
	}
	return leb(append(o, opGlobalGet), e.fuel)
}

func (e *emitter) set(o []byte) []byte {
	if e.local >= 0 {
		return leb(append(o, opLocalSet), uint32(e.local))
	}
	return leb(append(o, opGlobalSet), e.fuel)
}

// flush brings the fuel from the local to the global.
func (e *emitter) flush(o []byte) []byte {
	if e.local < 0 {
		return o
	}
	return leb(append(e.get(o), opGlobalSet), e.fuel)
}

// reload brings it back.
func (e *emitter) reload(o []byte) []byte {
	if e.local < 0 {
		return o
	}
	return e.set(leb(append(o, opGlobalGet), e.fuel))
}

// look calls the host when the fuel is below zero, or the depth.
func (e *emitter) look(o []byte, depth bool) []byte {
	o = e.get(o)
	if depth { // its sign in the fuel's
		o = append(leb(append(o, opGlobalGet), e.depth), opI64Or)
	}
	return e.ask(o)
}

// ask calls the host if the number on the stack is below zero.
func (e *emitter) ask(o []byte) []byte {
	o = append(o, opI64Const, 0, opI64LtS, opIf, 0x40)
	o = e.flush(o) // the host may end the guest, and reads what it has left
	o = e.get(o)
	o = leb(append(o, opGlobalGet), e.depth)
	o = leb(append(o, opCall), e.out)
	return append(e.set(o), opEnd)
}

// size charges a unit for each 2^shift of the size on top of the stack, which stays
// there.
func (e *emitter) size(o []byte, local uint32, shift byte) []byte {
	o = leb(append(o, opLocalTee), local)
	o = e.get(o)
	o = leb(append(o, opLocalGet), local)
	o = append(o, opI64ExtendU, opI64Const, shift, opI64ShrU, opI64Sub)
	return e.look(e.set(o), false)
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
