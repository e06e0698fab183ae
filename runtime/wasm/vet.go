package wasm

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// survey is what one pass over an untrusted module learned: sizes, counts, and
// where what is read again lies. It holds no memory of its own.
type survey struct {
	moduleBytes  int
	types        int
	imports      int
	functions    int // without imported ones
	tables       int
	tableEntries int // of all tables, to begin with
	globals      int
	exports      int
	elements     int // segments
	data         int // segments
	customs      int

	body        int // bytes of the largest
	locals      int // of the function that has most, parameters not counted
	localsTotal int
	codeBytes   int
	dataBytes   int
	customBytes int

	memoryPagesMin uint32
	memoryPagesMax uint32 // 0 when the module names none
	saysGo         bool   // "producers" names Go as the language

	// The contents of sections, to be laid out once the survey is done.
	typeSection, importSection, functionSection, exportSection []byte
}

// vet walks an untrusted module before the compiler sees it, and refuses what
// could cost it more than the module's size warrants: a compiler trusts the counts
// that a module declares, and a file of 15 bytes can ask for 481 GB. The walk is
// one pass that allocates nothing; what the ABI asks is then laid out in memory
// that those counts bound. Function bodies are vetted by meter.Rewrite, within the
// limits of the module's policy.
func vet(module []byte) (*vetted, error) {
	var s survey
	if err := s.read(module); err != nil {
		return nil, err
	}
	return s.layOut(), nil
}

// read fills the survey.
func (s *survey) read(module []byte) error {
	s.moduleBytes = len(module)
	if len(module) > goPolicy.moduleBytes {
		return tooLarge(len(module), goPolicy)
	}
	if err := checkHeader(module); err != nil {
		return err
	}
	r := reader{p: module[8:]}
	last := 0
	for len(r.p) > 0 && r.err == nil {
		id := r.u8()
		content := r.take(r.u32())
		if r.err != nil {
			break
		}
		if id != 0 {
			order := sectionOrder(id)
			switch {
			case id == 13:
				r.unsupported(meter.Exceptions, "the module declares tags")
			case order <= last:
				r.fail("section %d is unknown, repeated or out of order", id)
			}
			last = order
		}
		if r.err != nil {
			break
		}
		c := reader{p: content}
		if s.section(&c, id); c.err != nil {
			return c.err
		}
	}
	if r.err != nil {
		return r.err
	}
	return policyOf(s).check(s)
}

func tooLarge(n int, p policy) error {
	return fault.New(fault.Config, "module_too_large", "", "strip debug data (Go: -ldflags='-s -w', Rust: strip = true, C: -s) or split the connector",
		"the module has %d bytes; the limit is %d for %s", n, p.moduleBytes, p.says())
}

func checkHeader(module []byte) error {
	if len(module) < 8 || string(module[:4]) != "\x00asm" {
		return fault.New(fault.Config, "module_not_wasm", "", "give the path of a .wasm file that was built for cdcd",
			"the file is not a WebAssembly module")
	}
	if v := module[4:8]; string(v) != "\x01\x00\x00\x00" {
		hint := "build a core module of version 1"
		if v[2] == 1 { // the layer
			hint = "this is a component: build a core module instead, for the target wasm32-wasip1 rather than wasm32-wasip2"
		}
		return fault.New(fault.Config, "module_not_wasm", "", hint, "the module is of version %x", v)
	}
	return nil
}

// sectionOrder returns a section's place in the order that the binary format
// prescribes, 0 for unknown ones: data count (12) stands between element and code.
func sectionOrder(id byte) int {
	const order = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0c\x0a\x0b"
	for i := range len(order) {
		if order[i] == id {
			return i + 1
		}
	}
	return 0
}

// section reads one section. Globals and elements are counted; what is in them
// is the meter's to vet, who rewrites it.
func (s *survey) section(r *reader, id byte) {
	switch id {
	case 0:
		s.readCustom(r)
	case 1:
		s.typeSection = r.p
		s.readTypes(r)
	case 2:
		s.importSection = r.p
		s.readImports(r)
	case 3:
		s.functionSection = r.p
		s.functions = r.count("functions", goPolicy.functions)
	case 4:
		s.readTables(r)
	case 5:
		s.readMemories(r)
	case 6:
		s.globals = r.count("globals", goPolicy.globals)
	case 7:
		s.exportSection = r.p
		s.readExports(r)
	case 9:
		s.elements = r.count("element segments", goPolicy.segments)
	case 10:
		s.readBodies(r)
	case 11:
		s.readData(r)
	}
}

func (s *survey) readCustom(r *reader) {
	if s.customs++; s.customs > goPolicy.customs {
		r.fail("more than %d custom sections", goPolicy.customs)
	}
	s.customBytes += len(r.p)
	if string(r.name()) == "producers" && r.err == nil {
		s.saysGo = s.saysGo || saysGo(r)
	}
}

