package wasm

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cdcd-io/cdcd/sdk"
)

// forged describes a module of constants, assembled by hand: a guest that can
// answer anything. Its functions return what the fields say.
type forged struct {
	buf                  uint32
	init, schema, result int64
	errorText            int64
	transform            []byte            // instructions in place of "return result"
	locals               int               // of the transform function, i32
	start                []byte            // instructions of a start function; nil for none
	data                 map[uint32][]byte // by address
	pages                uint32            // of memory; 0 is 4
	omit                 string            // an export to leave out
	imports              [][2]string       // functions to import
	importType           byte              // theirs: 0 is () -> (), 3 is () -> i64
	wrongType            bool              // cdcd_init takes no parameter
}

func leb(p []byte, v uint64) []byte { return binary.AppendUvarint(p, v) }

func sleb(p []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(p, b)
		}
		p = append(p, b|0x80)
	}
}

func text(p []byte, s string) []byte { return append(leb(p, uint64(len(s))), s...) }

func section(p []byte, id byte, body []byte) []byte {
	return append(leb(append(p, id), uint64(len(body))), body...)
}

func i64Const(v int64) []byte { return sleb([]byte{0x42}, v) }

// bytes assembles the module, without a manifest.
func (f forged) bytes() []byte {
	// types: 0 ()->()  1 (i32 i32)->i32  2 (i32)->i64  3 ()->i64
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = section(out, 1, []byte("\x04\x60\x00\x00\x60\x02\x7f\x7f\x01\x7f\x60\x01\x7f\x01\x7e\x60\x00\x01\x7e"))
	if len(f.imports) > 0 {
		p := leb(nil, uint64(len(f.imports)))
		for _, im := range f.imports {
			p = append(text(text(p, im[0]), im[1]), 0, f.importType)
		}
		out = section(out, 2, p)
	}
	funcs := []struct {
		name string
		typ  byte
		body []byte
	}{
		{sdk.ExportABI, 0, nil},
		{sdk.ExportBuf, 1, sleb([]byte{0x41}, int64(int32(f.buf)))},
		{sdk.ExportInit, 2, i64Const(f.init)},
		{sdk.ExportSchema, 2, i64Const(f.schema)},
		{sdk.ExportTransform, 2, i64Const(f.result)},
		{sdk.ExportError, 3, i64Const(f.errorText)},
		{"", 0, f.start},
	}
	if f.transform != nil {
		funcs[4].body = f.transform
	}
	if f.wrongType {
		funcs[2].typ = 3
	}
	types, names, bodies := leb(nil, 7), []byte(nil), leb(nil, 7)
	count := 0
	for i, fn := range funcs {
		types = append(types, fn.typ)
		if fn.name != "" && fn.name != f.omit {
			names = leb(append(text(names, fn.name), 0), uint64(i+len(f.imports)))
			count++
		}
		locals := []byte{0}
		if i == 4 && f.locals > 0 {
			locals = append(leb([]byte{1}, uint64(f.locals)), 0x7f)
		}
		body := append(append(locals, fn.body...), 0x0b)
		bodies = append(leb(bodies, uint64(len(body))), body...)
	}
	if f.omit != "memory" {
		names = append(text(names, "memory"), 2, 0)
		count++
	}
	out = section(out, 3, types)
	pages := f.pages
	if pages == 0 {
		pages = 4
	}
	out = section(out, 5, leb([]byte{1, 0}, uint64(pages)))
	out = section(out, 7, append(leb(nil, uint64(count)), names...))
	if f.start != nil {
		out = section(out, 8, leb(nil, uint64(6+len(f.imports))))
	}
	out = section(out, 10, bodies)
	p := leb(nil, uint64(len(f.data)))
	for _, addr := range slices.Sorted(maps.Keys(f.data)) {
		p = append(sleb(append(p, 0, 0x41), int64(int32(addr))), 0x0b)
		p = append(leb(p, uint64(len(f.data[addr]))), f.data[addr]...)
	}
	return section(out, 11, p)
}

// answer makes a forged guest whose transform always gives the result block.
func answer(r sdk.Result, data map[uint32][]byte) forged {
	block := make([]byte, sdk.ResultSize)
	r.Put(block)
	f := forged{buf: 65536, result: sdk.Pack(1024, sdk.ResultSize), data: map[uint32][]byte{1024: block}}
	maps.Copy(f.data, data)
	return f
}
