package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// spin are forged guests that never come back by themselves.
var spin = map[string][]byte{
	"loop":      {0x03, 0x40, 0x0c, 0, 0x0b, 0x00},
	"host call": {0x03, 0x40, 0x10, 0, 0x1a, 0x0c, 0, 0x0b, 0x00},
	"fill":      {0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x10, 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x00}, // 256 KiB
	"grow":      {0x03, 0x40, 0x41, 0, 0x40, 0, 0x1a, 0x0c, 0, 0x0b, 0x00},
	// Each call makes two more, down to a depth of the batch's size in bytes.
	"exponential": {0x20, 0, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x10, 5, 0x1a, 0x20, 0, 0x41, 1, 0x6b, 0x10, 5, 0x1a, 0x0b, 0x42, 0},
}

func spinner(t testing.TB, name string, c InstanceConfig) *Instance {
	t.Helper()
	f := forged{buf: 65536, pages: 8, imports: [][2]string{{wasiModule, "sched_yield"}}, importType: 3, transform: spin[name]}
	i, err := load(t, newHost(t), stamp(t, f.bytes(), "spin")).Instantiate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCancellationEndsEveryGuest(t *testing.T) {
	for name := range spin {
		t.Run(name, func(t *testing.T) {
			i := spinner(t, name, InstanceConfig{Time: time.Minute})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			began := time.Now()
			if err := i.Transform(ctx, batchOf("x"), &Result{}); err == nil || time.Since(began) > 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
}

// A budget ends a guest at the same place every time, however slow the machine.
func TestFuelEndsEveryGuest(t *testing.T) {
	for name := range spin {
		t.Run(name, func(t *testing.T) {
			var first int64
			for range 2 {
				i := spinner(t, name, InstanceConfig{Time: time.Minute, Fuel: 1_000_000})
				var res Result
				err := i.Transform(t.Context(), batchOf("x"), &res)
				refusedFor(t, err, codeFuel, "1000000")
				if fault.Of(err).Class != fault.Poison {
					t.Errorf("class %v", fault.Of(err).Class)
				}
				if res.Fuel < 1_000_000 || res.Fuel > 1_100_000 || first != 0 && res.Fuel != first {
					t.Errorf("%d used of 1000000, %d before", res.Fuel, first)
				}
				first = res.Fuel
				_, _ = i.Close(t.Context())
			}
		})
	}
}

func TestStepIsolatesRowsOutOfFuel(t *testing.T) {
	s := labStep(t, StepConfig{Instance: InstanceConfig{Time: time.Minute, Fuel: 20_000_000}})
	in := repeat("x", 60)
	in[7], in[8], in[30], in[59] = "loop", "work:1000", "work:10000000", "edit:e"
	var res Result
	if err := s.Process(t.Context(), batchOf(in...), &res); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{7, 30}, deadOf(&res)); d != "" {
		t.Error(d)
	}
	if d := res.Dead[0]; !d.Trap || !strings.Contains(d.Reason, "used up the fuel of a batch, 20000000") {
		t.Errorf("%+v", d)
	}
	if res.Passed != 57 || res.Edited != 1 || res.Out.Rows() != 58 {
		t.Errorf("%d passed, %d edited", res.Passed, res.Edited)
	}
	// The whole is too much for one call, each part is not: no row is to blame.
	if err := s.Process(t.Context(), batchOf(repeat("work:200000", 20)...), &res); err != nil || len(res.Dead) != 0 || res.Passed != 20 {
		t.Errorf("%d dead: %v", len(res.Dead), err)
	}
}

func TestFuelIsTheSameEachTime(t *testing.T) {
	var used []int64
	for range 3 {
		i := labInstance(t, "")
		var res Result
		for range 2 { // the first batch warms the guest up
			if err := i.Transform(t.Context(), batchOf("edit:x", "work:1000", "replace:2"), &res); err != nil {
				t.Fatal(err)
			}
		}
		used = append(used, res.Fuel)
	}
	if used[0] < 1000 || used[0] != used[1] || used[0] != used[2] {
		t.Errorf("used %d", used)
	}
}

// Recursion without an end is a crash of the row, long before the engine's
// stack of 50 MB is full.
func TestRecursionIsBounded(t *testing.T) {
	forgedSelf := forged{buf: 65536, transform: []byte{0x20, 0, 0x10, 4}}
	modules := map[string][]byte{"forged": stamp(t, forgedSelf.bytes(), "self"), "go": goGuest(t, "lab")}
	for name, module := range modules {
		t.Run(name, func(t *testing.T) {
			i, err := load(t, newHost(t), module).Instantiate(t.Context(), InstanceConfig{Time: time.Minute, MemoryBytesMax: 256 << 20})
			if err != nil {
				t.Fatal(err)
			}
			residentKB(t) // collects
			if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
				skip.For(t, "/proc/self/clear_refs, with which the peak of resident memory is reset: %v", err)
			}
			before := peakKB(t)
			err = i.Transform(t.Context(), batchOf("recurse"), &Result{})
			peak := peakKB(t)
			refusedFor(t, err, codeTrap, "too deep")
			if t.Logf("resident memory rose by %d KiB", peak-before); peak-before > 64<<10 {
				t.Errorf("resident memory rose by %d KiB", peak-before)
			}
		})
	}
}

// peakKB is the most that was resident since the peak was reset.
func peakKB(t *testing.T) int { return statusKB(t, "VmHWM") }

// statusKB is a figure of /proc/self/status.
func statusKB(t *testing.T, name string) int {
	t.Helper()
	p, err := os.ReadFile("/proc/self/status")
	if err != nil {
		skip.For(t, "/proc/self/status, where memory is measured")
	}
	_, rest, _ := strings.Cut("\n"+string(p), "\n"+name+":")
	n := 0
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A guest at work lets the collector in: unmetered, a collection waits until
// the guest is done.
func TestSpinningGuestLetsTheCollectorIn(t *testing.T) {
	for _, name := range []string{"loop", "fill", "exponential"} {
		t.Run(name, func(t *testing.T) {
			const limit = 20 * time.Second // until it is closed
			i := spinner(t, name, InstanceConfig{Time: limit})
			done := make(chan error, 1)
			go func() { done <- i.Transform(t.Context(), batchOf("x"), &Result{}) }()
			for i.mu.TryLock() {
				i.mu.Unlock()
				time.Sleep(time.Millisecond)
			}
			var took []time.Duration
			for range 21 {
				at := time.Now()
				runtime.GC()
				took = append(took, time.Since(at))
			}
			slices.Sort(took) // on a machine with other work the worst is the machine's doing
			median := took[len(took)/2]
			if t.Logf("%d collections, median %v, worst %v", len(took), median, took[len(took)-1]); median > 250*time.Millisecond {
				t.Errorf("collections took %v while a guest was spinning", median)
			}
			_, _ = i.Close(t.Context())
			refusedFor(t, <-done, "step_closed", "")
		})
	}
}

func TestLoadRefusesWhatItCannotMeter(t *testing.T) {
	_, err := newHost(t).Load(t.Context(), stamp(t, forged{transform: []byte{0x12, 0}}.bytes(), "tail"))
	refusedFor(t, err, "module_unsupported", "opcode 0x12 at offset")
	_, err = newHost(t).Load(t.Context(), stamp(t, forged{imports: [][2]string{{meter.HostModule, meter.HostFunc}}}.bytes(), "x"))
	refusedFor(t, err, "module_import_denied", meter.HostModule)
}

// Code is kept under the digest of what was compiled, metering included.
func TestCacheIsOfMeteredCode(t *testing.T) {
	dir := t.TempDir()
	h, err := NewHost(Options{Compile: CompileHere, CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, h, stamp(t, passAll().bytes(), "pass"))
	defer h.Close(t.Context())
	if _, err := os.Stat(filepath.Join(dir, m.Digest())); err == nil {
		t.Error("code is kept under the digest of the module that was not metered")
	}
	if list, _ := filepath.Glob(filepath.Join(dir, "*.code")); len(list) != 1 {
		t.Errorf("%d entries", len(list))
	}
}

// heapBytes is what has ever been allocated.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// What a module of so many bytes may make each of us allocate: the meter a few
// times its size, the engine's decoder and compiler a page for each byte.
const (
	vetBytesMax, vetBytesEach         = 2 << 20, 64
	compileBytesMax, compileBytesEach = 64 << 20, 4096
)

// What vet and the meter let through is valid metered if it is valid as it is,
// and invalid if it is not. Neither they nor the engine allocate more than goes
// with its size.
func FuzzMeter(f *testing.F) {
	f.Add(passAll().bytes())
	f.Add(forged{imports: [][2]string{{wasiModule, "fd_write"}}, start: []byte{0}}.bytes())
	f.Add(evil{table: 8, starts: true}.bytes())
	f.Add(bare(3, loops(4, 3)))
	for _, code := range spin {
		f.Add(forged{buf: 65536, transform: code}.bytes())
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		at := heapBytes()
		v, err := vet(module)
		if err != nil {
			return
		}
		limits := policyOf(&v.survey).bodies
		metered, err := meter.Rewrite(module, limits)
		if took := heapBytes() - at; took > vetBytesMax+vetBytesEach*uint64(len(module)) {
			t.Fatalf("%d bytes allocated for a module of %d", took, len(module))
		}
		split, _, _, splitErr := meter.RewriteSplit(module, limits)
		if (err == nil) != (splitErr == nil) {
			t.Fatalf("whole: %v, split: %v", err, splitErr)
		}
		if err != nil {
			if f := fault.Of(err); f.Code == "unexpected" || f.Hint == "" {
				t.Fatal(err)
			}
			return
		}
		at = heapBytes()
		before, after := valid(t, withoutCustom(module)), valid(t, metered)
		if took := heapBytes() - at; took > compileBytesMax+compileBytesEach*uint64(len(module)) {
			t.Fatalf("the engine allocated %d bytes for a module of %d", took, len(module))
		}
		if apart := valid(t, split); before != after || before != apart {
			t.Fatalf("valid before: %v, after: %v, split: %v", before, after, apart)
		}
	})
}

// The same of one function's code alone.
func FuzzMeterCode(f *testing.F) {
	for _, code := range spin {
		f.Add(code)
	}
	f.Add([]byte{0x20, 0, 0x04, 0x7e, 0x42, 1, 0x05, 0x42, 2, 0x0f, 0x0b})             // if, else, return
	f.Add([]byte{0x02, 0x40, 0x20, 0, 0x0e, 2, 0, 0, 0, 0x0b, 0x42, 7})                // block, br_table
	f.Add([]byte{0x41, 0, 0xfd, 0x0f, 0xfd, 0x80, 1, 0xfd, 0x15, 3, 0xac})             // vectors
	f.Add([]byte{0x41, 0, 0x41, 9, 0x41, 8, 0xfc, 10, 0, 0, 0x42, 0, 0x0f, 0x42, 1})   // memory.copy, code behind return
	f.Add([]byte{0x41, 1, 0x41, 2, 0x02, 1, 0x6a, 0x41, 0, 0x0b, 0x1a, 0x1a, 0x42, 0}) // a block of a type by index
	f.Fuzz(func(t *testing.T, code []byte) {
		module := forged{transform: code}.bytes()
		metered, err := meter.Rewrite(module, smallPolicy.bodies)
		if err != nil {
			return
		}
		if before, after := valid(t, module), valid(t, metered); before != after {
			t.Fatalf("valid before: %v, after: %v", before, after)
		}
	})
}

// withoutCustom drops the custom sections of a vetted module: metered modules have none.
func withoutCustom(p []byte) []byte {
	out := append([]byte(nil), p[:8]...)
	for r := (&reader{p: p[8:]}); len(r.p) > 0; {
		id := r.u8()
		if body := r.take(r.u32()); id != 0 {
			out = section(out, id, body)
		}
	}
	return out
}

func valid(t *testing.T, module []byte) bool {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(16))
	defer r.Close(t.Context())
	_, err := r.CompileModule(t.Context(), module)
	return err == nil
}