// saysGo reads whether a producers section names Go as the language: fields
// of a name and a list of (value, version).
func saysGo(r *reader) bool {
	for n := r.count("fields", 16); n > 0 && r.err == nil; n-- {
		language := string(r.name()) == "language"
		for k := r.count("values", 64); k > 0 && r.err == nil; k-- {
			if value := r.name(); language && string(value) == "Go" {
				return true
			}
			r.name()
		}
	}
	r.err = nil // a custom section can't make a module invalid
	return false
}

func (s *survey) readTypes(r *reader) {
	s.types = r.count("types", goPolicy.types)
	for n := s.types; n > 0 && r.err == nil; n-- {
		if form := r.u8(); form != 0x60 && r.err == nil {
			r.unsupported(meter.FeatureOfType(form), "a type has the form %#x", form)
		}
		r.skip(r.count("parameters", goPolicy.arity))
		r.skip(r.count("results", goPolicy.arity/4))
	}
}

func (s *survey) readImports(r *reader) {
	s.imports = r.count("imports", goPolicy.imports)
	for n := s.imports; n > 0 && r.err == nil; n-- {
		module, name := r.name(), r.name()
		switch kind := r.u8(); {
		case r.err != nil:
		case kind == 4:
			r.unsupported(meter.Exceptions, "the module imports a tag")
		case kind != 0:
			r.fail("%q.%q is not a function: only functions can be imported; link with the module's own memory and tables", module, name)
		default:
			r.index("type", s.types)
		}
	}
}

func (s *survey) readTables(r *reader) {
	s.tables = r.count("tables", goPolicy.tables)
	for n := s.tables; n > 0 && r.err == nil; n-- {
		if t := r.u8(); t != 0x70 && t != 0x6f && r.err == nil {
			r.unsupported(meter.FeatureOfType(t), "a table of type %#x", t)
		}
		from, _ := r.limits("table")
		if s.tableEntries += int(from); s.tableEntries > goPolicy.tableEntries {
			r.fail("tables have %d entries; the limit is %d", s.tableEntries, goPolicy.tableEntries)
		}
	}
}

func (s *survey) readMemories(r *reader) {
	n := r.u32()
	if n > 1 {
		r.unsupported(meter.MultiMemory, "the module has %d memories", n)
	}
	if n == 1 && r.err == nil {
		s.memoryPagesMin, s.memoryPagesMax = r.limits("memory")
		if s.memoryPagesMin > memoryPagesMax {
			r.fail("the memory begins with %d pages; the limit is %d", s.memoryPagesMin, memoryPagesMax)
		}
	}
}

func (s *survey) readExports(r *reader) {
	s.exports = r.count("exports", goPolicy.exports)
	for n := s.exports; n > 0 && r.err == nil; n-- {
		r.name()
		r.u8()
		r.u32()
	}
}

// readBodies reads each body's size and its declarations of locals.
func (s *survey) readBodies(r *reader) {
	n := r.count("bodies", goPolicy.functions)
	s.codeBytes = len(r.p)
	for ; n > 0 && r.err == nil; n-- {
		size := r.u32()
		b := reader{p: r.take(size)}
		if s.body = max(s.body, int(size)); s.body > goPolicy.bodies.BodyBytes {
			r.fail("a function has %d bytes; the limit is %d", size, goPolicy.bodies.BodyBytes)
		}
		locals := 0
		for k := b.count("groups of locals", smallPolicy.bodies.Locals); k > 0 && b.err == nil && r.err == nil; k-- {
			locals += int(b.u32())
			b.u8()
			if locals > smallPolicy.bodies.Locals {
				b.fail("a function has more than %d locals", smallPolicy.bodies.Locals)
			}
		}
		s.locals = max(s.locals, locals)
		if s.localsTotal += locals; s.localsTotal > goPolicy.bodies.LocalsTotal {
			b.fail("the functions have more than %d locals", goPolicy.bodies.LocalsTotal)
		}
		if r.err == nil {
			r.err = b.err
		}
	}
}

// readData walks the data segments: the engine makes room for what a segment
// says it holds before it looks whether it is there.
func (s *survey) readData(r *reader) {
	s.data = r.count("data segments", goPolicy.segments)
	for n := s.data; n > 0 && r.err == nil; n-- {
		form := r.u32()
		switch form {
		case 0:
			r.constant()
		case 1: // passive
		case 2:
			if memory := r.u32(); memory != 0 && r.err == nil {
				r.unsupported(meter.MultiMemory, "a data segment is for memory %d", memory)
			}
			r.constant()
		default:
			r.fail("a data segment of the form %d", form)
		}
		size := r.u32()
		if form == 1 && size > passiveBytesMax {
			r.fail("a passive data segment has %d bytes; the limit is %d: link without --shared-memory, so that data is active", size, passiveBytesMax)
		}
		r.take(size)
		s.dataBytes += int(size)
	}
}
