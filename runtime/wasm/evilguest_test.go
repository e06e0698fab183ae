package wasm

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

// A guest is put together from instructions here: ops is what a function does,
// after its locals and before its end.
type ops []byte

func do(parts ...ops) ops { return slices.Concat(parts...) }

func again(n int, part func(i int) ops) ops {
	var c ops
	for i := range n {
		c = append(c, part(i)...)
	}
	return c
}

func i32(v int) ops        { return sleb(ops{0x41}, int64(int32(v))) }
func i64(v int64) ops      { return sleb(ops{0x42}, v) }
func get(local int) ops    { return leb(ops{0x20}, uint64(local)) }
func set(local int) ops    { return leb(ops{0x21}, uint64(local)) }
func call(f int) ops       { return leb(ops{0x10}, uint64(f)) }
func br(label int) ops     { return leb(ops{0x0c}, uint64(label)) }
func brIf(label int) ops   { return leb(ops{0x0d}, uint64(label)) }
func loop(c ...ops) ops    { return do(ops{0x03, 0x40}, do(c...), end) }
func block(c ...ops) ops   { return do(ops{0x02, 0x40}, do(c...), end) }
func when(c ...ops) ops    { return do(ops{0x04, 0x40}, do(c...), end) }
func load32(at int) ops    { return leb(do(i32(0), ops{0x28, 2}), uint64(at)) }
func store(at int) ops     { return leb(ops{0x36, 2}, uint64(at)) } // behind the address and the value
func forever(c ...ops) ops { return do(loop(do(c...), br(0)), trap) }
func addTo(local, n int) ops {
	return do(get(local), i32(n), add, set(local))
}

var (
	end    = ops{0x0b}
	trap   = ops{0x00}
	drop   = ops{0x1a}
	ret    = ops{0x0f}
	add    = ops{0x6a}
	sub    = ops{0x6b}
	grow   = ops{0x40, 0}
	fill   = ops{0xfc, 11, 0}
	copies = ops{0xfc, 10, 0, 0}
	growT  = do(ops{0xd0, 0x70}, i32(1000), ops{0xfc, 15, 0}) // table.grow by 1,000 of null
)

// Types that functions of a guest can have.
const (
	tNone   = iota // () -> ()
	tBuf           // (i32 i32) -> i32
	tLen           // (i32) -> i64
	tText          // () -> i64
	tLog           // (i32 i32 i32) -> ()
	tFour          // (i32 i32 i32 i32) -> i32
	tExit          // (i32) -> ()
	tPlain         // () -> i32
	tOne           // (i32) -> i32
	tThree         // (i32 i32 i32) -> i32
	tFive          // (i32 i32 i32 i32 i32) -> i32
	tSix           // (i32 i32 i32 i32 i32 i32) -> i64
	tNumber        // (i32 f64) -> i32
)

var guestTypes = []ops{{0x60, 0, 0}, {0x60, 2, 0x7f, 0x7f, 1, 0x7f}, {0x60, 1, 0x7f, 1, 0x7e}, {0x60, 0, 1, 0x7e},
	{0x60, 3, 0x7f, 0x7f, 0x7f, 0}, {0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f}, {0x60, 1, 0x7f, 0}, {0x60, 0, 1, 0x7f},
	{0x60, 1, 0x7f, 1, 0x7f}, {0x60, 3, 0x7f, 0x7f, 0x7f, 1, 0x7f}, {0x60, 5, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f},
	{0x60, 6, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7e}, {0x60, 2, 0x7f, 0x7c, 1, 0x7f}}

// kindTypes are the types that functions of capabilities have.
var kindTypes = map[string]byte{"ii:i": tBuf, ":I": tText, "iii:": tLog, "iiii:i": tFour, "i:i": tOne, "iii:i": tThree, "iiiii:i": tFive, "iiiiii:I": tSix, "iF:i": tNumber}

// Functions of a guest, imported ones not counted.
const (
	fnABI = iota
	fnBuf
	fnInit
	fnSchema
	fnTransform
	fnError
	fnInitialize
	fnStart
	fnMore // the first of its own
)

// Places in a guest's memory.
const (
	atBlock       = 1024 // result block
	atVerdicts    = 2048 // zeros: pass
	atBatch       = 65536
	batchRows     = atBatch + 20
	batchFirst    = atBatch + 40
	batchCapacity = atBatch + 16
)

// guestImport is a function that a guest imports; the first is function 0.
type guestImport struct {
	module, name string
	typ          byte
}

// evil is a guest that passes all rows, but for what its fields say.
type evil struct {
	does    map[int]ops // by function: in place of what it does
	locals  int         // i32s in each function of does
	more    []ops       // functions of its own, of type tLen
	imports []guestImport
	pages   int // of memory; 0 is 16
	table   int // entries, all fnTransform
	entries int // elements for them, if not as many
	starts  bool
	global  bool   // it has one, a mutable i32
	exports string // its transform, once more
	data    map[uint32][]byte
}

