//go:build linux

package wasm

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// Functions of kv in guests that import them all.
const (
	kvfGet = iota
	kvfPut
	kvfDelete
	kvfScan
	kvfUndo
)

func importKV() []guestImport {
	var list []guestImport
	for _, name := range []string{"get", "put", "delete", "scan", "undo"} {
		list = append(list, imported(sdk.ModuleKV, name))
	}
	return list
}

// Calls of kv, with the key of four bytes at 200, of which local 1 is a part.
var kvKeyed = do(addTo(1, 1), i32(0), get(1), store(200))

func kvPuts(row, key, value int) ops {
	return do(i32(row), i32(200), i32(key), i32(4096), i32(value), call(kvfPut), drop)
}

func kvScans(after ops, room int) ops {
	return do(i32(200), i32(0), after, i32(atBatch+8192), i32(room), call(kvfScan), drop)
}

// kvCrimes keep too much, look too often, and write where nothing is theirs.
func kvCrimes() []crime {
	with := func(name, want, says string, quota int64, limit time.Duration, c ops) crime {
		return crime{name: "kv/" + name, want: want, commit: func(s *scene) error {
			config := capable()
			config.KVBytesMax, config.Time = quota, limit
			err := s.runWith(evil{imports: importKV(), locals: 2, pages: 64, data: map[uint32][]byte{300: bytes.Repeat([]byte{255}, 8)}, does: map[int]ops{fnTransform: do(c, passes())}}, config)
			if says != "" {
				return s.said(err, says)
			}
			return err
		}}
	}
	flood := func(name string, c ...ops) crime {
		return with("flood of "+name, codeKVLimit, "10000 operations", 0, time.Minute, forever(c...))
	}
	many := func(c ops) ops { // 4,000 keys, then c without end
		return do(loop(kvKeyed, kvPuts(0, 4, 8), get(1), i32(4000), ops{0x48}, brIf(0)), forever(c))
	}
	key := do(i32(200), i32(4))
	return []crime{
		flood("writes", kvKeyed, kvPuts(0, 4, 8)),
		flood("writes of one key", kvPuts(0, 4, 8)),
		flood("writes that are undone", kvKeyed, kvPuts(0, 4, 60<<10), i32(0), call(kvfUndo), drop),
		flood("reads", kvKeyed, key, i32(4096), i32(64), call(kvfGet), drop),
		flood("deletions", kvKeyed, i32(0), key, call(kvfDelete), drop),
		flood("scans", kvScans(do(i32(200), i32(0)), 1<<20)),
		with("scans over many writes", codeTimeout, "", 0, 0, many(kvScans(do(i32(200), i32(0)), 0))),
		with("scans over many writes, each done", codeKVLimit, "10000 operations", 0, time.Minute, many(kvScans(do(i32(200), i32(0)), 1<<20))),
		with("scans behind many writes", codeKVLimit, "10000 operations", 0, time.Minute, many(kvScans(do(i32(300), i32(8)), 1<<20))),
		with("4 MiB of values", codeKVLimit, "4 MiB", 0, time.Minute, forever(kvKeyed, kvPuts(0, 4, sdk.KVValueBytesMax))),
		with("over its quota", "kv_quota", "may keep 1000", 1000, time.Minute, forever(kvKeyed, kvPuts(0, 4, 100))),
		with("huge keys", codeTimeout, "", 0, 0, forever(kvPuts(0, sdk.KVKeyBytesMax+1, 8), kvPuts(0, -1, 8), kvPuts(0, 0, 8))),
		with("huge values", codeTimeout, "", 0, 0, forever(kvPuts(0, 4, sdk.KVValueBytesMax+1), kvPuts(0, 4, -1), kvPuts(0, 4, math.MinInt32))),
		{name: "kv/rows that are not in hand", commit: func(s *scene) error {
			rows := do(kvPuts(2, 4, 8), kvPuts(-1, 4, 8), kvPuts(math.MinInt32, 4, 8), kvPuts(1, 4, 8), kvPuts(0, 4, 9)) // row 0 is behind
			return s.writes(do(rows, passes()), nil, "1")
		}},
		{name: "kv/rows that were not done", commit: func(s *scene) error { // each call does one row, and the first has written for both
			one := do(i32(0), load32(batchFirst), i32(1), add, store(atBlock), i32(0), i32(1), store(atBlock+8), i64(sdk.Pack(atBlock, sdk.ResultSize)))
			return s.writes(do(load32(batchFirst), set(1), get(1), i32(200), i32(4), i32(4096), i32(8), call(kvfPut), drop, kvPuts(1, 4, 9), one), nil, "011")
		}},
		{name: "kv/outside a batch", commit: func(s *scene) error {
			c := kvPuts(0, 4, 8)
			return s.writes(passes(), map[int]ops{fnInit: do(c, i64(0)), fnSchema: do(c, i64(0)), fnBuf: do(c, i32(atBatch))}, "")
		}},
		{name: "kv/a batch that fails", want: codeTrap, commit: func(s *scene) error { return s.writes(do(kvPuts(0, 4, 8), trap), nil, "") }},
	}
}

// writes runs a guest that imports kv, and compares the rows that wrote.
func (s *scene) writes(transform ops, does map[int]ops, rows string) error {
	all := map[int]ops{fnTransform: transform}
	maps.Copy(all, does)
	i, err := s.start(evil{imports: importKV(), locals: 2, does: all}, capable())
	if err != nil {
		return err
	}
	var res Result
	err = i.Transform(s.Context(), batchOf("x", "y"), &res)
	got := ""
	for _, w := range res.Writes {
		got += fmt.Sprint(w.Row)
	}
	if got != rows {
		s.Errorf("writes of rows %q, want %q", got, rows)
	}
	return err
}

