package wasm

import "bytes"

// vetted is a module that has been surveyed, laid out as far as the host asks.
// It keeps nothing of the module's bytes.
type vetted struct {
	survey
	imports        []importName
	importTypes    []funcType
	exports        map[string]funcType
	memoryExported bool
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

// layOut makes a vetted of a survey. What it allocates is bounded by the limits
// on types, imports, functions and exports, and read without failing: the survey
// has been there.
func (s *survey) layOut() *vetted {
	v := &vetted{survey: *s, exports: map[string]funcType{}}
	types := s.layOutTypes()
	funcs := make([]uint32, 0, s.imports+s.functions) // the type of each
	r := reader{p: s.importSection}
	for n := r.length(); n > 0; n-- {
		v.imports = append(v.imports, importName{string(r.name()), string(r.name())})
		r.u8()
		funcs = append(funcs, r.u32())
		v.importTypes = append(v.importTypes, types[funcs[len(funcs)-1]])
	}
	r = reader{p: s.functionSection}
	for n := r.length(); n > 0; n-- {
		funcs = append(funcs, r.u32())
	}
	r = reader{p: s.exportSection}
	for n := r.length(); n > 0; n-- {
		name, kind, index := r.name(), r.u8(), r.u32()
		switch {
		case kind == 0 && int(index) < len(funcs) && int(funcs[index]) < len(types):
			v.exports[string(name)] = types[funcs[index]]
		case kind == 2 && string(name) == "memory":
			v.memoryExported = true
		}
	}
	v.typeSection, v.importSection, v.functionSection, v.exportSection = nil, nil, nil, nil
	return v
}

func (s *survey) layOutTypes() []funcType {
	r := reader{p: bytes.Clone(s.typeSection)}
	types := make([]funcType, 0, s.types)
	for n := r.length(); n > 0; n-- {
		r.u8()
		types = append(types, funcType{r.take(r.u32()), r.take(r.u32())})
	}
	return types
}
