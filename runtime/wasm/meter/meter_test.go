package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// fn is a function of a forged module: its type, declarations of locals, and
// instructions without the final end.
type fn struct {
	typ    byte
	locals []byte
	code   []byte
}

var bounds = Limits{BodyBytes: 1 << 20, Locals: 50_000, LocalsTotal: 100_000, Nesting: 4096, Targets: 16_384, Elements: 1 << 17,
	Work: 256 << 10, WorkTotal: 16 << 20}

// Types of forged modules.
const (
	tNone   = iota // () -> ()
	tI32           // (i32) -> i32
	tPair          // (i32) -> (i32, i64)
	tResult        // () -> i32
)

func section(p []byte, id byte, body ...byte) []byte {
	return append(leb(append(p, id), uint32(len(body))), body...)
}

// forge assembles a module with a page of memory, a table of all functions, a
// data segment, and a global: i64, mutable, exported as "count". Functions are
// exported as f0, f1...
func forge(funcs ...fn) []byte {
	p := []byte("\x00asm\x01\x00\x00\x00")
	p = section(p, secType, []byte("\x04\x60\x00\x00\x60\x01\x7f\x01\x7f\x60\x01\x7f\x02\x7f\x7e\x60\x00\x01\x7f")...)
	n := byte(len(funcs))
	types, names, bodies, elems := []byte{n}, []byte{n + 2}, []byte{n}, []byte{1, 0, opI32Const, 0, opEnd, n}
	for i, f := range funcs {
		types = append(types, f.typ)
		names = append(names, 2, 'f', '0'+byte(i), 0, byte(i))
		elems = append(elems, byte(i))
		locals := f.locals
		if locals == nil {
			locals = []byte{0}
		}
		body := append(append(bytes.Clone(locals), f.code...), opEnd)
		bodies = append(leb(bodies, uint32(len(body))), body...)
	}
	names = append(append(append(names, 5), "count\x03\x00"...), "\x06memory\x02\x00"...)
	p = section(p, secFunction, types...)
	p = section(p, secTable, 1, 0x70, 0, n)
	p = section(p, secMemory, 1, 0, 1)
	p = section(p, secGlobal, 1, typeI64, 1, opI64Const, 0, opEnd)
	p = section(p, secExport, names...)
	p = section(p, secElement, elems...)
	p = section(p, secCount, 1)
	p = section(p, secCode, bodies...)
	p = section(p, secData, 1, 1, 4, 1, 2, 3, 4) // passive
	return section(p, secCustom, append([]byte{4}, "name\x00\x02\x01x"...)...)
}

// host is the other side of the metering.
type host struct {
	left  int64
	slice int64
	looks int
	deep  bool
}

var errOut = errors.New("out of fuel")

// run instantiates a module, metered or not, and returns it.
func (h *host) run(t testing.TB, p []byte) (api.Module, error) {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(16))
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	look := func(_ context.Context, stack []uint64) {
		h.looks++
		if int64(stack[1]) < 0 {
			h.deep = true
			panic(errOut)
		}
		h.left += int64(stack[0])
		if h.left < 0 {
			panic(errOut)
		}
		slice := min(h.left, h.slice)
		h.left -= slice
		stack[0] = uint64(slice)
	}
	i64 := []api.ValueType{api.ValueTypeI64, api.ValueTypeI64}
	if _, err := r.NewHostModuleBuilder(HostModule).NewFunctionBuilder().WithGoFunction(api.GoFunc(look), i64, i64[:1]).
		Export(HostFunc).Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	return r.InstantiateWithConfig(ctx, p, wazero.NewModuleConfig().WithStartFunctions())
}

