//go:build linux

package wasm

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
)

// imported makes an import of a capability's function.
func imported(module, name string) guestImport {
	return guestImport{module, name, kindTypes[capabilities[module].funcs[name].kind]}
}

// capable is an instance's configuration with something in each capability.
func capable() InstanceConfig {
	secrets := map[string]unit.Secret{}
	for n := range 20 { // more than a map compares one by one
		secrets[fmt.Sprint("key", n)] = unit.NewSecret("secret")
	}
	return InstanceConfig{MemoryBytesMax: 32 << 20, KV: memory{}, Secrets: secrets, Metrics: NewMetrics()}
}

// wild are addresses, lengths, rows and numbers of whatever that are none.
var wild = []int{0, -1, -8, 1<<31 - 1, -1 << 31, 16 << 16, 16<<16 - 4, 65537}

// wildly calls function f of a kind with each wild value in each place, the
// others being good.
func wildly(f int, kind string) ops {
	params, result, _ := strings.Cut(kind, ":")
	var c ops
	for at := range len(params) {
		for _, v := range wild {
			for k, p := range params {
				switch {
				case p == 'F':
					c = append(c, f64(math.Inf(v))...)
				case k == at:
					c = append(c, i32(v)...)
				default:
					c = append(c, i32(8)...)
				}
			}
			c = append(c, call(f)...)
			if result != "" {
				c = append(c, drop...)
			}
		}
	}
	if params == "" {
		c = do(call(f), drop)
	}
	return c
}

func f64(v float64) ops {
	bits := math.Float64bits(v)
	c := ops{0x44}
	for range 8 {
		c, bits = append(c, byte(bits)), bits>>8
	}
	return c
}

// capabilityCrimes are about all capabilities: each function is called wildly
// and without end, and none is had that was not granted.
func capabilityCrimes() []crime {
	var all []crime
	for _, module := range slices.Sorted(maps.Keys(capabilities)) {
		c := capabilities[module]
		if c.funcs == nil {
			all = append(all, crime{name: "grant/" + c.grant + " is not offered", want: "capability_unavailable", commit: func(s *scene) error {
				return s.run(evil{imports: []guestImport{{module, "send", tFour}}})
			}})
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(c.funcs)) {
			want := codeTimeout
			if module == sdk.ModuleKV && name != "undo" {
				want = codeKVLimit
			}
			g := evil{imports: []guestImport{imported(module, name)}, does: map[int]ops{fnTransform: forever(wildly(0, c.funcs[name].kind))}}
			all = append(all, crime{name: "wild/" + c.grant + "." + name, want: want, commit: func(s *scene) error {
				config := capable()
				if want == codeKVLimit {
					config.Time = time.Minute
				}
				return s.runWith(g, config)
			}})
		}
	}
	return append(slices.Concat(all, grantCrimes(), secretCrimes()), crime{name: "flood/large values", want: codeTimeout, commit: func(s *scene) error {
		i, err := s.start(evil{imports: []guestImport{imported(sdk.ModuleValue, "read")}, pages: 400,
			does: map[int]ops{fnTransform: forever(i32(0), i32(0), i32(atBatch+1<<20), i32(8<<20), call(0), drop)}}, InstanceConfig{})
		if err != nil {
			return err
		}
		return i.Transform(s.Context(), batchOf(strings.Repeat("x", 8<<20)), &Result{})
	}})
}

// grantCrimes import what the manifest, or the configuration, does not have: of
// each capability in turn.
func grantCrimes() []crime {
	refused := func(what, want string, declared, granted bool) crime {
		return crime{name: "grant/" + what, want: want, commit: func(s *scene) (err error) {
			for module, c := range capabilities {
				if c.funcs == nil {
					continue
				}
				list := map[bool][]string{true: {c.grant}}
				name := slices.Sorted(maps.Keys(c.funcs))[0]
				m, lerr := s.load(stamp(s.T, evil{imports: []guestImport{imported(module, name)}}.bytes(), "evil", list[declared]...))
				if lerr != nil {
					return lerr
				}
				if _, err = m.Instantiate(s.Context(), InstanceConfig{Capabilities: list[granted]}); !fault.HasCode(err, want) {
					return err
				}
			}
			return err
		}}
	}
	return []crime{
		refused("without a grant", "capability_not_granted", true, false),
		refused("undeclared", "capability_not_declared", false, true),
	}
}

