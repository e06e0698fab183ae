package meter

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// author writes valid functions at random, which count what they do: each
// statement adds the number of its instructions, those that count included, to
// the module's global. What a function was charged must be that or more.
type author struct {
	t     *rapid.T
	self  int // functions before it may be called
	out   []byte
	depth int // of blocks
	loops int
	size  int // statements
}

// Locals of a function: the argument, three to play with, and a counter for
// each depth of loops.
const (
	playLocals = 3
	loopDepth  = 3
	countCost  = 4
)

var authorLocals = []byte{1, playLocals + loopDepth, typeI32}

func (a *author) draw(n int, what string) int { return rapid.IntRange(0, n-1).Draw(a.t, what) }

func (a *author) emit(code ...byte) { a.out = append(a.out, code...) }

// counted emits a statement of n instructions that cost something.
func (a *author) counted(n int, code ...byte) {
	a.emit(opGlobalGet, 0)
	a.out = sleb(append(a.out, opI64Const), int64(n+countCost))
	a.emit(opI64Add, opGlobalSet, 0)
	a.emit(code...)
}

func (a *author) local() byte { return byte(1 + a.draw(playLocals, "local")) }

// condition returns two instructions that leave 0 or 1.
func (a *author) condition() []byte { return []byte{opLocalGet, a.local(), opI32Const, 1, 0x71} }

func (a *author) body(left int) {
	for range 1 + a.draw(4, "statements") {
		a.statement(left)
	}
}

func (a *author) statement(left int) {
	if a.size++; a.size > 120 {
		left = 0
	}
	kinds := 8
	if left > 0 {
		kinds = 14
	}
	switch kind := a.draw(kinds, "statement"); kind {
	case 0, 1:
		a.counted(4, opLocalGet, a.local(), opI32Const, byte(a.draw(64, "n")), 0x6a, opLocalTee-1, a.local())
	case 2:
		a.counted(5, opI32Const, 0, opLocalGet, a.local(), 0x36, 2, byte(a.draw(64, "at")), opI32Const, 0, 0x1a)
	case 3:
		n := byte(a.draw(60, "size"))
		a.counted(4, opI32Const, byte(a.draw(60, "at")), opI32Const, n, opI32Const, n, opBulk, 11, 0)
	case 4:
		a.call()
	case 5:
		a.counted(4, append(a.condition(), opBrIf, byte(a.forward()))...)
	case 6:
		a.counted(2, opLocalGet, 0, opReturn)
	case 7:
		if a.draw(2, "table") == 0 {
			a.counted(1, opBr, byte(a.forward()))
			return
		}
		a.counted(2, opLocalGet, a.local(), opBrTable, 2, byte(a.forward()), byte(a.forward()), byte(a.forward()))
	case 8, 9:
		a.emit(opBlock, 0x40)
		a.nested(left, false)
	case 10, 11:
		a.counted(4, append(a.condition(), opIf, 0x40)...)
		a.depth++
		a.body(left - 1)
		if a.draw(2, "else") == 0 {
			a.emit(opElse)
			a.body(left - 1)
		}
		a.depth--
		a.emit(opEnd)
	default:
		a.loop(left)
	}
}

// loop emits a loop of a few rounds: its counter goes down at its head, so that
// whoever branches to it comes to an end.
func (a *author) loop(left int) {
	if a.loops == loopDepth {
		return
	}
	counter := byte(1 + playLocals + a.loops)
	a.counted(2, opI32Const, byte(1+a.draw(5, "rounds")), opLocalTee-1, counter)
	a.emit(opBlock, 0x40, opLoop, 0x40)
	a.counted(5, opLocalGet, counter, opI32Const, 1, 0x6b, opLocalTee, counter, 0x45, opBrIf, 1)
	a.loops++
	a.depth++
	a.nested(left, true)
	a.depth--
	a.loops--
	a.emit(opEnd)
}

func (a *author) nested(left int, again bool) {
	a.depth++
	a.body(left - 1)
	if again {
		a.counted(1, opBr, 0)
	}
	a.depth--
	a.emit(opEnd)
}

// forward returns the label of a block or loop around: not the function's,
// which wants a result.
func (a *author) forward() int {
	return a.draw(a.depth, "label")
}

func (a *author) call() {
	if a.self == 0 || a.size > 60 {
		return
	}
	callee := byte(a.draw(a.self, "callee"))
	if a.draw(2, "indirect") == 0 {
		a.counted(3, opLocalGet, a.local(), opCall, callee, 0x1a)
		return
	}
	a.counted(4, opLocalGet, a.local(), opI32Const, callee, opCallIndirect, tI32, 0, 0x1a)
}

// function writes a whole one, whose body is a block of its own.
func function(t *rapid.T, self int) fn {
	a := &author{t: t, self: self}
	a.emit(opBlock, 0x40)
	a.depth = 1
	a.body(4)
	a.emit(opEnd)
	a.counted(1, opLocalGet, byte(a.draw(4, "result")))
	return fn{tI32, authorLocals, a.out}
}

// A metered module does what it did before, pays for all that it does, and
// pays the same each time.
func TestSameAndPaid(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var funcs []fn
		for i := range 1 + rapid.IntRange(0, 2).Draw(rt, "functions") {
			funcs = append(funcs, function(rt, i))
		}
		p := forge(funcs...)
		slice := rapid.SampledFrom([]int64{1, 100, 1 << 20}).Draw(rt, "slice")
		plain := &host{}
		m, err := plain.run(t, p)
		if err != nil {
			rt.Fatalf("the test's module is invalid: %v", err)
		}
		const budget = 1 << 40
		h := &host{left: budget, slice: slice}
		metered, err := h.run(t, rewrite(t, p))
		if err != nil {
			rt.Fatal(err)
		}
		name := "f" + string(rune('0'+len(funcs)-1))
		for arg := range uint64(3) {
			before := m.ExportedGlobal("count").Get()
			left := h.left + int64(metered.ExportedGlobal(FuelGlobal).Get())
			want, errWant := m.ExportedFunction(name).Call(t.Context(), arg)
			got, errGot := metered.ExportedFunction(name).Call(t.Context(), arg)
			if !slices.Equal(want, got) || (errWant == nil) != (errGot == nil) {
				rt.Fatalf("%s(%d) is %v, %v; metered %v, %v", name, arg, want, errWant, got, errGot)
			}
			did := m.ExportedGlobal("count").Get() - before
			paid := left - h.left - int64(metered.ExportedGlobal(FuelGlobal).Get())
			if paid < int64(did) {
				rt.Fatalf("%d paid for %d instructions", paid, did)
			}
		}
		memory, _ := m.Memory().Read(0, 1<<16)
		memoryMetered, _ := metered.Memory().Read(0, 1<<16)
		if !bytes.Equal(memory, memoryMetered) || m.ExportedGlobal("count").Get() != metered.ExportedGlobal("count").Get() {
			rt.Fatal("memory or globals differ")
		}
	})
}
