package wasm

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
	"github.com/cdcd-io/cdcd/sdk"
)

// export numbers the functions that a connector exports.
type export uint8

const (
	exportStart export = iota // what the module's start section named
	exportInitialize
	exportABI
	exportBuf
	exportInit
	exportSchema
	exportTransform
	exportError
	exportsEnd
)

// exportSpec is a function's name and type: i32 parameters, and at most one
// result.
type exportSpec struct {
	name   string
	params int
	result byte // 0, i32 or i64 of the binary format
	must   bool
	seldom bool // it is called a few times in an instance's life
}

const (
	typeI32 = 0x7f
	typeI64 = 0x7e
)

var exports = [exportsEnd]exportSpec{
	exportStart:      {meter.StartFunc, 0, 0, false, true},
	exportInitialize: {"_initialize", 0, 0, false, true},
	exportABI:        {sdk.ExportABI, 0, 0, true, true},
	exportBuf:        {sdk.ExportBuf, 2, typeI32, true, true},
	exportInit:       {sdk.ExportInit, 1, typeI64, true, true},
	exportSchema:     {sdk.ExportSchema, 1, typeI64, true, true},
	exportTransform:  {sdk.ExportTransform, 1, typeI64, true, false},
	exportError:      {sdk.ExportError, 0, typeI64, true, true},
}

// checkABI refuses a module that lacks what cdcd-abi-1 asks for, or imports
// what no host gives.
func checkABI(v *vetted) error {
	for _, e := range exports {
		f, ok := v.exports[e.name]
		if !ok && e.must {
			return fault.New(fault.Config, "module_lacks_abi", "",
				"build the connector with the cdcd SDK: in Go, link sdk/guest and build with GOOS=wasip1 -buildmode=c-shared",
				"the module does not export the function %s of cdcd-abi-1", e.name)
		}
		if ok && !f.is(e) {
			return fault.New(fault.Config, "module_lacks_abi", "",
				"declare the function as docs/design/connector-abi.md has it",
				"the module exports %s with another type than cdcd-abi-1", e.name)
		}
	}
	if !v.memoryExported {
		return fault.New(fault.Config, "module_lacks_abi", "", `export the module's memory under the name "memory"`,
			"the module does not export its memory")
	}
	for _, im := range v.imports {
		if err := checkImport(im); err != nil {
			return err
		}
	}
	return nil
}

func checkImport(im importName) error {
	if im.module == wasiModule {
		if _, ok := wasiFuncs[im.name]; ok || wasiAbsent[im.name] != "" {
			return nil
		}
	} else if c, ok := capabilities[im.module]; ok {
		if c.funcs == nil {
			return fault.New(fault.Config, "capability_unavailable", "",
				"build the connector without this capability: this version of cdcd does not offer it",
				"the module imports %s, the capability %q", im.module, c.grant)
		}
		if _, ok := c.funcs[im.name]; ok {
			return nil
		}
	}
	return fault.New(fault.Config, "module_import_denied", "",
		"a connector may import WASI preview 1 and the capabilities of cdcd-abi-1 (docs/design/connector-abi.md) only",
		"the module imports %s.%s", im.module, im.name)
}
