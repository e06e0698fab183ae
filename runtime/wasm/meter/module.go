package meter

import "bytes"

// What a metered module asks of its host, and shows it.
const (
	// HostModule and HostFunc name the function (fuel i64, depth i64) -> i64 that
	// a metered module imports. It is called when one of the two is below zero,
	// and returns the fuel to go on with; depth below zero is a recursion that
	// has no end. The host ends the module by not returning.
	HostModule, HostFunc = "cdcd:meter", "out"
	// FuelGlobal is the exported global, a mutable i64, that holds what is left.
	// It is 0 in a new instance.
	FuelGlobal = "cdcd:fuel"
	// reserved begins the names of exports that are the host's.
	reserved = "cdcd:"
	// DepthMax is how deep calls may nest, in units: a function takes one, and
	// one more for every 64 locals and instructions. A unit is at most about 512
	// bytes of the engine's stack.
	DepthMax = 32 << 10
)

// tableEntriesMax bounds what tables can grow to: the engine keeps them on the
// host's own heap.
const tableEntriesMax = 1 << 16

const (
	typeI32 = 0x7f
	typeI64 = 0x7e
	typeF64 = 0x7c
)

// Numbers of sections, in the order that the format wants them in.
const (
	secCustom   = 0
	secType     = 1
	secImport   = 2
	secFunction = 3
	secTable    = 4
	secMemory   = 5
	secGlobal   = 6
	secExport   = 7
	secStart    = 8
	secElement  = 9
	secCode     = 10
	secData     = 11
	secCount    = 12
)

var sectionsInOrder = [...]byte{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart,
	secElement, secCount, secCode, secData}

type funcType struct{ params, results []byte }

// span is where a section's content is; no section has none.
type span struct{ from, to int }

// module is what the rewriter knows of a module.
type module struct {
	p        []byte
	l        Limits
	sections [secCount + 1]span

	types    []funcType
	funcs    []uint32 // type of each, imported ones first
	imported int      // functions
	globals  int

	wide     [wideEnd]uint32 // the functions of operations that are done in pieces
	wides    []uint32        // their kinds, in order
	wideType uint32

	added   [][]byte          // types beyond the module's own
	results map[string]uint32 // of the types () -> results among them

	image *Image // nil for a module that begins by itself
	why   string // it can't be split, the first reason found
}

// Rewrite returns the module with its metering. Module must be of version 1.
// The error is a fault of class Config: module_unsupported names an
// instruction that can't be metered and where it is, module_refused says what
// is malformed or beyond a limit. A module that is invalid in other ways is rewritten to one that
// is invalid as well.
func Rewrite(p []byte, l Limits) ([]byte, error) {
	return (&module{p: p, l: l, results: map[string]uint32{}}).rewrite()
}

