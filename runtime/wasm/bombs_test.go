package wasm

import "bytes"

// bomb is a file that declares what is not there.
type bomb struct {
	name, want, says string
	module           []byte
}

const magic = "\x00asm\x01\x00\x00\x00"

// with appends a section to a module.
func with(p []byte, id byte, content ...ops) []byte {
	return section(bytes.Clone(p), id, do(content...))
}

func n32(n uint64) ops { return leb(nil, n) }

func decodeBombs() []bomb {
	empty, oneType := []byte(magic), with([]byte(magic), 1, ops{1, 0x60, 0, 0})
	const most = 1<<32 - 1
	refused := func(name, says string, module []byte) bomb { return bomb{name, "module_refused", says, module} }
	return []bomb{
		refused("imports", "imports", with(empty, 2, n32(most))),
		refused("types", "types", with(empty, 1, n32(most))),
		refused("parameters", "parameters", with(empty, 1, ops{1, 0x60}, n32(most))),
		refused("functions", "functions", with(oneType, 3, n32(most))),
		refused("functions that are there", "functions", with(oneType, 3, n32(200_000), make(ops, 200_000))),
		refused("tables", "tables", with(empty, 4, n32(most))),
		refused("table", "entries", with(empty, 4, ops{1, 0x70, 0}, n32(100_000_000))),
		refused("memory", "pages", with(empty, 5, ops{1, 0}, n32(65536))),
		refused("globals", "globals", with(empty, 6, n32(most))),
		refused("exports", "exports", with(empty, 7, n32(20_000_000))),
		refused("element segments", "segments", with(empty, 9, n32(most))),
		refused("bodies", "bodies", with(oneType, 10, n32(most))),
		refused("locals", "locals", bare(200_000_000, nil)),
		refused("locals of all functions", "functions have more than", lotsOfLocals()),
		refused("data", "bytes announced", with(with(empty, 5, ops{1, 0, 1}), 11, ops{1, 0}, i32(0), end, n32(most))),
		refused("data segments", "segments", with(empty, 11, n32(most))),
		refused("name", "name", with(empty, 2, ops{1}, n32(1<<31))),
		refused("section", "announced", append([]byte(magic), 1, 0xff, 0xff, 0xff, 0xff, 0x0f)),
		refused("endless number", "number", append([]byte(magic), 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
		refused("custom sections", "custom", append([]byte(magic), bytes.Repeat([]byte{0, 2, 1, 'x'}, 1_000_000)...)),
		{"zeros", "module_too_large", "limit", append([]byte(magic), make([]byte, 64<<20)...)},
		{"threads", "module_unsupported", "threads", with(empty, 5, ops{1, 3, 1, 1})},
		{"two memories", "module_unsupported", "several memories", with(empty, 5, ops{2, 0, 1, 0, 1})},
		{"component", "module_not_wasm", "version", []byte("\x00asm\x0d\x00\x01\x00")},
	}
}

// lotsOfLocals has 20,000 functions with 10,000 locals each, in 200 KB.
func lotsOfLocals() []byte {
	const n = 20_000
	out := with([]byte(magic), 1, ops{1, 0x60, 0, 0})
	out = with(out, 3, n32(n), make(ops, n))
	return with(out, 10, n32(n), bytes.Repeat(sized(do(ops{1}, n32(10_000), ops{0x7f}, end)), n))
}

// loops nests n loops around changes of all locals, each of which every loop has
// to carry.
func loops(n, locals int) ops {
	return do(bytes.Repeat(ops{0x03, 0x40}, n), again(locals, func(i int) ops { return addTo(1+i, 1) }),
		again(n, func(i int) ops { return do(get(1+i%locals), brIf(0), end) }))
}