func rewrite(t testing.TB, p []byte) []byte {
	t.Helper()
	out, err := Rewrite(p, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// used returns the fuel that a call took.
func used(t testing.TB, p []byte, budget int64, name string, args ...uint64) (int64, []uint64, error) {
	t.Helper()
	h := &host{left: budget, slice: 1000}
	m, err := h.run(t, rewrite(t, p))
	if err != nil {
		t.Fatal(err)
	}
	results, err := m.ExportedFunction(name).Call(t.Context(), args...)
	fuel := m.ExportedGlobal(FuelGlobal).Get()
	return budget - h.left - int64(fuel), results, err
}

func get(local byte) []byte { return []byte{opLocalGet, local} }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// countdown loops as often as its argument says.
var countdown = fn{tI32, nil, cat(
	[]byte{opLoop, 0x40}, get(0), []byte{opI32Const, 1, 0x6b, opLocalTee, 0, opBrIf, 0, opEnd}, get(0))}

func TestFuelFollowsWork(t *testing.T) {
	p := forge(countdown)
	ten, results, err := used(t, p, 1<<40, "f0", 10)
	if err != nil || results[0] != 0 {
		t.Fatal(results, err)
	}
	many, _, _ := used(t, p, 1<<40, "f0", 1000)
	// Five instructions a round.
	if got := many - ten; got < 990*5 || got > 990*7 {
		t.Errorf("990 rounds of 5 instructions cost %d", got)
	}
	if got, _, err := used(t, p, 2000, "f0", 1000); !errors.Is(err, errOut) || got > 2000+8 {
		t.Errorf("%d used of 2000: %v", got, err)
	}
	again, _, _ := used(t, p, 1<<40, "f0", 1000)
	if again != many {
		t.Errorf("the same call cost %d and %d", many, again)
	}
}

func TestRecursionHasAnEnd(t *testing.T) {
	self := []byte{opCall, 0}
	tests := []struct {
		name string
		f    fn
		deep bool
	}{
		{"endless", fn{tI32, nil, cat(get(0), self)}, true},
		{"exponential", fn{tI32, nil, cat(get(0), []byte{opIf, 0x40}, get(0), []byte{opI32Const, 1, 0x6b}, self, []byte{0x1a},
			get(0), []byte{opI32Const, 1, 0x6b}, self, []byte{0x1a, opEnd}, get(0))}, false},
		{"through the table", fn{tI32, nil, cat(get(0), []byte{opI32Const, 0, opCallIndirect, tI32, 0})}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{left: 1 << 22, slice: 1000}
			m, err := h.run(t, rewrite(t, forge(tt.f)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.ExportedFunction("f0").Call(t.Context(), 60)
			if !errors.Is(err, errOut) || h.deep != tt.deep {
				t.Errorf("too deep: %v; %.200v", h.deep, err)
			}
		})
	}
}

// What a function took from the depth it gives back, whatever way it ends by.
func TestDepthIsGivenBack(t *testing.T) {
	call := []byte{opCall, 1}
	ends := map[string][]byte{
		"end":      cat(get(0), call),
		"return":   cat(get(0), call, []byte{opReturn}),
		"br":       cat([]byte{opBlock, 0x40}, get(0), call, []byte{opBr, 1, opEnd, opUnreachable}),
		"br_if":    cat(get(0), call, []byte{opI32Const, 1, opBrIf, 0}),
		"br_table": cat([]byte{opLoop, 0x40}, get(0), call, []byte{opI32Const, 9, opBrTable, 1, 1, 1, opEnd, opUnreachable}),
		"nested":   cat([]byte{opLoop, 0x40, opBlock, 0x40}, get(0), call, []byte{opReturn, opEnd, opEnd, opUnreachable}),
	}
	for name, code := range ends {
		h := &host{left: 1 << 40, slice: 1 << 20}
		m, err := h.run(t, rewrite(t, forge(fn{tI32, nil, code}, fn{tI32, nil, get(0)})))
		if err != nil {
			t.Fatal(name, err)
		}
		f := m.ExportedFunction("f0")
		for range DepthMax + 10 {
			if got, err := f.Call(t.Context(), 7); err != nil || got[0] != 7 {
				t.Fatal(name, got, err)
			}
		}
	}
}

func TestMoreThanOneResult(t *testing.T) {
	p := forge(fn{tPair, nil, cat(get(0), []byte{opCall, 1})}, fn{tPair, nil, cat(get(0), []byte{opI64Const, 9, opReturn})})
	_, got, err := used(t, p, 1<<20, "f0", 5)
	if err != nil || len(got) != 2 || got[0] != 5 || got[1] != 9 {
		t.Error(got, err)
	}
}

// An operation on a range costs by the range.
func TestBulkCosts(t *testing.T) {
	fill := fn{tI32, nil, cat([]byte{opI32Const, 0, opI32Const, 7}, get(0), []byte{opBulk, 11, 0, opI32Const, 10, 0x2d, 0, 0})}
	a, got, err := used(t, forge(fill), 1<<40, "f0", 16)
	b, _, err2 := used(t, forge(fill), 1<<40, "f0", 60016)
	if err != nil || err2 != nil || got[0] != 7 || b-a != 60000/16 {
		t.Errorf("%v: 60000 bytes more cost %d; %v %v", got, b-a, err, err2)
	}
	grow := forge(fn{tI32, nil, cat([]byte{opRefNull, 0x70}, get(0), []byte{opBulk, 15, 0})})
	a, _, err = used(t, grow, 1<<40, "f0", 10)
	b, _, err2 = used(t, grow, 1<<40, "f0", 1010)
	if err != nil || err2 != nil || b-a != 1000/2 {
		t.Errorf("1000 entries more of a table cost %d; %v %v", b-a, err, err2)
	}
	for name, code := range map[string][]byte{
		"memory.copy": cat([]byte{opI32Const, 0, opI32Const, 8, opI32Const, 3, opBulk, 10, 0, 0}, get(0)),
		"memory.init": cat([]byte{opI32Const, 0, opI32Const, 0, opI32Const, 4, opBulk, 8, 0, 0, opI32Const, 0, 0x28, 0, 0}),
		"table.copy":  cat([]byte{opI32Const, 0, opI32Const, 0, opI32Const, 1, opBulk, 14, 0, 0}, get(0)),
		"table.fill":  cat([]byte{opI32Const, 0, opRefNull, 0x70, opI32Const, 1, opBulk, 17, 0}, get(0)),
		"table.grow":  []byte{opRefNull, 0x70, opI32Const, 1, opBulk, 15, 0},
		"memory.grow": cat(get(0), []byte{opMemoryGrow, 0}),
		"unreachable": cat(get(0), []byte{opReturn, opI32Const, 0, opI32Const, 8, opI32Const, 3, opBulk, 10, 0, 0, opLoop, 0x40, opEnd}),
	} {
		if _, _, err := used(t, forge(fn{tI32, nil, code}), 1<<20, "f0", 1); err != nil {
			t.Error(name, err)
		}
	}
}

func TestTablesAreBounded(t *testing.T) {
	grow := fn{tI32, nil, cat([]byte{opRefNull, 0x70}, get(0), []byte{opBulk, 15, 0})}
	if _, got, err := used(t, forge(grow), 1<<40, "f0", tableEntriesMax-1); err != nil || got[0] != 1 {
		t.Error("growth to the limit:", got, err)
	}
	if _, got, err := used(t, forge(grow), 1<<40, "f0", tableEntriesMax); err != nil || uint32(got[0]) != 1<<32-1 {
		t.Error("growth beyond the limit:", got, err)
	}
}

// A long way without loops is looked at on the way.
func TestStraightCodeLooks(t *testing.T) {
	code := bytes.Repeat([]byte{opI32Const, 0, 0x1a}, 50_000)
	h := &host{left: 1 << 40, slice: 1}
	m, err := h.run(t, rewrite(t, forge(fn{tNone, nil, code})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction("f0").Call(t.Context()); err != nil || h.looks < 100_000/straightMax {
		t.Errorf("%d looks in 100000 instructions: %v", h.looks, err)
	}
}

func TestRefuses(t *testing.T) {
	nest := func(n int) []byte {
		return cat(bytes.Repeat([]byte{opBlock, 0x40}, n), bytes.Repeat([]byte{opEnd}, n))
	}
	tests := []struct {
		name       string
		f          fn
		code, says string
	}{
		{"tail call", fn{code: []byte{0x12, 0}}, "module_unsupported", "opcode 0x12 at offset"},
		{"exceptions", fn{code: []byte{0x06, 0x40, opEnd}}, "module_unsupported", "opcode 0x06"},
		{"threads", fn{code: []byte{0xfe, 3, 0}}, "module_unsupported", "opcode 0xfe"},
		{"gap in vectors", fn{code: []byte{0xfd, 0x9a, 1}}, "module_unsupported", "opcode 0xfd 0x9a"},
		{"relaxed vectors", fn{code: []byte{0xfd, 0x80, 2}}, "module_unsupported", "opcode 0xfd 0x80"},
		{"long vector number", fn{code: []byte{0xfd, 0x80, 0x81, 0}}, "module_unsupported", "opcode 0xfd"},
		{"unknown bulk", fn{code: []byte{0xfc, 18}}, "module_unsupported", "opcode 0xfc 0x12"},
		{"second memory", fn{code: []byte{opMemorySize, 1}}, "module_unsupported", "second memory"},
		{"block type", fn{code: []byte{opBlock, 0x69, opEnd}}, "module_unsupported", "block of type 0x69"},
		{"long block type", fn{code: []byte{opBlock, 0xff, 0x7f, opEnd}}, "module_refused", "type"},
		{"memory flag", fn{code: []byte{opI32Const, 0, 0x28, 0x42, 0, 0}}, "module_unsupported", "alignment"},
		{"our global", fn{code: []byte{opGlobalGet, 1, 0x1a}}, "module_refused", "global 1 of 1"},
		{"our function", fn{code: []byte{opCall, 1}}, "module_refused", "function 1 of 1"},
		{"our type", fn{code: []byte{opI32Const, 0, opCallIndirect, 4, 0}}, "module_refused", "type 4 of 4"},
		{"our local", fn{code: []byte{opLocalGet, 0, 0x1a}}, "module_refused", "local 0 of 0"},
		{"our label", fn{code: []byte{opBr, 1}}, "module_refused", "label 1 of 1"},
		{"locals", fn{locals: []byte{1, 0xd1, 0x86, 3, typeI32}}, "module_refused", "50000 locals"},
		{"nesting", fn{code: nest(bounds.Nesting)}, "module_refused", "nested deeper"},
		{"br_table", fn{code: cat([]byte{opI32Const, 0, opBrTable}, leb(nil, uint32(bounds.Targets+1)), make([]byte, bounds.Targets+2))}, "module_refused", "br_table"},
		{"size", fn{code: make([]byte, bounds.BodyBytes)}, "module_refused", "bytes; the limit"},
		{"too many ends", fn{code: []byte{opEnd}}, "module_refused", "behind the end"},
		{"too few ends", fn{code: []byte{opBlock, 0x40}}, "module_refused", "cut short"},
		{"else alone", fn{code: []byte{opElse}}, "module_refused", "else without if"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Rewrite(forge(tt.f), bounds)
			if err == nil || fault.Of(err).Code != tt.code || fault.Of(err).Hint == "" || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := Rewrite(forge(fn{code: nest(bounds.Nesting - 2)}), bounds); err != nil {
		t.Error("nesting to the limit:", err)
	}
}

// All instructions of WebAssembly 2.0 are read at their full length: with what
// follows them read as well, the engine takes the module before and after.
func TestVectors(t *testing.T) {
	v128 := cat([]byte{opVector, vectorConst}, make([]byte, 16))
	for sub := range 256 {
		if !isVectorOp(byte(sub)) {
			continue
		}
		op := []byte{opVector, byte(sub)}
		if sub >= 0x80 {
			op = append(op, 1)
		}
		found := false
		// Operands and immediates are tried until one form is valid.
		for _, in := range [][]byte{nil, {opI32Const, 0}, {opI64Const, 0}, {opF32Const, 0, 0, 0, 0}, {opF64Const, 0, 0, 0, 0, 0, 0, 0, 0},
			v128, cat(v128, v128), cat(v128, v128, v128), cat(v128, []byte{opI32Const, 0}), cat([]byte{opI32Const, 0}, v128), cat(v128, []byte{opI64Const, 0}),
			cat(v128, []byte{opF32Const, 0, 0, 0, 0}), cat(v128, []byte{opF64Const, 0, 0, 0, 0, 0, 0, 0, 0})} {
			for _, imm := range [][]byte{nil, {0}, {0, 0}, {0, 0, 0}, make([]byte, 16)} {
				for _, drop := range [][]byte{{0x1a}, nil} {
					p := forge(fn{tNone, nil, cat(in, op, imm, drop, []byte{opLoop, 0x40, opEnd})})
					if !found && compiles(t, p) {
						found = true
						if out, err := Rewrite(p, bounds); err != nil || !compiles(t, out) {
							t.Errorf("0xfd %#x: %v", sub, err)
						}
					}
				}
			}
		}
		if !found {
			t.Errorf("0xfd %#x: no valid form found", sub)
		}
	}
}

func compiles(t testing.TB, p []byte) bool {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	defer r.Close(t.Context())
	_, err := r.CompileModule(t.Context(), p)
	return err == nil
}

func ExampleRewrite() {
	_, err := Rewrite([]byte("\x00asm\x01\x00\x00\x00\x0c"), bounds)
	fmt.Println(err)
	// Output: the module is malformed or beyond a limit: cut short at offset 9 [module_refused]
}
