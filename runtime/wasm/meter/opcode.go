package meter

// Opcodes that the meter looks at. https://webassembly.github.io/spec/core/binary/instructions.html
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32GtU       = 0x4b
	opI64LtS       = 0x53
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opBulk         = 0xfc
	opVector       = 0xfd

	vectorConst = 12 // under opVector
)

// What instructions are worth, in units of fuel: about what they take,
// relative to an addition. Instructions that only mark structure are free.
const (
	weightPlain      = 1
	weightDivide     = 8    // division, remainder, square root
	weightCall       = 4    // of a function of the module
	weightHost       = 200  // of a function of the host
	weightIndirect   = 8    // through a table
	weightBulk       = 16   // memory.copy and its like, and 1 for every 16 bytes that are written
	weightGrow       = 2000 // memory.grow, table.grow: the host maps memory
	bulkBytesShift   = 4    // 2^4 bytes cost a unit
	bulkEntriesShift = 1    // and so do 2^1 entries of a table, of 8 bytes each
	weightBrTable    = 2
	weightStructural = 0
)

// plain reads the immediates of an instruction that neither branches nor calls,
// and returns what it is worth.
func (s *scanner) plain(op byte, at int) int64 {
	r := &s.r
	switch {
	case op == opNop:
		return weightStructural
	case op == 0x1a || op == 0x1b: // drop, select
	case op == opSelectTyped:
		if n := r.u8(); n != 1 {
			r.unsupported(at, Unknown, "select of %d types", n)
		}
		r.valueType()
	case op >= opLocalGet && op <= opLocalTee:
		r.index("local", s.locals)
	case op == opGlobalGet || op == opGlobalSet:
		r.index("global", s.m.globals)
	case op == opTableGet || op == opTableSet:
		r.u32()
		if op == opTableSet {
			s.m.unsplittable("it writes to a table")
		}
	case op >= 0x28 && op <= 0x3e: // loads and stores
		s.memoryArgument()
	case op == opMemorySize:
		r.zero()
	case op == opMemoryGrow:
		r.zero()
		return weightGrow
	case op == opI32Const:
		r.number(5)
	case op == opI64Const:
		r.number(10)
	case op == opF32Const:
		r.skip(4)
	case op == opF64Const:
		r.skip(8)
	case op >= 0x45 && op <= 0xc4: // comparisons, arithmetic, conversions
		if op >= 0x6d && op <= 0x70 || op >= 0x7f && op <= 0x82 || op == 0x91 || op == 0x95 || op == 0x9f || op == 0xa3 {
			return weightDivide
		}
	case op == opRefNull:
		if t := r.u8(); !isRefType(t) {
			r.unsupported(at, FeatureOfType(t), "reference of type %#x", t)
		}
	case op == opRefIsNull:
	case op == opBulk:
		return s.bulk(at)
	case op == opVector:
		s.vector(at)
	default:
		r.unsupported(at, featureOf(op), "opcode %#02x", op)
	}
	return weightPlain
}

// memoryArgument reads alignment and offset. Engines differ in how they read
// an alignment that makes no sense, so that it is refused.
func (s *scanner) memoryArgument() {
	at := s.r.at
	if align := s.r.u32(); align > 4 {
		s.r.unsupported(at, OddAlignment, "alignment 2^%d", align)
	}
	s.r.u32()
}

// bulk reads an instruction behind the prefix 0xFC: saturating conversions, and
// operations on ranges of memories and tables, whose size is charged when they run.
func (s *scanner) bulk(at int) int64 {
	r := &s.r
	sub := r.u8()
	switch sub {
	case 0, 1, 2, 3, 4, 5, 6, 7: // trunc_sat
		return weightPlain
	case 8: // memory.init
		r.u32()
		r.zero()
		s.m.unsplittable("it uses its data segments later on")
	case 9, 13, 16: // data.drop, elem.drop, table.size
		r.u32()
		if sub != 16 {
			s.m.unsplittable("it drops segments")
		}
		return weightPlain
	case 10: // memory.copy
		r.zero()
		r.zero()
		s.wide(at, wideCopy)
		return weightBulk
	case 11: // memory.fill
		r.zero()
		s.wide(at, wideFill)
		return weightBulk
	case 12, 14: // table.init, table.copy
		r.u32()
		r.u32()
		s.m.unsplittable("it writes to a table")
		s.charge(editTable, at)
		return weightBulk
	case 15: // table.grow
		r.u32()
		s.charge(editTable, at)
		s.m.unsplittable("it writes to a table")
		return weightGrow
	case 17: // table.fill
		r.u32()
		s.m.unsplittable("it writes to a table")
		s.charge(editTable, at)
		return weightBulk
	default:
		r.unsupported(at, Unknown, "opcode 0xfc %#02x", sub)
		return 0
	}
	s.charge(editBulk, at)
	return weightBulk
}

// vector reads an instruction behind the prefix 0xFD. From 128 on the number
// has two bytes, of which some engines take the second for a nop: any other
// second byte is refused.
func (s *scanner) vector(at int) {
	r := &s.r
	sub := r.u8()
	if sub >= 0x80 && r.u8() != 1 {
		r.unsupported(at, RelaxedSIMD, "opcode 0xfd %#02x", sub)
		return
	}
	if !isVectorOp(sub) {
		r.unsupported(at, Unknown, "opcode 0xfd %#02x", sub)
		return
	}
	switch {
	case sub <= 11 || sub == 92 || sub == 93: // loads and a store
		s.memoryArgument()
	case sub == vectorConst || sub == 13: // const, shuffle
		r.skip(16)
	case sub >= 21 && sub <= 34: // lanes
		r.u8()
	case sub >= 84 && sub <= 91: // loads and stores of lanes
		s.memoryArgument()
		r.u8()
	}
}

// isVectorOp tells the numbers that stand for an instruction from the gaps
// between them.
func isVectorOp(sub byte) bool {
	switch sub {
	case 0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee:
		return false
	}
	return true
}
