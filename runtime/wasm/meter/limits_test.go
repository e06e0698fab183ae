package meter

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Each limit refuses what is one beyond it, and nothing at it.
func TestLimits(t *testing.T) {
	wide := Limits{BodyBytes: 1000, Locals: 100, LocalsTotal: 150, Nesting: 10, Targets: 20, Elements: 2, Work: 10_000, WorkTotal: 15_000}
	locals := func(n int) fn { return fn{locals: []byte{1, byte(n), typeI32}} }
	blocks := func(n int) fn {
		return fn{code: cat(bytes.Repeat([]byte{opBlock, 0x40}, n), bytes.Repeat([]byte{opEnd}, n))}
	}
	table := func(n int) fn { return fn{code: cat([]byte{opI32Const, 0, opBrTable, byte(n)}, make([]byte, n+1))} }
	// n branches: a place each, and the function's own; with no locals a place is workFloor.
	branches := func(n int) fn { return fn{code: bytes.Repeat([]byte{opI32Const, 0, opBrIf, 0}, n)} }
	work := func(n int) Limits { l := wide; l.Work = n; return l }
	all := func(n int) Limits { l := wide; l.WorkTotal = n; return l }
	for _, tt := range []struct {
		name     string
		l        Limits
		in, over []fn
		says     string
	}{
		{"body", wide, []fn{{code: bytes.Repeat([]byte{opNop}, 998)}}, []fn{{code: bytes.Repeat([]byte{opNop}, 999)}}, "1001 bytes; the limit is 1000"},
		{"locals", wide, []fn{locals(100)}, []fn{locals(101)}, "more than 100 locals"},
		{"locals of all", wide, []fn{locals(100), locals(50)}, []fn{locals(100), locals(51)}, "functions have more than 150"},
		{"nesting", wide, []fn{blocks(9)}, []fn{blocks(10)}, "deeper than 10"},
		{"targets", wide, []fn{table(20)}, []fn{table(21)}, "the limit is 20"},
		{"elements", wide, []fn{{}, {}}, []fn{{}, {}, {}}, "the limit is 2"},
		{"work", work(10 * workFloor), []fn{branches(9)}, []fn{branches(10)}, "about 44 units of work"},
		{"work of all", all(20 * workFloor), []fn{branches(9), branches(9)}, []fn{branches(9), branches(10)}, "more than 80 units"},
	} {
		if _, err := Rewrite(forge(tt.in...), tt.l); err != nil {
			t.Errorf("%s, at the limit: %v", tt.name, err)
		}
		_, err := Rewrite(forge(tt.over...), tt.l)
		if err == nil || fault.Of(err).Code != "module_refused" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s, beyond the limit: %v, want %q", tt.name, err, tt.says)
		}
	}
}

// Every proposal that is refused says its name and what to change.
func TestFeaturesAreRefusedByName(t *testing.T) {
	for _, tt := range []struct {
		code []byte
		want Feature
		hint string
	}{
		{[]byte{0xfe, 0x10, 2, 0}, Threads, "-pthread"}, {[]byte{0x12, 0}, TailCalls, "-mno-tail-call"}, {[]byte{0x06, 0x40}, Exceptions, "-fno-exceptions"},
		{[]byte{0x1f, 0x40, 0}, Exceptions, "panic=abort"}, {[]byte{0xfb, 0, 0}, GC, "Rust"}, {[]byte{0x14, 0}, FunctionReferences, "wasm-opt"},
		{[]byte{0xfd, 0x80, 2}, RelaxedSIMD, "-mno-relaxed-simd"}, {[]byte{opMemorySize, 1}, MultiMemory, "wasm-merge"},
		{[]byte{opBlock, 0x69, opEnd}, Exceptions, ""}, {[]byte{opRefNull, 0x6e, 0x1a}, GC, ""}, {[]byte{opBlock, 0x64, 0x70, opEnd}, FunctionReferences, ""},
		{[]byte{opI32Const, 0, 0x28, 0x42, 0, 0}, OddAlignment, ""}, {[]byte{0xc5}, Unknown, "proposals"},
	} {
		_, err := Rewrite(forge(fn{code: tt.code}), bounds)
		f := fault.Of(err)
		if err == nil || f.Code != "module_unsupported" || !strings.Contains(err.Error(), tt.want.String()) || !strings.Contains(f.Hint, tt.hint) {
			t.Errorf("%x: %v (hint %q), want %q", tt.code, err, f.Hint, tt.want)
		}
	}
	for flag, want := range map[byte]Feature{2: Threads, 3: Threads, 4: Memory64, 5: Memory64, 7: Memory64, 8: Unknown} {
		if got := FeatureOfLimits(flag); got != want {
			t.Errorf("limits of kind %d: %v", flag, got)
		}
	}
	global := section([]byte("\x00asm\x01\x00\x00\x00"), secGlobal, 1, typeI32, 0, opI32Const, 1, opI32Const, 2, opI32Add, opEnd)
	if _, err := Rewrite(global, bounds); err == nil || !strings.Contains(fault.Of(err).Hint, "-mno-extended-const") {
		t.Errorf("a computed constant: %v", err)
	}
	for f := range features {
		if features[f].hint == "" || slices.IndexFunc(features[:f], func(g struct{ name, hint string }) bool { return g.hint == features[f].hint }) >= 0 {
			t.Errorf("feature %d has no hint of its own", f)
		}
	}
}
