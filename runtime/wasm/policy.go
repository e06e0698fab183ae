package wasm

import (
	"fmt"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// policy bounds what a module may declare. There are two: Go brings its runtime
// along and compiles every function to one loop around hundreds of blocks, which
// from any other toolchain is a mistake or a bomb.
//
// Which one counts is what the module says of its toolchain, in the section
// "producers" (https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md). That is no proof, and need not be: no
// limit protects the host in one class only. The classes tell an honest author
// early that something went wrong.
type policy struct {
	name string

	moduleBytes  int
	types        int
	arity        int // parameters of one type; results, a quarter of it
	imports      int
	functions    int
	tables       int
	tableEntries int // of all tables, to begin with
	globals      int
	exports      int
	segments     int // of elements; of data
	customs      int
	bodies       meter.Limits
}

// What both classes share.
const (
	nameBytesMax = 512 // of imports, exports and custom sections
	// passiveBytesMax bounds what one memory.init copies, which can't be interrupted.
	passiveBytesMax = 1 << 20
)

var smallPolicy = policy{
	name: "small", moduleBytes: 8 << 20,
	types: 4096, arity: 255, imports: 256, functions: 20_000, tables: 8, tableEntries: 1 << 16,
	globals: 4096, exports: 1000, segments: 20_000, customs: 256,
	bodies: meter.Limits{BodyBytes: 512 << 10, Locals: 10_000, LocalsTotal: 1_000_000, Nesting: 1024, Targets: 4096,
		Elements: 1 << 17, Work: 256 << 10, WorkTotal: 4 << 20},
}

var goPolicy = policy{
	name: "go", moduleBytes: 32 << 20,
	types: 4096, arity: 255, imports: 256, functions: 60_000, tables: 8, tableEntries: 1 << 17,
	globals: 4096, exports: 1000, segments: 100_000, customs: 256,
	bodies: meter.Limits{BodyBytes: 1 << 20, Locals: 1000, LocalsTotal: 1_000_000, Nesting: 4096, Targets: 16_384,
		Elements: 1 << 17, Work: 256 << 10, WorkTotal: 16 << 20},
}

// policyOf returns the class of a module.
func policyOf(s *survey) policy {
	if s.saysGo {
		return goPolicy
	}
	return smallPolicy
}

// check compares a module with the limits of its class.
func (p policy) check(s *survey) error {
	if s.moduleBytes > p.moduleBytes {
		return tooLarge(s.moduleBytes, p)
	}
	for _, c := range [...]struct {
		what     string
		n, limit int
	}{
		{"functions", s.functions, p.functions},
		{"segments of data", s.data, p.segments},
		{"segments of elements", s.elements, p.segments},
		{"entries of tables", s.tableEntries, p.tableEntries},
		{"locals in a function", s.locals, p.bodies.Locals},
		{"locals in all functions", s.localsTotal, p.bodies.LocalsTotal},
		{"bytes in a function", s.body, p.bodies.BodyBytes},
	} {
		if c.n > c.limit {
			return refused(fmt.Sprintf("%d %s; the limit is %d for %s", c.n, c.what, c.limit, p.says()))
		}
	}
	return nil
}

func (p policy) says() string {
	if p.name == goPolicy.name {
		return "modules that Go built"
	}
	return "modules that say no toolchain, or another than Go"
}
