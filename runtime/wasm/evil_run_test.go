//go:build linux

package wasm

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Import lists that crimes need.
var (
	importLog   = []guestImport{{sdk.ModuleLog, "write", tLog}}
	importYield = []guestImport{{wasiModule, "sched_yield", tPlain}}
	importRand  = []guestImport{{wasiModule, "random_get", tBuf}}
	importWrite = []guestImport{{wasiModule, "fd_write", tFour}}
	importPoll  = []guestImport{{wasiModule, "poll_oneoff", tFour}}
	importExit  = []guestImport{{wasiModule, "proc_exit", tExit}}
)

// places are the functions that a crime can be committed in, and what its kind
// of fault is there.
var places = []struct {
	name  string
	f     int
	value ops // what the function has to give back
}{
	{"start", fnStart, nil}, {"_initialize", fnInitialize, nil}, {"cdcd_buf", fnBuf, i32(atBatch)}, {"cdcd_init", fnInit, i64(0)},
	{"cdcd_schema", fnSchema, i64(0)}, {"cdcd_transform", fnTransform, passes()},
}

// first puts what is done in front of what a function of a guest would do.
func first(f int, c, value ops) evil {
	return evil{does: map[int]ops{f: do(c, value)}, starts: f == fnStart}
}

// spinCrimes never come back.
func spinCrimes() []crime {
	var all []crime
	for _, p := range places {
		took := cost{CPU: startTimeMin + 2*time.Second, Time: startTimeMin + 20*time.Second}
		if p.f >= fnSchema && p.f <= fnTransform {
			took = cost{}
		}
		all = append(all, crime{name: "loop/" + p.name, want: codeTimeout, cost: took, commit: func(s *scene) error {
			return s.run(first(p.f, forever(), nil))
		}})
	}
	spins := func(name, want string, g evil) crime {
		return crime{name: "spin/" + name, want: want, commit: func(s *scene) error { return s.run(g) }}
	}
	in := func(c ops) evil { return evil{does: map[int]ops{fnTransform: c}, locals: 2} }
	twice := func(f int) ops { // calls f for the parameter less 1, twice
		return do(get(0), when(get(0), i32(1), sub, call(f), drop, get(0), i32(1), sub, call(f), drop), i64(0))
	}
	return append(all,
		spins("exponential recursion", codeTimeout, in(twice(fnTransform))),
		spins("deep recursion", codeTrap, in(do(get(0), call(fnTransform)))),
		spins("mutual recursion", codeTrap, evil{does: map[int]ops{fnTransform: do(get(0), call(fnMore))}, more: []ops{do(get(0), call(fnTransform))}}),
		spins("recursion through a table", codeTrap, evil{table: 3, does: map[int]ops{fnTransform: do(get(0), i32(1), ops{0x11, tLen, 0})}}),
		spins("recursion with many locals", codeTrap, evil{locals: 5000, does: map[int]ops{fnTransform: do(again(5000, func(i int) ops { return addTo(1+i%2, 1) }), get(0), call(fnTransform))}}),
		spins("memory.fill", codeTimeout, in(forever(i32(0), i32(0), i32(1<<20), fill))),
		spins("memory.copy", codeTimeout, in(forever(i32(0), i32(1), i32(1<<19), copies))),
		spins("memory.grow", codeTimeout, in(forever(i32(1), grow, drop))),
		spins("table.grow", codeTimeout, evil{table: 1, does: map[int]ops{fnTransform: forever(growT, drop)}}),
		crime{name: "spin/fuel ends it first", want: codeFuel, commit: func(s *scene) error {
			return s.runWith(in(forever()), InstanceConfig{Fuel: 1_000_000, Time: time.Minute})
		}},
		crime{name: "spin/a row a call", want: codeTimeout, commit: func(s *scene) error { return s.slowly(1) }},
		crime{name: "spin/a byte more room a call", want: codeTimeout, commit: func(s *scene) error { return s.slowly(0) }},
	)
}

