package meter

const (
	// mergeMax is how much of code that may be jumped over is charged with what
	// comes before it. More costs precision, less costs instructions.
	mergeMax = 64
	// straightMax is how much may run before the fuel is looked at, loops or not.
	straightMax = 8192
	// frameShift makes depth of size: 2^6 locals and instructions are a unit.
	frameShift = 6
)

// edit is a change to a function body: bytes at to end are replaced.
type edit struct {
	at, end int
	kind    editKind
	arg     uint32
}

type editKind uint8

const (
	editIndex  editKind = iota // by the index arg
	editReturn                 // by a branch to the label arg
	editCharge                 // an insertion: charge what segment arg costs
	editBulk                   // an insertion: charge for the bytes whose number is on top of the stack
	editTable                  // likewise, for entries of a table
	editFlush                  // an insertion: the fuel goes from the local to the global
	editReload                 // an insertion: and back
	editWide                   // by the operation of kind arg, in pieces if it is large
)

// segment is code that runs from its beginning to its end, or not to its end.
// It is charged where it begins, or, if it is small, where a segment begins
// that always runs before it.
type segment struct {
	cost   int64 // with what was taken over
	taken  int64 // from others
	into   int32 // the segment that it is charged with; itself
	header bool  // the fuel is looked at here
}

// control is a block, loop or if that is open; the first is the function.
type control struct {
	op     byte
	before int32 // the segment that it began in
	dead   bool  // it can't be reached
}

// scanner takes function bodies apart, one after another.
type scanner struct {
	m *module
	r reader
	l Limits

	locals       int // parameters included
	edits        []edit
	segs         []segment
	open         []control
	now          int32 // the segment in hand
	first        int32 // of a loop that the function begins with, which pays for the entry; or 0
	dead         bool  // what follows can't be reached
	calls        bool  // the function calls others
	bulks        bool
	targets      int // of all br_tables
	results      int // the most that a block has
	instructions int
	instrAt      int // where the first one is
	endAt        int // where the last one, its end, is
}

// scan reads the body of a function, which is p[at:].
func (s *scanner) scan(p []byte, at int, t funcType) error {
	s.r = reader{p: p, at: at}
	s.edits, s.segs, s.open = s.edits[:0], s.segs[:0], s.open[:0]
	s.dead, s.calls, s.bulks, s.instructions = false, false, false, 0
	s.first, s.targets, s.results = 0, 0, len(t.results)
	s.locals = len(t.params) + s.declarations()
	s.instrAt = s.r.at
	s.begin(-1, s.r.at)
	s.segs[0].header, s.segs[0].into = true, 0
	s.open = append(s.open, control{op: opBlock})
	for s.r.err == nil && len(s.open) > 0 {
		s.instruction()
	}
	if s.r.more() {
		s.r.refuse("code behind the end of a function")
	}
	if w := s.work(); w > s.l.Work {
		s.r.refuse("a function takes about %d units of work to compile, branches times locals; the limit is %d: build with optimisation, or split it", w, s.l.Work)
	}
	return s.r.err
}

// declarations reads how many locals there are.
func (s *scanner) declarations() int {
	total := uint64(0)
	for n := s.r.count("groups of locals", s.l.Locals); n > 0 && s.r.err == nil; n-- {
		total += uint64(s.r.u32())
		s.r.valueType()
		if total > uint64(s.l.Locals) {
			s.r.refuse("a function has more than %d locals", s.l.Locals)
		}
	}
	return int(total)
}

func (s *scanner) instruction() {
	r := &s.r
	at := r.at
	op := r.u8()
	s.instructions++
	switch op {
	case opBlock, opLoop, opIf:
		s.blockType()
		s.enter(op)
	case opElse:
		c := &s.open[len(s.open)-1]
		if c.op != opIf {
			r.refuse("else without if")
			return
		}
		c.op = opElse
		s.join(*c)
	case opEnd:
		s.leave(at)
	case opBr, opBrIf:
		s.label()
		s.pay(weightPlain)
		s.branch(op == opBr)
	case opBrTable:
		n := r.count("targets of br_table", s.l.Targets) + 1
		for s.targets += n; n > 0 && r.err == nil; n-- {
			s.label()
		}
		s.pay(weightBrTable)
		s.branch(true)
	case opReturn:
		s.edits = append(s.edits, edit{at, r.at, editReturn, uint32(len(s.open) - 1)})
		s.branch(true)
	case opUnreachable:
		s.handOver(editFlush, at)
		s.branch(true)
	case opCall, opRefFunc:
		s.function(op, at)
	case opCallIndirect:
		s.handOver(editFlush, at)
		r.index("type", len(s.m.types))
		r.u32()
		s.calls = true
		s.handOver(editReload, r.at)
		s.pay(weightIndirect)
	default:
		s.pay(s.plain(op, at))
	}
}