// secretCrimes guess names, and count what is no number.
func secretCrimes() []crime {
	asks := func(name string, c ops) crime { // secret.get is function 0; the name's number is at 203
		return crime{name: "secret/" + name, want: codeTimeout, commit: func(s *scene) error {
			return s.runWith(evil{imports: []guestImport{imported(sdk.ModuleSecret, "get")}, pages: 400, locals: 1, data: map[uint32][]byte{200: []byte("kez")},
				does: map[int]ops{fnTransform: forever(addTo(1, 1), i32(0), get(1), store(203), c)}}, capable())
		}}
	}
	counts := func(name, want string, c ops) crime { // declare, add, set and observe are functions 0 to 3
		return crime{name: "metrics/" + name, want: want, commit: func(s *scene) error {
			config := capable()
			imports := []guestImport{imported(sdk.ModuleMetrics, "declare"), imported(sdk.ModuleMetrics, "add"), imported(sdk.ModuleMetrics, "set"), imported(sdk.ModuleMetrics, "observe")}
			bounds := slices.Concat(f64(1)[1:], f64(2)[1:])
			err := s.runWith(evil{imports: imports, locals: 1, data: map[uint32][]byte{200: []byte("rows"), 400: bounds}, does: map[int]ops{fnTransform: do(c, passes())}}, config)
			list := config.Metrics.Snapshot()
			if len(list) == 0 || len(list) > sdk.MetricsMax {
				s.Errorf("%d metrics", len(list))
			}
			for _, m := range list {
				if math.IsInf(m.Value, 0) || math.IsNaN(m.Value) {
					s.Errorf("%s is %v", m.Name, m.Value)
				}
			}
			return err
		}}
	}
	declare := func(kind uint32, length, bounds int) ops {
		return do(i32(int(kind)), i32(200), i32(length), i32(400), i32(bounds), call(0), drop)
	}
	letter := do(i32(0), get(1), i32(26), ops{0x70}, i32('a'), add, ops{0x3a, 0}, leb(nil, 203), addTo(1, 1)) // the name's last
	number := func(f, n int, v float64) ops { return do(i32(n), f64(v), call(f), drop) }
	most := func(f, n int) ops { return again(4, func(int) ops { return number(f, n, math.MaxFloat64) }) }
	return []crime{
		asks("guessing names", do(i32(200), i32(7), i32(4096), i32(64), call(0), drop)),
		asks("names of 20 MiB", do(i32(200), i32(20<<20), i32(4096), i32(64), call(0), drop)),
		counts("a flood of names", codeTimeout, forever(letter, declare(sdk.MetricCounter, 4, 0), declare(sdk.MetricGauge, 3, 0), declare(sdk.MetricHistogram, 2, 2))),
		counts("a flood of values", codeTimeout, do(declare(sdk.MetricHistogram, 4, 2), forever(number(3, 0, 1.5)))),
		counts("numbers of no metric", codeTimeout, do(declare(sdk.MetricCounter, 4, 0), forever(number(1, 99, 1), number(2, -1, 1), number(3, 0, 1)))),
		counts("more than a number holds", "", do(declare(sdk.MetricCounter, 4, 0), declare(sdk.MetricGauge, 3, 0), declare(sdk.MetricHistogram, 2, 2),
			most(1, 0), most(1, 1), number(1, 1, -math.MaxFloat64), most(3, 2))),
	}
}