// grants are the capabilities that a guest imports.
func (g evil) grants() []string {
	var list []string
	for _, im := range g.imports {
		if c, ok := capabilities[im.module]; ok {
			list = append(list, c.grant)
		}
	}
	return list
}

// passes is what transform does in a guest that passes all rows.
func passes() ops {
	return do(i32(0), load32(batchRows), store(atBlock),
		i32(0), load32(batchRows), load32(batchFirst), sub, store(atBlock+8),
		i64(sdk.Pack(atBlock, sdk.ResultSize)))
}

func vector(list ...ops) ops { return do(leb(nil, uint64(len(list))), do(list...)) }

func sized(c ops) ops { return do(leb(nil, uint64(len(c))), c) }

// bytes assembles the module, without a manifest.
func (g evil) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = section(out, 1, vector(guestTypes...))
	imports := make([]ops, len(g.imports))
	for i, im := range g.imports {
		imports[i] = append(text(text(nil, im.module), im.name), 0, im.typ)
	}
	out = section(out, 2, vector(imports...))
	does := map[int]ops{fnBuf: i32(atBatch), fnInit: i64(0), fnSchema: i64(0), fnTransform: passes(), fnError: i64(sdk.Pack(100, 4))}
	maps.Copy(does, g.does)
	types := ops{tNone, tBuf, tLen, tLen, tLen, tText, tNone, tNone}
	for i, c := range g.more {
		types = append(types, tLen)
		does[fnMore+i] = c
	}
	names := []ops{append(text(nil, "memory"), 2, 0)}
	for f, name := range []string{sdk.ExportABI, sdk.ExportBuf, sdk.ExportInit, sdk.ExportSchema, sdk.ExportTransform, sdk.ExportError, "_initialize"} {
		names = append(names, leb(append(text(nil, name), 0), uint64(f+len(imports))))
	}
	if g.exports != "" {
		names = append(names, leb(append(text(nil, g.exports), 0), uint64(fnTransform+len(imports))))
	}
	bodies := make([]ops, len(types))
	for f := range types {
		locals := ops{0}
		if _, own := g.does[f]; own && g.locals > 0 || f >= fnMore && g.locals > 0 {
			locals = append(leb(ops{1}, uint64(g.locals)), 0x7f)
		}
		bodies[f] = sized(do(locals, does[f], end))
	}
	out = section(out, 3, sized(types))
	if g.table > 0 {
		out = section(out, 4, leb(ops{1, 0x70, 0}, uint64(g.table)))
	}
	out = section(out, 5, leb(ops{1, 0}, uint64(max(g.pages, 16))))
	if g.global {
		out = section(out, 6, do(ops{1, 0x7f, 1}, i32(0), end))
	}
	out = section(out, 7, vector(names...))
	if g.starts {
		out = section(out, 8, leb(nil, uint64(fnStart+len(imports))))
	}
	if g.table > 0 {
		entry := leb(nil, uint64(fnTransform+len(imports)))
		n := max(g.table, g.entries)
		out = section(out, 9, do(ops{1, 0}, i32(0), end, leb(nil, uint64(n)), bytes.Repeat(entry, n)))
	}
	out = section(out, 10, vector(bodies...))
	block := make([]byte, sdk.ResultSize)
	sdk.Result{VerdictsAddr: atVerdicts}.Put(block)
	data := map[uint32][]byte{atBlock: block, 100: []byte("evil")}
	maps.Copy(data, g.data)
	segments := make([]ops, 0, len(data))
	for _, addr := range slices.Sorted(maps.Keys(data)) {
		segments = append(segments, do(ops{0}, i32(int(addr)), end, sized(data[addr])))
	}
	return section(out, 11, vector(segments...))
}

// The guest that the others are variations of does what it should.
func TestEvilGuestCanBeGood(t *testing.T) {
	i, err := load(t, newHost(t), stamp(t, evil{table: 10}.bytes(), "good")).Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var res Result
	for n := 1; n < 100; n += 7 {
		if err := i.Transform(t.Context(), batchOf(repeat("x", n)...), &res); err != nil || res.Passed != n {
			t.Fatal(err, res.Passed)
		}
	}
}

// bare is a module of one function, for bombs that no manifest is needed for:
// what it declares and what it does.
func bare(locals int, c ops) []byte {
	out := section([]byte("\x00asm\x01\x00\x00\x00"), 1, []byte{1, 0x60, 0, 0})
	out = section(out, 3, []byte{1, 0})
	body := append(leb(ops{1}, uint64(locals)), 0x7f)
	return section(out, 10, vector(sized(do(body, c, end))))
}
