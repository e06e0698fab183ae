package meter

// wideBytes is what one memory.fill or memory.copy may handle at once. It can't
// be interrupted, and 64 MiB that were never touched take 20 ms. More is done by a
// function that the module is given, piece by piece, with a look after each.
//
// memory.init has no such function: what it copies from is a passive segment,
// which vetting bounds. Tables are bounded by themselves.
const wideBytes = 256 << 10

// wide are the operations that are done in pieces.
const (
	wideFill = iota
	wideCopy
	wideEnd
)

// Locals of both functions are their parameters.
const (
	wideTo   = iota
	wideFrom // or the value
	wideSize
)

// wideFunc returns the index of a module's function for an operation, which it
// gets the first time.
func (m *module) wideFunc(kind uint32) uint32 {
	if m.wide[kind] == 0 {
		if len(m.wides) == 0 {
			m.wideType = m.addType("\x03\x7f\x7f\x7f\x00")
		}
		m.wide[kind] = uint32(len(m.funcs) + 1 + len(m.wides))
		m.wides = append(m.wides, kind)
	}
	return m.wide[kind]
}

// choose does an operation in the way that its size asks for. The operands are on
// the stack, the size in the local as well.
func (e *emitter) choose(o []byte, kind, size uint32, operation []byte) []byte {
	o = sleb(append(leb(append(o, opLocalGet), size), opI32Const), wideBytes)
	f := e.m.wideFunc(kind)
	o = sleb(append(o, opI32GtU, opIf), int64(e.m.wideType))
	o = e.reload(leb(append(e.flush(o), opCall), f))
	o = append(o, opElse)
	return append(append(o, operation...), opEnd)
}

// wideBodies appends the functions that the module was given.
func (e *emitter) wideBodies(dst []byte) []byte {
	for _, kind := range e.m.wides {
		body := e.upwards([]byte{0}, []byte{opBulk, 11, 0})
		if kind == wideCopy {
			operation := []byte{opBulk, 10, 0, 0}
			// What is copied to a higher address may overlap, and goes from its end.
			body = append([]byte{0, opLocalGet, wideTo, opLocalGet, wideFrom, opI32GtU, opIf, 0x40}, e.downwards(nil, operation)...)
			body = e.upwards(append(body, opElse), operation)
			body = append(body, opEnd)
		}
		body = append(body, opEnd)
		dst = append(leb(dst, uint32(len(body))), body...)
	}
	return dst
}

// upwards does pieces from the beginning, then the rest.
func (e *emitter) upwards(o, operation []byte) []byte {
	o = append(o, opLoop, 0x40)
	o = append(o, opLocalGet, wideTo, opLocalGet, wideFrom)
	o = append(sleb(append(o, opI32Const), wideBytes), operation...)
	o = step(o, wideTo, opI32Add)
	if operation[1] == 10 {
		o = step(o, wideFrom, opI32Add)
	}
	return e.rest(step(o, wideSize, opI32Sub), operation)
}

// downwards does pieces from the end, then the rest.
func (e *emitter) downwards(o, operation []byte) []byte {
	o = step(append(o, opLoop, 0x40), wideSize, opI32Sub)
	for _, local := range []byte{wideTo, wideFrom} {
		o = append(o, opLocalGet, local, opLocalGet, wideSize, opI32Add)
	}
	return e.rest(append(sleb(append(o, opI32Const), wideBytes), operation...), operation)
}

// rest looks, begins the loop again while a whole piece is left, and does what is
// left then.
func (e *emitter) rest(o, operation []byte) []byte {
	o = leb(append(o, opGlobalGet), e.fuel)
	o = leb(append(o, opGlobalGet), e.depth)
	o = leb(append(o, opCall), e.out)
	o = leb(append(o, opGlobalSet), e.fuel)
	o = sleb(append(o, opLocalGet, wideSize, opI32Const), wideBytes)
	o = append(o, opI32GtU, opBrIf, 0, opEnd)
	o = append(o, opLocalGet, wideTo, opLocalGet, wideFrom, opLocalGet, wideSize)
	return append(o, operation...)
}

// step moves a local by a piece.
func step(o []byte, local, op byte) []byte {
	o = sleb(append(o, opLocalGet, local, opI32Const), wideBytes)
	return append(o, op, opLocalSet, local)
}