// leaveCrimes try to leave something of one job for the next through what
// instances of the same code begin with.
func leaveCrimes() []crime {
	used := func(c, mark ops) evil { // it traps where it finds what it left
		return evil{global: true, does: map[int]ops{fnTransform: do(c, when(trap), mark, passes())}}
	}
	withTable := used(do(i32(0), ops{0x25, 0, 0xd1}), do(i32(0), ops{0xd0, 0x70, 0x26, 0}))
	withTable.table = 4
	leaves := func(name string, g evil) crime {
		return crime{name: "leave/" + name, commit: func(s *scene) error { return s.leaves(g) }}
	}
	return []crime{
		leaves("in memory", used(load32(300), do(i32(0), i32(1), store(300)))),
		leaves("in memory that it grew", used(do(ops{0x3f, 0}, i32(16), ops{0x4b}), do(i32(1), grow, drop))),
		leaves("in a global", used(ops{0x23, 0}, do(i32(1), ops{0x24, 0}))),
		leaves("in a table", withTable),
		{name: "leave/under the host's names", want: "module_refused", commit: func(s *scene) error { return s.run(evil{global: true, exports: "cdcd:global:0"}) }},
		{name: "leave/secret, read before it is configured", commit: func(s *scene) error { return s.leavesSecret() }},
		{name: "leave/kv before it is configured", commit: func(s *scene) error {
			g := evil{imports: importKV(), locals: 1, starts: true, does: map[int]ops{fnStart: kvPuts(0, 4, 8)}}
			return s.begins(g, "uses capabilities")
		}},
		{name: "leave/what its limit of memory is", commit: func(s *scene) error {
			g := evil{starts: true, does: map[int]ops{fnStart: loop(i32(1), grow, i32(-1), ops{0x47}, brIf(0))}}
			for _, most := range []int64{2 << 20, 8 << 20, 2 << 20} {
				i, err := s.start(g, InstanceConfig{MemoryBytesMax: most})
				if err != nil {
					return err
				}
				if i.MemoryBytes() != most {
					s.Errorf("%d bytes of memory, may have %d", i.MemoryBytes(), most)
				}
			}
			return nil
		}},
		{name: "leave/as much as a snapshot may have", cost: cost{Memory: 2*snapshotBytesMax + 40<<20}, commit: func(s *scene) error {
			const pages = snapshotBytesMax / pageBytes
			return s.begins(evil{pages: pages, starts: true, does: map[int]ops{fnStart: do(i32(atBatch), i32(7), i32((pages-1)*pageBytes), fill)}}, "")
		}},
	}
}

// leaves has instances of one code run for several jobs: each finds nothing of
// the others, and in its second batch what it left itself.
func (s *scene) leaves(g evil) error {
	for n := range 4 {
		i, err := s.start(g, InstanceConfig{Pipeline: fmt.Sprint("job", n)})
		if err != nil {
			return err
		}
		if err := i.Transform(s.Context(), batchOf("x", "y"), &Result{}); err != nil {
			return fmt.Errorf("job %d found something: %w", n, err)
		}
		if n%2 == 1 {
			if err := i.Transform(s.Context(), batchOf("x", "y"), &Result{}); err == nil {
				s.Error("it does not find what it left itself: this would see nothing")
			}
		}
	}
	return nil
}

// begins makes two instances and looks whether they begin with a snapshot: why
// not, "" if they should.
func (s *scene) begins(g evil, why string) error {
	m, err := s.load(stamp(s.T, g.bytes(), "evil", g.grants()...))
	if err != nil {
		return err
	}
	for n := range 2 {
		c := capable()
		c.Pipeline, c.MemoryBytesMax, c.Capabilities = fmt.Sprint("job", n), MemoryBytesDefault, g.grants()
		i, err := m.Instantiate(s.Context(), c)
		if err != nil {
			return err
		}
		s.open = append(s.open, func() { s.close(i) })
		var res Result
		if err := i.Transform(s.Context(), batchOf("x", "y"), &res); err != nil || len(res.Writes) > 0 {
			s.Errorf("%d writes: %v", len(res.Writes), err)
		}
	}
	if ok, said := begun(m); ok != (why == "") || why != "" && !strings.Contains(said, why) {
		s.Errorf("snapshot: %v, %q", ok, said)
	}
	return nil
}

// leavesSecret has a module read a secret before it is configured, for a job
// that has one and for another that has none.
func (s *scene) leavesSecret() error {
	g := evil{imports: []guestImport{imported(sdk.ModuleSecret, "get")}, starts: true, data: map[uint32][]byte{200: []byte("key7")},
		does: map[int]ops{fnStart: do(i32(200), i32(4), i32(600), i32(64), call(0), drop)}}
	for _, secrets := range []bool{true, false, true} {
		c := capable()
		if !secrets {
			c.Secrets = nil
		}
		i, err := s.start(g, c)
		if err != nil {
			return err
		}
		if mem, _ := i.guest.view(0, 4096); bytes.Contains(mem, []byte("secret")) != secrets {
			s.Errorf("a job that has secrets: %v; it sees one: %v", secrets, !secrets)
		}
	}
	return nil
}