// rewrite makes the module out of its sections. Exports and data come last: what
// becomes of them depends on what the others have.
func (m *module) rewrite() ([]byte, error) {
	p := m.p
	if err := m.split(); err != nil {
		return nil, err
	}
	parts := [secCount + 1][]byte{}
	steps := []struct {
		id   byte
		make func(r *reader) []byte
	}{
		{secType, m.readTypes}, {secImport, m.rewriteImports}, {secFunction, m.readFunctions}, {secTable, m.rewriteTables},
		{secGlobal, m.rewriteGlobals}, {secElement, m.rewriteElements}, {secCode, m.rewriteCode},
		{secData, m.rewriteData}, {secStart, m.rewriteStart}, {secExport, m.rewriteExports},
	}
	for _, step := range steps {
		sec := m.sections[step.id]
		r := &reader{p: p[:sec.to], at: sec.from}
		parts[step.id] = step.make(r)
		if r.more() {
			r.refuse("bytes behind section %d", step.id)
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	parts[secType], parts[secFunction] = m.allTypes(), m.allFunctions()
	for _, id := range []byte{secMemory, secCount} {
		parts[id] = p[m.sections[id].from:m.sections[id].to]
	}
	if m.image != nil {
		parts[secCount] = nil // no instruction asks for it
	}
	size := 8
	for _, part := range parts {
		size += 6 + len(part)
	}
	out := append(make([]byte, 0, size), p[:8]...)
	for _, id := range sectionsInOrder {
		if len(parts[id]) > 0 {
			out = append(leb(append(out, id), uint32(len(parts[id]))), parts[id]...)
		}
	}
	return out, nil
}

// split finds the sections. Custom ones, among them the names of functions
// whose numbers change, are left out.
func (m *module) split() error {
	r := &reader{p: m.p}
	r.skip(8)
	last := -1
	for r.more() {
		id := r.u8()
		size := r.u32()
		from := r.at
		r.skip(int(size))
		if id == secCustom {
			continue
		}
		order := bytes.IndexByte(sectionsInOrder[:], id)
		if order <= last || size == 0 {
			r.refuse("section %d is unknown, empty, repeated or out of order", id)
			break
		}
		last = order
		m.sections[id] = span{from, r.at}
	}
	return r.err
}

// length reads how many elements a section has: none if it is not there.
func (r *reader) length(what string) int {
	if !r.more() {
		return 0
	}
	return r.count(what, 1<<20)
}

// shifted returns a function's index behind the added import.
func (m *module) shifted(i uint32) uint32 {
	if int(i) >= m.imported {
		return i + 1
	}
	return i
}

func (m *module) readTypes(r *reader) []byte {
	for n := r.length("types"); n > 0 && r.err == nil; n-- {
		at := r.at
		if form := r.u8(); form != 0x60 {
			r.unsupported(at, FeatureOfType(form), "type of the form %#x", form)
		}
		m.types = append(m.types, funcType{r.vector(), r.vector()})
	}
	m.addType("\x02\x7e\x7e\x01\x7e") // of HostFunc
	return nil
}

// addType adds a type and returns its index.
func (m *module) addType(signature string) uint32 {
	m.added = append(m.added, append([]byte{0x60}, signature...))
	return uint32(len(m.types) + len(m.added) - 1)
}

// blockOf appends the type of a block that gives the results and takes nothing.
func (m *module) blockOf(o, results []byte) []byte {
	switch len(results) {
	case 0:
		return append(o, 0x40)
	case 1:
		return append(o, results[0])
	}
	i, ok := m.results[string(results)]
	if !ok {
		i = m.addType(string(append(leb([]byte{0}, uint32(len(results))), results...)))
		m.results[string(results)] = i
	}
	return sleb(o, int64(i))
}

// allTypes returns the section of types with those that were added.
func (m *module) allTypes() []byte {
	o := leb(nil, uint32(len(m.types)+len(m.added)))
	if sec := m.sections[secType]; sec.to > sec.from {
		r := &reader{p: m.p[:sec.to], at: sec.from}
		r.u32()
		o = append(o, m.p[r.at:sec.to]...)
	}
	for _, t := range m.added {
		o = append(o, t...)
	}
	return o
}

// allFunctions returns the section of functions with those that were added.
func (m *module) allFunctions() []byte {
	sec := m.sections[secFunction]
	if len(m.wides) == 0 {
		return m.p[sec.from:sec.to]
	}
	o := leb(make([]byte, 0, sec.to-sec.from+16), uint32(len(m.funcs)-m.imported+len(m.wides)))
	r := &reader{p: m.p[:sec.to], at: sec.from}
	r.u32()
	o = append(o, m.p[r.at:sec.to]...)
	for range m.wides {
		o = leb(o, m.wideType)
	}
	return o
}

func (m *module) addFunction(r *reader) {
	m.funcs = append(m.funcs, r.index("type", len(m.types)))
}

func (m *module) rewriteImports(r *reader) []byte {
	n := r.length("imports")
	from := r.at
	for range n {
		r.vector()
		r.vector()
		at := r.at
		if kind := r.u8(); kind != 0 {
			r.unsupported(at, Unknown, "import of kind %d", kind)
		}
		if m.addFunction(r); r.err != nil {
			return nil
		}
	}
	m.imported = n
	o := append(leb(nil, uint32(n+1)), m.p[from:r.at]...)
	o = append(leb(o, uint32(len(HostModule))), HostModule...)
	o = append(leb(o, uint32(len(HostFunc))), HostFunc...)
	return leb(append(o, 0), uint32(len(m.types)))
}

func (m *module) readFunctions(r *reader) []byte {
	for n := r.length("functions"); n > 0 && r.err == nil; n-- {
		m.addFunction(r)
	}
	return nil
}

// rewriteTables bounds what tables can grow to.
func (m *module) rewriteTables(r *reader) []byte {
	n := r.length("tables")
	if n == 0 {
		return nil
	}
	o := leb(nil, uint32(n))
	for ; n > 0 && r.err == nil; n-- {
		o = append(o, r.valueType())
		at := r.at
		flag := r.u8()
		if flag > 1 {
			r.unsupported(at, FeatureOfLimits(flag), "limits of kind %d", flag)
		}
		least, most := r.u32(), uint32(1<<32-1)
		if flag == 1 {
			most = r.u32()
		}
		if most >= least { // otherwise it is for the engine to refuse
			most = min(most, max(least, tableEntriesMax))
		}
		o = leb(leb(append(o, 1), least), most)
	}
	return o
}

func (m *module) rewriteGlobals(r *reader) []byte {
	m.globals = r.length("globals")
	o := leb(nil, uint32(m.globals+2))
	for n := m.globals; n > 0 && r.err == nil; n-- {
		from := r.at
		t := r.valueType()
		mutable := r.u8() == 1
		o = append(o, m.p[from:r.at]...)
		o = m.constant(o, r)
		m.keepGlobal(uint32(m.globals-n), t, mutable)
	}
	o = append(o, typeI64, 1, opI64Const, 0, opEnd)                         // the fuel
	return append(sleb(append(o, typeI64, 1, opI64Const), DepthMax), opEnd) // the depth
}

// constant rewrites a constant expression: one instruction.
func (m *module) constant(o []byte, r *reader) []byte {
	from := r.at
	switch op := r.u8(); op {
	case opI32Const:
		r.number(5)
	case opI64Const:
		r.number(10)
	case opF32Const:
		r.skip(4)
	case opF64Const:
		r.skip(8)
	case opGlobalGet:
		r.index("global", m.globals)
	case opRefNull:
		at := r.at
		if t := r.u8(); !isRefType(t) {
			r.unsupported(at, FeatureOfType(t), "reference of type %#x", t)
		}
	case opRefFunc:
		i := r.index("function", len(m.funcs))
		o = leb(append(o, op), m.shifted(i))
		from = r.at
	case opVector:
		if at := r.at; r.u8() != vectorConst {
			r.unsupported(at, Unknown, "vector instruction in a constant")
		}
		r.skip(16)
	default:
		r.unsupported(from, featureOf(op), "opcode %#02x in a constant", op)
	}
	if at := r.at; r.u8() != opEnd {
		r.unsupported(at, ExtendedConst, "constant of more than one instruction")
	}
	if r.err != nil {
		return o
	}
	return append(o, m.p[from:r.at]...)
}

func (m *module) rewriteExports(r *reader) []byte {
	n := r.length("exports")
	own := m.imageExports()
	o := leb(nil, uint32(n+1+len(own)))
	for ; n > 0 && r.err == nil; n-- {
		name := r.vector()
		if bytes.HasPrefix(name, []byte(reserved)) {
			r.refuse("the name %.64q is the host's", name)
		}
		kind, i := r.u8(), r.u32()
		if kind == 0 {
			if uint64(i) >= uint64(len(m.funcs)) {
				r.refuse("function %d of %d", i, len(m.funcs))
			}
			i = m.shifted(i)
		} else if kind == 3 && uint64(i) >= uint64(m.globals) {
			r.refuse("global %d of %d", i, m.globals)
		}
		o = append(leb(o, uint32(len(name))), name...)
		o = leb(append(o, kind), i)
	}
	for _, e := range append(own, export{FuelGlobal, 3, uint32(m.globals)}) {
		o = append(leb(o, uint32(len(e.name))), e.name...)
		o = leb(append(o, e.kind), e.index)
	}
	return o
}

// rewriteElements rewrites the eight forms of element segments.
func (m *module) rewriteElements(r *reader) []byte {
	n := r.length("element segments")
	if n == 0 {
		return nil
	}
	o := leb(nil, uint32(n))
	for elements := 0; n > 0 && r.err == nil; n-- {
		at := r.at
		form := r.u32()
		if form > 7 {
			r.unsupported(at, Unknown, "element segment of form %d", form)
			return nil
		}
		o = leb(o, form)
		if form&1 == 0 { // active: a table and an offset
			if form&2 != 0 {
				o = leb(o, r.u32())
			}
			o = m.constant(o, r)
		}
		if form&3 != 0 { // functions, or a type of references
			o = append(o, r.u8())
		}
		k := r.count("elements", m.l.Elements-elements)
		elements += k
		o = leb(o, uint32(k))
		for ; k > 0 && r.err == nil; k-- {
			if form&4 != 0 {
				o = m.constant(o, r)
			} else {
				o = leb(o, m.shifted(r.index("function", len(m.funcs))))
			}
		}
	}
	return o
}

func (m *module) rewriteCode(r *reader) []byte {
	n := r.length("bodies")
	if n != len(m.funcs)-m.imported {
		r.refuse("%d bodies for %d functions", n, len(m.funcs)-m.imported)
		return nil
	}
	if n == 0 {
		return nil
	}
	e := &emitter{m: m, fuel: uint32(m.globals), depth: uint32(m.globals) + 1, out: uint32(m.imported)}
	s := &scanner{m: m, l: m.l}
	locals, work := 0, 0
	o := make([]byte, 0, len(r.p)-r.at+(len(r.p)-r.at)/4)
	for i := range n {
		size := r.u32()
		from := r.at
		if r.skip(int(size)); uint64(size) > uint64(m.l.BodyBytes) {
			r.refuse("a function has %d bytes; the limit is %d", size, m.l.BodyBytes)
		}
		if r.err != nil {
			return nil
		}
		t := m.types[m.funcs[m.imported+i]]
		if r.err = s.scan(m.p[:r.at], from, t); r.err != nil {
			return nil
		}
		if locals += s.locals; locals > m.l.LocalsTotal {
			r.refuse("the functions have more than %d locals", m.l.LocalsTotal)
		}
		if work += s.work(); work > m.l.WorkTotal {
			r.refuse("the module takes more than %d units of work to compile, branches times locals: build with optimisation, or split the connector", m.l.WorkTotal)
		}
		o = e.function(o, s, m.p, from, t)
	}
	o = e.wideBodies(o)
	return append(leb(make([]byte, 0, len(o)+5), uint32(n+len(m.wides))), o...)
}
