package wasm

import (
	"bytes"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Bounds of a module. A compiler trusts the counts that a module declares: a
// file of 15 bytes can ask for 481 GB. vet looks at them first.
const (
	moduleBytesMax    = 32 << 20
	typesMax          = 4 << 10
	typeArityMax      = 1000
	functionsMax      = 100_000
	importsMax        = 1000
	exportsMax        = 1000
	globalsMax        = 100_000
	segmentsMax       = 100_000
	tableEntriesMax   = 1 << 20
	bodyBytesMax      = 4 << 20
	localsPerFunction = 20_000
)

// vetted is what vet learned of a module on its way.
type vetted struct {
	types          []funcType
	funcs          []uint32 // type of each function, imported ones first
	imports        []importName
	exports        map[string]funcType
	memoryExported bool
	memoryPagesMin uint32
}

type importName struct{ module, name string }

// funcType is a function's type as far as the ABI needs it.
type funcType struct {
	params, results []byte
}

func (t funcType) is(e exportSpec) bool {
	if len(t.params) != e.params || bytes.Count(t.params, []byte{typeI32}) != e.params {
		return false
	}
	if e.result == 0 {
		return len(t.results) == 0
	}
	return len(t.results) == 1 && t.results[0] == e.result
}

// vet walks an untrusted module in one pass before the compiler sees it, and
// refuses what could cost it more than the module's size warrants.
func vet(module []byte) (*vetted, error) {
	if len(module) > moduleBytesMax {
		return nil, fault.New(fault.Config, "module_too_large", "", "strip debug data (-ldflags='-s -w') or split the connector",
			"the module has %d bytes; the limit is %d", len(module), moduleBytesMax)
	}
	if len(module) < 8 || string(module[:4]) != "\x00asm" {
		return nil, fault.New(fault.Config, "module_not_wasm", "", "give the path of a .wasm file that was built for cdcd",
			"the file is not a WebAssembly module")
	}
	if v := module[4:8]; !bytes.Equal(v, []byte{1, 0, 0, 0}) {
		hint := "build a core module of version 1"
		if bytes.Equal(v, []byte{0x0d, 0, 1, 0}) {
			hint = "this is a component: build a core module instead, for the target wasm32-wasip1 rather than wasm32-wasip2"
		}
		return nil, fault.New(fault.Config, "module_not_wasm", "", hint, "the module is of version %x", v)
	}
	v := &vetted{exports: map[string]funcType{}}
	r := &reader{p: module[8:]}
	last := 0
	for len(r.p) > 0 && !r.bad {
		id := r.u8()
		s := &reader{p: r.take(r.u32())}
		if r.bad {
			break
		}
		if id != 0 {
			if order := sectionOrder(id); order <= last {
				s.fail("section %d is unknown, repeated or out of order", id)
			} else {
				last = order
			}
		}
		v.section(s, id)
		if s.bad {
			return nil, s.refuse()
		}
	}
	if r.bad {
		return nil, r.refuse()
	}
	return v, nil
}

// sectionOrder returns a section's place in the order that the binary format
// prescribes, 0 for unknown ones: data count (12) stands between element and code.
func sectionOrder(id byte) int {
	const order = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0c\x0a\x0b"
	return bytes.IndexByte([]byte(order), id) + 1
}

func (v *vetted) section(s *reader, id byte) {
	switch id {
	case 1:
		v.readTypes(s)
	case 2:
		v.readImports(s)
	case 3:
		for n := s.count("functions", functionsMax); n > 0 && !s.bad; n-- {
			v.addFunc(s, s.u32())
		}
	case 4:
		for n := s.count("tables", 16); n > 0 && !s.bad; n-- {
			s.u8()
			if from, _ := s.limits(); from > tableEntriesMax {
				s.fail("a table has %d entries; the limit is %d", from, tableEntriesMax)
			}
		}
	case 5:
		for n := s.count("memories", 1); n > 0 && !s.bad; n-- {
			v.memoryPagesMin, _ = s.limits()
		}
	case 6:
		s.count("globals", globalsMax)
	case 7:
		v.readExports(s)
	case 9, 11:
		s.count("segments", segmentsMax)
	case 10:
		for n := s.count("bodies", functionsMax); n > 0 && !s.bad; n-- {
			s.body()
		}
	}
}

func (v *vetted) readTypes(s *reader) {
	for n := s.count("types", typesMax); n > 0 && !s.bad; n-- {
		if s.u8() != 0x60 {
			s.fail("a type is not a function's")
		}
		params := s.take(uint32(s.count("parameters", typeArityMax)))
		results := s.take(uint32(s.count("results", typeArityMax)))
		v.types = append(v.types, funcType{params, results})
	}
}

func (v *vetted) addFunc(s *reader, t uint32) {
	if t >= uint32(len(v.types)) {
		s.fail("a function has the unknown type %d", t)
		return
	}
	v.funcs = append(v.funcs, t)
}

func (v *vetted) readImports(s *reader) {
	for n := s.count("imports", importsMax); n > 0 && !s.bad; n-- {
		im := importName{s.name(), s.name()}
		if kind := s.u8(); kind != 0 {
			s.fail("%s.%s is not a function: only functions can be imported", im.module, im.name)
			return
		}
		v.addFunc(s, s.u32())
		v.imports = append(v.imports, im)
	}
}

func (v *vetted) readExports(s *reader) {
	for n := s.count("exports", exportsMax); n > 0 && !s.bad; n-- {
		name, kind, index := s.name(), s.u8(), s.u32()
		switch {
		case kind == 0 && index < uint32(len(v.funcs)):
			v.exports[name] = v.types[v.funcs[index]]
		case kind == 2 && name == "memory":
			v.memoryExported = true
		}
	}
}

// body reads one function body's declaration of locals.
func (s *reader) body() {
	size := s.u32()
	if size > bodyBytesMax {
		s.fail("a function has %d bytes; the limit is %d", size, bodyBytesMax)
	}
	b := &reader{p: s.take(size)}
	total := uint64(0)
	for n := b.count("groups of locals", localsPerFunction); n > 0 && !b.bad; n-- {
		total += uint64(b.u32())
		b.u8()
		if total > localsPerFunction {
			b.fail("a function has more than %d locals", localsPerFunction)
		}
	}
	if b.bad {
		s.bad, s.why = true, b.why
	}
}
