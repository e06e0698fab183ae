//go:build unix

package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// shipped builds one of the connectors that come with cdcd.
func shipped(t testing.TB, name string) []byte {
	t.Helper()
	dir := filepath.Join("..", "..", "connectors-wasm", name)
	out := filepath.Join(buildDir, name+".wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	m, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if module, err = manifest.Append(module, m); err != nil {
		t.Fatal(err)
	}
	return module
}

// shippedConfig is a configuration for each.
var shippedConfig = map[string]string{"mask": `{"columns":["text"],"how":"sha256"}`, "filter": `{"where":"true"}`}

// BenchmarkStart is an instance's start and end; BenchmarkJob has a batch of
// two rows in between.
func BenchmarkStart(b *testing.B) { benchmarkStart(b, false) }

func BenchmarkJob(b *testing.B) { benchmarkStart(b, true) }

func benchmarkStart(b *testing.B, work bool) {
	for _, name := range []string{"mask", "filter"} {
		for _, way := range []string{"plain", "snapshot"} {
			b.Run(name+"/"+way, func(b *testing.B) {
				m := load(b, newHost(b), shipped(b, name))
				if way == "plain" {
					startPlainly(m)
				}
				c := InstanceConfig{Pipeline: "bench", Step: name, Config: []byte(shippedConfig[name])}
				batch, res := batchOf("x", "y"), Result{}
				b.ReportAllocs()
				instance(b, m, c)
				before := cpuTime()
				defer func() { b.ReportMetric(float64(cpuTime()-before)/float64(b.N)/1e3, "cpu-µs/op") }()
				for b.Loop() {
					i, err := m.Instantiate(b.Context(), c)
					if err != nil {
						b.Fatal(err)
					}
					if work {
						if err := i.Transform(b.Context(), batch, &res); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := i.Close(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// cpuTime is what the process used of its processors: on a machine that others
// use too it says more than the time that went by.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pss returns the process's proportional memory in bytes, after two collections: all of
// it, what is a snapshot's or a copy of its pages, and the rest.
func pss(t testing.TB) (all, guests, rest int64) {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	p, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		skip.For(t, "/proc/self/smaps, where shared memory is measured")
	}
	guest := false
	for line := range strings.Lines(string(p)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			guest = len(f) > 5 && strings.Contains(f[5], "cdcd-snapshot")
		case f[0] == "Pss:":
			var kb int64
			_, _ = fmt.Sscan(f[1], &kb)
			all += kb << 10
			if guest {
				guests += kb << 10
			} else {
				rest += kb << 10
			}
		}
	}
	return all, guests, rest
}

// BenchmarkIdle reports what an idle instance costs, in shares of pages: the
// snapshot's counted once.
func BenchmarkIdle(b *testing.B) {
	for _, name := range []string{"mask", "filter"} {
		for _, way := range []string{"plain", "snapshot"} {
			b.Run(name+"/"+way, func(b *testing.B) {
				m := load(b, newHost(b), shipped(b, name))
				if way == "plain" {
					startPlainly(m)
				}
				const n = 200
				c := InstanceConfig{Pipeline: "bench", Step: name, Config: []byte(shippedConfig[name])}
				instance(b, m, c)
				for b.Loop() {
					b.StopTimer()
					before, guests, rest := pss(b)
					var open []*Instance
					for range n {
						open = append(open, instance(b, m, c))
					}
					after, guestsAfter, restAfter := pss(b)
					for _, i := range open {
						_, _ = i.Close(b.Context())
					}
					b.ReportMetric(float64(after-before)/n/1024, "KiB/instance")
					b.ReportMetric(float64(guestsAfter-guests)/n/1024, "KiB-snapshot/instance")
					b.ReportMetric(float64(restAfter-rest)/n/1024, "KiB-rest/instance")
					b.StartTimer()
				}
			})
		}
	}
}
