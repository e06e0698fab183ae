//go:build linux

package wasm

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// loads makes a crime of loading bytes.
func loads(name, want, says string, module []byte) crime {
	return crime{name: "decode/" + name, want: want, cost: cost{CPU: 300 * time.Millisecond, Time: time.Second, Memory: 16<<20 + int64(len(module))},
		commit: func(s *scene) error {
			_, err := s.load(module)
			return s.said(err, says)
		}}
}

const magic = "\x00asm\x01\x00\x00\x00"

// with appends a section to a module.
func with(p []byte, id byte, content ...ops) []byte {
	return section(bytes.Clone(p), id, do(content...))
}

func n32(n uint64) ops { return leb(nil, n) }

// decodeCrimes declare what is not there.
func decodeCrimes() []crime {
	empty, oneType := []byte(magic), with([]byte(magic), 1, ops{1, 0x60, 0, 0})
	const most = 1<<32 - 1
	refused := func(name, says string, module []byte) crime { return loads(name, "module_refused", says, module) }
	return []crime{
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
		loads("zeros", "module_too_large", "limit", append([]byte(magic), make([]byte, 64<<20)...)),
		loads("threads", "module_unsupported", "threads", with(empty, 5, ops{1, 3, 1, 1})),
		loads("two memories", "module_unsupported", "several memories", with(empty, 5, ops{2, 0, 1, 0, 1})),
		loads("component", "module_not_wasm", "version", []byte("\x00asm\x0d\x00\x01\x00")),
	}
}

// lotsOfLocals has 20,000 functions with 10,000 locals each, in 200 KB.
func lotsOfLocals() []byte {
	const n = 20_000
	out := with([]byte(magic), 1, ops{1, 0x60, 0, 0})
	out = with(out, 3, n32(n), make(ops, n))
	return with(out, 10, n32(n), bytes.Repeat(sized(do(ops{1}, n32(10_000), ops{0x7f}, end)), n))
}

// compileCrimes are what wazero takes long to compile: places where control
// flows meet, times locals.
func compileCrimes() []crime {
	bomb := func(name, says string, g evil) crime {
		return crime{name: "compile/" + name, want: "module_refused", commit: func(s *scene) error { return s.said(s.run(g), says) }}
	}
	own := func(locals int, c ops) evil { return evil{locals: locals, more: []ops{do(c, i64(0))}} }
	return []crime{
		bomb("nested loops and locals", "units of work", own(1500, loops(900, 1500))),
		bomb("loops over locals", "units of work", own(5000, again(2000, func(i int) ops { return loop(addTo(i%5000, 1), i32(0), brIf(0)) }))),
		bomb("branches over locals", "units of work", own(5000, again(5000, func(i int) ops { return do(get(0), when(addTo(1+i%4000, 1))) }))),
		bomb("br_table", "br_table", own(1, again(8, func(int) ops { return block(i32(0), ops{0x0e}, n32(50_000), make(ops, 50_001)) }))),
		bomb("many br_tables", "units of work", own(1, again(100, func(int) ops { return block(i32(0), ops{0x0e}, n32(4000), make(ops, 4001)) }))),
		bomb("nesting", "nested", own(1, do(bytes.Repeat(ops{0x02, 0x40}, 100_000), bytes.Repeat(end, 100_000)))),
		bomb("body", "bytes in a function", own(1, again(100_000, func(int) ops { return addTo(0, 1) }))),
		bomb("elements", "elements", evil{table: 1 << 16}.withElements(1<<18)),
		bomb("work of all functions", "the module takes more", evil{locals: 400, more: slicesOf(40, loops(180, 400))}),
		{name: "compile/as much as is allowed", cost: cost{CPU: 30 * time.Second, Time: 40 * time.Second, Memory: 300 << 20}, commit: func(s *scene) error {
			return s.runWith(evil{locals: 400, more: slicesOf(18, loops(180, 400))}, InstanceConfig{Time: time.Minute})
		}},
		{name: "compile/straight code as long as is allowed", cost: cost{CPU: 15 * time.Second, Time: 20 * time.Second, Memory: 300 << 20}, commit: func(s *scene) error {
			c := do(again(70_000, func(int) ops { return addTo(0, 1) }))
			return s.runWith(evil{locals: 1, more: slicesOf(14, c)}, InstanceConfig{Time: time.Minute})
		}},
		{name: "compile/tail calls", want: "module_unsupported", commit: func(s *scene) error {
			return s.said(s.run(evil{more: []ops{{0x12, 0}}}), "tail calls")
		}},
		{name: "compile/invalid", want: "module_invalid", commit: func(s *scene) error { return s.run(evil{more: []ops{{0x6a}}}) }},
	}
}

// loops nests n loops around changes of all locals, each of which every loop has
// to carry.
func loops(n, locals int) ops {
	return do(bytes.Repeat(ops{0x03, 0x40}, n), again(locals, func(i int) ops { return addTo(1+i, 1) }),
		again(n, func(i int) ops { return do(get(1+i%locals), brIf(0), end) }))
}

func slicesOf(n int, c ops) []ops {
	list := make([]ops, n)
	for i := range list {
		list[i] = do(c, i64(0))
	}
	return list
}

// withElements gives the guest's table more elements than it has entries.
func (g evil) withElements(n int) evil {
	g.table, g.entries = 1<<16, n
	return g
}

// manifestCrimes say more of themselves than anybody wants to know.
func manifestCrimes() []crime {
	manifest := func(name, text string) crime {
		return crime{name: "manifest/" + name, want: "module_manifest", commit: func(s *scene) error {
			_, err := s.load(section(evil{}.bytes(), 0, append(textOf(sdk.ManifestSection), text...)))
			return err
		}}
	}
	const head = `{"name":"x","version":"1","abi":1,"kind":"transform","config_schema":`
	return []crime{
		manifest("huge", head+`"`+strings.Repeat("x", 5<<20)+`"}`),
		manifest("deep", head+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}"),
		manifest("cut", head),
		manifest("keys", fmt.Sprintf(`{%s"name":"x"}`, strings.Repeat(`"a":1,`, 20_000))),
		{name: "manifest/none", want: "module_lacks_manifest", commit: func(s *scene) error {
			_, err := s.load(evil{}.bytes())
			return err
		}},
		{name: "manifest/many", commit: func(s *scene) error {
			p := evil{}.bytes()
			for range 200 {
				p = section(p, 0, append(textOf(sdk.ManifestSection), "{}"...))
			}
			_, err := s.load(stamp(s.T, p, "evil"))
			return err
		}},
	}
}

func textOf(s string) []byte { return text(nil, s) }
