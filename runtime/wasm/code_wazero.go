package wasm

import (
	"os"
	"reflect"
)

// spans finds the mappings in which wazero keeps the program's machine code. It
// has no function that tells, and unmaps them in finalizers, so that whether
// they are gone can't be told from outside. The fields are read by name: with a
// wazero that has others there are no spans, and unloading says "not measured".
func (p *wazeroProgram) spans() (found []span) {
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	engine := inside(reflect.ValueOf(p.code)).FieldByName("compiledEngine").Elem().Elem()
	found = appendSpan(found, inside(engine.FieldByName("sharedFunctions")).FieldByName("executable"))
	for modules := engine.FieldByName("compiledModules").MapRange(); modules.Next(); {
		counted := inside(modules.Value())
		code := inside(inside(counted.FieldByName("compiledModule")).FieldByName("executables"))
		found = appendSpan(found, code.FieldByName("executable"))
		found = appendSpan(found, code.FieldByName("entryPreambles"))
	}
	return found
}

func inside(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

func appendSpan(list []span, p reflect.Value) []span {
	if p.Len() == 0 {
		return list
	}
	page := uintptr(os.Getpagesize())
	return append(list, span{p.Pointer(), p.Pointer() + (uintptr(p.Len())+page-1)/page*page})
}