// slowly has a guest do so many rows a call, and each call take half of the time
// that a batch has.
func (s *scene) slowly(rows int) error {
	work := loop(addTo(1, 1), get(1), i32(20_000_000), ops{0x48}, brIf(0))
	answer := do(load32(batchFirst), set(2), i32(0), get(2), i32(rows), add, store(atBlock), i32(0), i32(rows), store(atBlock+8),
		i32(0), load32(batchCapacity), i32(1), add, store(atBlock+28), i64(sdk.Pack(atBlock, sdk.ResultSize)))
	i, err := s.start(evil{locals: 2, pages: 64, does: map[int]ops{fnTransform: do(i32(0), set(1), work, answer)}}, InstanceConfig{Time: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	return i.Transform(s.Context(), batchOf(repeat("x", 500)...), &Result{})
}

// memoryCrimes want all memory there is.
func memoryCrimes() []crime {
	all := do(loop(i32(16), grow, i32(-1), ops{0x47}, brIf(0)), passes()) // until it is refused
	touch := do(i32(atBatch+4096), i32(255), i32(15<<20), fill, passes())
	return []crime{
		{name: "memory/all that it may have", commit: func(s *scene) error { return s.run(evil{does: map[int]ops{fnTransform: all}}) }},
		{name: "memory/all, touched", commit: func(s *scene) error {
			return s.run(evil{does: map[int]ops{fnTransform: do(i32(240), grow, drop, touch)}})
		}},
		{name: "memory/more than the host has", want: "memory_limit", commit: func(s *scene) error {
			for { // each may have 64 MiB and takes them; the host has 256
				i, err := s.start(evil{}, InstanceConfig{MemoryBytesMax: 64 << 20})
				if err != nil {
					return err
				}
				_ = i
				if err := s.runWith(evil{does: map[int]ops{fnInit: do(i32(900), grow, drop, i64(0))}}, InstanceConfig{MemoryBytesMax: 64 << 20}); err != nil {
					return err
				}
			}
		}},
		{name: "memory/begins with too much", want: "memory_limit", commit: func(s *scene) error { return s.run(evil{pages: 16384}) }},
		{name: "memory/out of bounds", want: codeTrap, commit: func(s *scene) error {
			return s.run(evil{does: map[int]ops{fnTransform: do(i32(-8), i64(1), ops{0x37, 3, 0}, passes())}})
		}},
		{name: "memory/table grown to its end", commit: func(s *scene) error {
			return s.run(evil{table: 1, does: map[int]ops{fnTransform: do(loop(growT, i32(-1), ops{0x47}, brIf(0)), passes())}})
		}},
		{name: "memory/trap after trap at full depth", cost: cost{CPU: 4 * time.Second, Time: 30 * time.Second, Memory: 128 << 20}, commit: func(s *scene) error {
			for range 100 {
				err := s.runAndClose(InstanceConfig{Time: time.Minute}, evil{does: map[int]ops{fnTransform: do(get(0), call(fnTransform))}})
				if !fault.HasCode(err, codeTrap) {
					return err
				}
			}
			return nil
		}},
	}
}

// runAndClose gives two rows to a guest, and unloads it.
func (s *scene) runAndClose(c InstanceConfig, g evil) error {
	n := len(s.open)
	err := s.runWith(g, c)
	for _, f := range s.open[n:] {
		f()
	}
	s.open = s.open[:n]
	return err
}

// resultCrimes answer what is not there, or not so.
func resultCrimes() []crime {
	const wrap = 1<<32 - 16
	answers := func(name string, r sdk.Result, data map[uint32][]byte) crime {
		p := make([]byte, sdk.ResultSize)
		r.Put(p)
		all := map[uint32][]byte{atBlock: p}
		for at, d := range data {
			all[at] = d
		}
		g := evil{does: map[int]ops{fnTransform: i64(sdk.Pack(atBlock, sdk.ResultSize))}, data: all}
		return crime{name: "result/" + name, want: codeABI, commit: func(s *scene) error { return s.run(g) }}
	}
	returns := func(name string, f int, v ops) crime {
		return crime{name: "result/" + name, want: codeABI, commit: func(s *scene) error { return s.run(evil{does: map[int]ops{f: v}}) }}
	}
	verdicts := func(v ...byte) map[uint32][]byte { return map[uint32][]byte{atVerdicts: v} }
	two := sdk.Result{RowsDone: 2, VerdictsAddr: atVerdicts, VerdictsLen: 2}
	output, reasons, far := two, two, two
	output.OutputAddr, output.OutputLen = wrap, 64
	reasons.ReasonsAddr, reasons.ReasonsLen = wrap, 64
	far.VerdictsAddr = wrap
	scribble := func(b int, v ...byte) crime { // over the whole of the batch behind its header
		g := evil{data: verdicts(v...), does: map[int]ops{fnTransform: do(i32(atBatch+sdk.HeaderSize), i32(b), i32(400), fill,
			i32(0), i32(2), store(atBlock), i32(0), i32(2), store(atBlock+8), i64(sdk.Pack(atBlock, sdk.ResultSize)))}}
		return crime{name: fmt.Sprintf("result/batch overwritten with %#x", b), want: codeABI, commit: func(s *scene) error { return s.run(g) }}
	}
	return []crime{
		returns("buffer that wraps", fnBuf, i32(-8)), returns("buffer at 0", fnBuf, i32(0)), returns("buffer askew", fnBuf, i32(atBatch+1)),
		returns("block that wraps", fnTransform, i64(0x7fffffff_ffffffff)), returns("schema that wraps", fnSchema, i64(0x7ffffff0_00000100)),
		answers("verdicts that wrap", far, nil), answers("output that wraps", output, verdicts(3, 0)), answers("reasons that wrap", reasons, verdicts(4, 0)),
		answers("more rows than there are", sdk.Result{RowsDone: 1 << 31, VerdictsAddr: atVerdicts, VerdictsLen: 1 << 31}, nil),
		answers("a verdict that there is not", two, verdicts(0, 200)),
		answers("no progress", sdk.Result{VerdictsAddr: atVerdicts}, nil),
		scribble(0xff, 2, 2), scribble(0x7f, 2, 2),
		{name: "result/batch overwritten, rows passed", commit: func(s *scene) error {
			return s.run(evil{does: map[int]ops{fnTransform: do(passes(), i32(atBatch), i32(255), i32(400), fill)}})
		}},
		{name: "result/other each time", commit: func(s *scene) error { return s.moody() }},
	}
}

// moody is a guest that drops rows in every second call: what it says counts,
// whatever it said before.
func (s *scene) moody() error {
	flip := do(load32(300), i32(1), ops{0x73}, set(1), i32(0), get(1), store(300), i32(0), get(1), ops{0x3a, 0}, n32(atVerdicts))
	i, err := s.start(evil{locals: 1, does: map[int]ops{fnTransform: do(flip, passes())}}, InstanceConfig{})
	if err != nil {
		return err
	}
	for n := range 6 {
		var res Result
		if err := i.Transform(s.Context(), batchOf("x", "y"), &res); err != nil || res.Dropped != 1-n%2 {
			s.Errorf("call %d: %d dropped: %v", n, res.Dropped, err)
		}
	}
	return nil
}

// floodCrimes say too much.
func floodCrimes() []crime {
	flood := func(name, want string, g evil, says string, linesMax int) crime {
		return crime{name: "flood/" + name, want: want, commit: func(s *scene) error {
			err := s.runWith(g, InstanceConfig{MemoryBytesMax: 64 << 20, Log: slog.New(slog.NewTextHandler(&s.log, nil))})
			if n := strings.Count(s.log.String(), "\n"); n > linesMax || s.log.Len() > linesMax*2*lineBytesMax {
				s.Errorf("%d lines, %d bytes are in the log", n, s.log.Len())
			}
			if says != "" {
				return s.said(err, says)
			}
			return err
		}}
	}
	calls := func(imports []guestImport, c ops) evil {
		return evil{imports: imports, pages: 512, does: map[int]ops{fnTransform: forever(c)}, data: map[uint32][]byte{400: iovecs(4096)}}
	}
	room := func(v uint32) ops {
		return do(i32(0), i32(0), store(atBlock), i32(0), i32(0), store(atBlock+8), i32(0), i32(int(v)), store(atBlock+28), i64(sdk.Pack(atBlock, sdk.ResultSize)))
	}
	output := sdk.Result{RowsDone: 2, VerdictsAddr: atVerdicts, VerdictsLen: 2, OutputAddr: 1 << 20, OutputLen: 30 << 20}
	block := make([]byte, sdk.ResultSize)
	output.Put(block)
	return []crime{
		flood("host calls", codeTimeout, calls(importYield, do(call(0), drop)), "", 0),
		flood("log", codeTimeout, calls(importLog, do(i32(4), i32(0), i32(1<<20), call(0))), "", 2*linesPerSecondMax+2),
		flood("log of rubbish", codeTimeout, calls(importLog, do(i32(99), i32(-1), i32(-1), call(0))), "", 0),
		flood("standard output", codeTimeout, calls(importWrite, do(i32(1), i32(400), i32(1024), i32(8), call(0), drop)), "", 2*linesPerSecondMax+2),
		flood("standard output without lines", codeTimeout, calls(importWrite, do(i32(2), i32(400), i32(1), i32(8), call(0), drop)), "", 2*linesPerSecondMax+2),
		flood("random bytes", codeTimeout, calls(importRand, do(i32(0), i32(32<<20), call(0), drop)), "", 0),
		flood("polls", codeTimeout, calls(importPoll, do(i32(1<<20), i32(2<<20), i32(64), i32(8), call(0), drop)), "", 0),
		flood("output", codeOutput, evil{pages: 600, does: map[int]ops{fnTransform: i64(sdk.Pack(atBlock, sdk.ResultSize))},
			data: map[uint32][]byte{atBlock: block, atVerdicts: {3, 3}}}, "output of", 0),
		flood("room", codeOutput, evil{does: map[int]ops{fnTransform: room(1<<32 - 1)}}, "room", 0),
		flood("schema", codeABI, evil{pages: 200, does: map[int]ops{fnSchema: i64(sdk.Pack(1024, 5<<20))}}, "too long", 0),
		flood("columns", codeABI, evil{data: map[uint32][]byte{512: columnsWithoutEnd()}, does: map[int]ops{fnSchema: i64(sdk.Pack(512, 64))}}, "schema", 0),
		flood("words of an error", "step_config", evil{does: map[int]ops{fnInit: i64(-1), fnError: i64(sdk.Pack(0, 1<<20))}}, "", 0),
		flood("words of an error elsewhere", codeABI, evil{does: map[int]ops{fnInit: i64(-1), fnError: i64(sdk.Pack(1<<30, 1<<20))}}, "outside", 0),
		{name: "flood/reasons", commit: func(s *scene) error { return s.reasons() }},
	}
}

// iovecs are n vectors of 64 KiB.
func iovecs(n int) []byte {
	var p []byte
	for range n {
		p = append(p, 0, 0, 8, 0, 0, 0, 1, 0)
	}
	return p
}

// columnsWithoutEnd is a schema of tableA's id that announces 2^32-1 columns.
func columnsWithoutEnd() []byte {
	return append([]byte{1, 0, 0, 0, 1, 0, 0, 0, 'a', 1, 0, 0, 0, 'b'}, 0xff, 0xff, 0xff, 0xff)
}

// reasons refuses each row with 8 MiB of text, of which a bounded part is kept.
func (s *scene) reasons() error {
	const each = 8 << 20
	r := sdk.Result{RowsDone: 2, VerdictsAddr: atVerdicts, VerdictsLen: 2, ReasonsAddr: 1 << 20, ReasonsLen: 2*each + 16}
	block := make([]byte, sdk.ResultSize)
	r.Put(block)
	i, err := s.start(evil{pages: 300, does: map[int]ops{fnTransform: i64(sdk.Pack(atBlock, sdk.ResultSize))}, data: map[uint32][]byte{
		atBlock: block, atVerdicts: {4, 4}, 1 << 20: {0, 0, 0, 0, 0, 0, 0x80, 0}, 1<<20 + 8 + each: {1, 0, 0, 0, 0, 0, 0x80, 0}}}, InstanceConfig{})
	if err != nil {
		return err
	}
	var res Result
	if err := i.Transform(s.Context(), batchOf("x", "y"), &res); err != nil {
		return err
	}
	if len(res.Dead) != 2 || len(res.Dead[0].Reason) > 3*reasonBytesMax {
		s.Errorf("%d dead, the first for %d bytes of reason", len(res.Dead), len(res.Dead[0].Reason))
	}
	return nil
}
