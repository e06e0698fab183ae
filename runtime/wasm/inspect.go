package wasm

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
	"github.com/cdcd-io/cdcd/sdk"
)

// Inspection is what can be said of a module without compiling or running it.
type Inspection struct {
	sdk.Manifest
	Digest  string          `json:"sha256"`
	Class   string          `json:"class"` // of limits: "small" or "go"
	Sizes   ModuleSizes     `json:"sizes"`
	Imports []ModuleImport  `json:"imports"`
	Exports []ModuleExport  `json:"exports"`
	Limits  []ModuleMeasure `json:"limits"`
	Cost    ModuleCost      `json:"cost"`
}

// ModuleSizes are bytes of a module's parts.
type ModuleSizes struct {
	Bytes     int   `json:"bytes"`
	Code      int   `json:"code_bytes"`
	Data      int   `json:"data_bytes"`
	Custom    int   `json:"custom_bytes"`     // manifest, names, debug data
	MemoryMin int64 `json:"memory_min_bytes"` // what an instance begins with
}

// ModuleImport is a function that a module imports.
type ModuleImport struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Type   string `json:"type"` // "(i32 i32) -> i64"
	// Grant is what a step has to allow for it; empty for WASI, which all get.
	Grant string `json:"grant,omitempty"`
	// Declared says that the manifest lists the grant, without which it can't be given.
	Declared bool `json:"declared"`
	// Absent says that the function can be imported and answers that there is
	// nothing: no files, no sockets.
	Absent bool `json:"absent,omitempty"`
}

// ModuleExport is a function that a module exports.
type ModuleExport struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ABI  bool   `json:"abi"` // cdcd-abi-1 has it; others are never called
}

// ModuleMeasure is what a module has of something that is limited.
type ModuleMeasure struct {
	What  string `json:"what"`
	Has   int    `json:"has"`
	Limit int    `json:"limit"`
}

// ModuleCost is what a module costs to load. Times and machine code are
// estimates, from the size of the metered code.
type ModuleCost struct {
	Functions    int `json:"functions"`
	MeteredBytes int `json:"metered_bytes"` // the module as it is compiled, without custom sections
	// Growth is how much larger its code is metered than as it came: 0.11 is 11 %.
	Growth         float64       `json:"metering_growth"`
	MachineBytes   int           `json:"machine_code_bytes"` // estimated
	CompileTime    time.Duration `json:"compile_ns"`         // estimated: on one processor, once; then it is cached
	CachedLoadTime time.Duration `json:"cached_load_ns"`     // estimated
}

// Ratios of estimates, measured with wazero v1.12.0 on amd64: machine code for a
// byte of metered code, and what a byte of it takes to compile and to load.
const (
	machineBytesPerByte  = 4.7
	compileTimePerByte   = 480 * time.Nanosecond
	compileTimeLeast     = time.Millisecond
	cachedTimePerByte    = 22 * time.Nanosecond
	cachedLoadTimesLeast = 800 * time.Microsecond
)

// Inspect vets a module as Load does, and says what it is, asks for and costs.
// Nothing is compiled. The error is a fault, one of those of Load.
func Inspect(module []byte) (*Inspection, error) {
	v, err := vet(module)
	if err != nil {
		return nil, err
	}
	manifest, err := readManifest(module)
	if err != nil {
		return nil, err
	}
	if err := checkABI(v); err != nil {
		return nil, err
	}
	p := policyOf(&v.survey)
	metered, err := meter.Rewrite(module, p.bodies)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(module)
	return &Inspection{
		Manifest: manifest,
		Digest:   hex.EncodeToString(sum[:]),
		Class:    p.name,
		Sizes: ModuleSizes{Bytes: v.moduleBytes, Code: v.codeBytes, Data: v.dataBytes, Custom: v.customBytes,
			MemoryMin: int64(v.memoryPagesMin) * pageBytes},
		Imports: v.inspectImports(manifest),
		Exports: v.inspectExports(),
		Limits:  p.measures(&v.survey),
		Cost:    v.cost(len(metered)),
	}, nil
}

func (v *vetted) inspectImports(m sdk.Manifest) []ModuleImport {
	list := []ModuleImport{}
	for i, im := range v.imports {
		x := ModuleImport{Module: im.module, Name: im.name, Type: v.importTypes[i].String(), Declared: true}
		if c, ok := capabilities[im.module]; ok {
			x.Grant = c.grant
			x.Declared = slices.Contains(m.Capabilities, c.grant)
		} else if _, ok := wasiFuncs[im.name]; !ok {
			x.Absent = true
		}
		list = append(list, x)
	}
	return list
}

func (v *vetted) inspectExports() []ModuleExport {
	list := []ModuleExport{}
	for name, t := range v.exports {
		abi := slices.ContainsFunc(exports[:], func(e exportSpec) bool { return e.name == name })
		list = append(list, ModuleExport{name, t.String(), abi})
	}
	slices.SortFunc(list, func(a, b ModuleExport) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// measures are the limits that a module may come near.
func (p policy) measures(s *survey) []ModuleMeasure {
	return []ModuleMeasure{
		{"bytes", s.moduleBytes, p.moduleBytes},
		{"functions", s.functions, p.functions},
		{"bytes of a function", s.body, p.bodies.BodyBytes},
		{"locals of a function", s.locals, p.bodies.Locals},
		{"locals of all functions", s.localsTotal, p.bodies.LocalsTotal},
		{"types", s.types, p.types},
		{"imports", s.imports, p.imports},
		{"exports", s.exports, p.exports},
		{"globals", s.globals, p.globals},
		{"entries of tables", s.tableEntries, p.tableEntries},
		{"segments of data", s.data, p.segments},
		{"custom sections", s.customs, p.customs},
	}
}

func (v *vetted) cost(metered int) ModuleCost {
	grown := metered - (v.moduleBytes - v.customBytes)
	code := v.codeBytes + grown
	c := ModuleCost{Functions: v.functions, MeteredBytes: metered,
		MachineBytes:   int(machineBytesPerByte * float64(code)),
		CompileTime:    max(compileTimeLeast, time.Duration(code)*compileTimePerByte),
		CachedLoadTime: max(cachedLoadTimesLeast, time.Duration(code)*cachedTimePerByte)}
	if v.codeBytes > 0 {
		c.Growth = float64(grown) / float64(v.codeBytes)
	}
	return c
}

// String writes a type as people do: "(i32 i32) -> i64".
func (t funcType) String() string {
	list := func(types []byte) string {
		names := make([]string, len(types))
		for i, b := range types {
			names[i] = valueTypeName(b)
		}
		return "(" + strings.Join(names, " ") + ")"
	}
	if len(t.results) == 1 {
		return list(t.params) + " -> " + valueTypeName(t.results[0])
	}
	return list(t.params) + " -> " + list(t.results)
}

func valueTypeName(t byte) string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case 0x7d:
		return "f32"
	case 0x7c:
		return "f64"
	case 0x7b:
		return "v128"
	case 0x70:
		return "funcref"
	case 0x6f:
		return "externref"
	}
	return "?"
}