// blockType reads the type of a block: nothing, a value, or a function's type.
func (s *scanner) blockType() {
	r := &s.r
	if r.more() {
		if t := r.p[r.at]; t == 0x40 || isValueType(t) {
			r.at++
			return
		}
	}
	at := r.at
	if b := r.u8(); b&0xc0 == 0x40 {
		r.unsupported(at, FeatureOfType(b), "block of type %#x", b)
		return
	}
	r.at = at
	i := r.index("type", len(s.m.types))
	if r.err == nil {
		s.results = max(s.results, len(s.m.types[i].params)+len(s.m.types[i].results))
	}
	if r.err == nil && r.p[r.at-1]&0x40 != 0 { // a signed number: this one is negative
		r.unsupported(at, Unknown, "block of a negative type")
	}
}

// label reads the target of a branch. It must be one: the rewritten function
// has a label more.
func (s *scanner) label() { s.r.index("label", len(s.open)) }

// function reads the index in call and ref.func.
func (s *scanner) function(op byte, at int) {
	i := s.r.index("function", len(s.m.funcs))
	weight := int64(weightPlain)
	if op == opCall {
		s.handOver(editFlush, at)
		weight = weightCall
		if int(i) < s.m.imported {
			weight = weightHost
		}
		s.calls = s.calls || int(i) >= s.m.imported
	}
	s.edits = append(s.edits, edit{at + 1, s.r.at, editIndex, s.m.shifted(i)})
	if op == opCall {
		s.handOver(editReload, s.r.at)
	}
	s.pay(weight)
}

// handOver files an insertion for a function that keeps the fuel in a local:
// others look for it in the global.
func (s *scanner) handOver(kind editKind, at int) {
	if !s.dead {
		s.edits = append(s.edits, edit{at, at, kind, 0})
	}
}

// begin begins a segment, before which the segment dominator always runs.
func (s *scanner) begin(dominator int32, at int) {
	s.now = int32(len(s.segs))
	s.segs = append(s.segs, segment{into: dominator})
	s.charge(editCharge, at)
}

// charge files an insertion.
func (s *scanner) charge(kind editKind, at int) {
	if !s.dead {
		s.edits = append(s.edits, edit{at, at, kind, uint32(s.now)})
		s.bulks = s.bulks || kind == editBulk || kind == editTable
	}
}

// wide files an operation that may have to be done in pieces.
func (s *scanner) wide(at int, kind uint32) {
	s.charge(editBulk, at)
	if !s.dead {
		s.edits = append(s.edits, edit{at, s.r.at, editWide, kind})
	}
}

// finish decides where the segment in hand is charged.
func (s *scanner) finish() {
	g := &s.segs[s.now]
	if g.header {
		return
	}
	d := &s.segs[s.segs[g.into].into]
	if d.taken+g.cost <= mergeMax {
		g.into = s.segs[g.into].into
		d.taken += g.cost
		d.cost += g.cost
		return
	}
	g.into = s.now
}

// pay adds an instruction to the segment in hand. A long one is cut, so that
// the fuel is looked at now and then.
func (s *scanner) pay(cost int64) {
	if s.dead {
		return
	}
	if g := &s.segs[s.now]; g.cost+cost > straightMax {
		s.finish()
		s.begin(s.now, s.r.at)
		s.header()
	}
	s.segs[s.now].cost += cost
}

// header makes the segment in hand one where the fuel is looked at.
func (s *scanner) header() {
	s.segs[s.now].header, s.segs[s.now].into = true, s.now
}

// enter opens a block, loop or if.
func (s *scanner) enter(op byte) {
	s.open = append(s.open, control{op, s.now, s.dead})
	if len(s.open) > s.l.Nesting {
		s.r.refuse("blocks are nested deeper than %d", s.l.Nesting)
	}
	if s.dead {
		return
	}
	switch op {
	case opLoop:
		s.finish()
		entry := s.now == 0
		s.begin(s.now, s.r.at)
		s.header()
		if entry && s.first == 0 { // as all of Go's functions begin
			s.first = s.now
			s.segs[s.now].cost, s.segs[0].cost = s.segs[0].cost, 0
		}
	case opIf:
		s.pay(weightPlain)
		s.finish()
		s.begin(s.now, s.r.at)
	}
}

// branch ends a segment: control may go elsewhere, or must.
func (s *scanner) branch(always bool) {
	if s.dead {
		return
	}
	s.finish()
	if always {
		s.dead = true
		return
	}
	s.begin(s.now, s.r.at)
}

// leave closes a block, loop, if or the function.
func (s *scanner) leave(at int) {
	c := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	if len(s.open) == 0 {
		if !s.dead {
			s.finish()
		}
		s.endAt = at
		return
	}
	s.join(c)
}

// join begins the segment behind an else or an end. Nothing branched if it is
// still the same.
func (s *scanner) join(c control) {
	if c.dead {
		return
	}
	if !s.dead {
		if s.now == c.before {
			return
		}
		s.finish()
	}
	s.dead = false
	s.begin(c.before, s.r.at)
}
