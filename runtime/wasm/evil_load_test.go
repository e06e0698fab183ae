//go:build linux

package wasm

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// decodeCrimes load bombs.
func decodeCrimes() []crime {
	var all []crime
	for _, b := range decodeBombs() {
		most := cost{CPU: 300 * time.Millisecond, Time: 10 * time.Second, Memory: 16<<20 + int64(len(b.module))}
		all = append(all, crime{name: "decode/" + b.name, want: b.want, cost: most, commit: func(s *scene) error {
			_, err := s.load(b.module)
			return s.said(err, b.says)
		}})
	}
	return all
}

// compileCrimes are what wazero takes long to compile: places where control
// flows meet, times locals.
func compileCrimes() []crime {
	refused := func(name, says string, g evil) crime {
		return crime{name: "compile/" + name, want: "module_refused", commit: func(s *scene) error { return s.said(s.run(g), says) }}
	}
	own := func(locals int, c ops) evil { return evil{locals: locals, more: []ops{do(c, i64(0))}} }
	return []crime{
		refused("nested loops and locals", "units of work", own(1500, loops(900, 1500))),
		refused("loops over locals", "units of work", own(5000, again(2000, func(i int) ops { return loop(addTo(i%5000, 1), i32(0), brIf(0)) }))),
		refused("branches over locals", "units of work", own(5000, again(5000, func(i int) ops { return do(get(0), when(addTo(1+i%4000, 1))) }))),
		refused("br_table", "br_table", own(1, again(8, func(int) ops { return block(i32(0), ops{0x0e}, n32(50_000), make(ops, 50_001)) }))),
		refused("many br_tables", "units of work", own(1, again(100, func(int) ops { return block(i32(0), ops{0x0e}, n32(4000), make(ops, 4001)) }))),
		refused("nesting", "nested", own(1, do(bytes.Repeat(ops{0x02, 0x40}, 100_000), bytes.Repeat(end, 100_000)))),
		refused("body", "bytes in a function", own(1, again(100_000, func(int) ops { return addTo(0, 1) }))),
		refused("elements", "elements", evil{table: 1 << 16}.withElements(1<<18)),
		refused("work of all functions", "the module takes more", evil{locals: 400, more: slicesOf(40, loops(180, 400))}),
		{name: "compile/as much as is allowed", cost: cost{CPU: 20 * time.Second, Time: 90 * time.Second, Memory: 96 << 20}, commit: func(s *scene) error {
			return s.runWith(evil{locals: 400, more: slicesOf(18, loops(180, 400))}, InstanceConfig{Time: time.Minute})
		}},
		{name: "compile/straight code as long as is allowed", cost: cost{CPU: 10 * time.Second, Time: 60 * time.Second, Memory: 96 << 20}, commit: func(s *scene) error {
			c := do(again(70_000, func(int) ops { return addTo(0, 1) }))
			return s.runWith(evil{locals: 1, more: slicesOf(14, c)}, InstanceConfig{Time: time.Minute})
		}},
		{name: "compile/tail calls", want: "module_unsupported", commit: func(s *scene) error {
			return s.said(s.run(evil{more: []ops{{0x12, 0}}}), "tail calls")
		}},
		{name: "compile/invalid", want: "module_invalid", commit: func(s *scene) error { return s.run(evil{more: []ops{{0x6a}}}) }},
	}
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
