package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wasm.CompileVerb { // modules are compiled apart
		os.Exit(wasm.ServeCompile(context.Background(), os.Args[2:]))
	}
	os.Exit(m.Run())
}

// once builds the guests for all tests.
var once = sync.OnceValues(func() (*guests, error) {
	dir, err := os.MkdirTemp("", "cdcd-soak-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return newGuests(dir)
})

func built(t *testing.T) *guests {
	t.Helper()
	g, err := once()
	if err != nil {
		t.Fatal(err)
	}
	mine := *g
	return &mine
}

// A short soak, with the thresholds of the long one.
func TestLoads(t *testing.T) {
	dir := t.TempDir()
	g := built(t)
	g.goEvery = 50
	l, err := newLoads(g, dir)
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.run(t.Context(), 300, 3, func(probe) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", result)
	if err := result.check(); err != nil {
		t.Error(err)
	}
	if result.Cycles != 300 || result.Micros <= 0 {
		t.Errorf("%+v", result)
	}
}

// The probe sees what the naive way leaves behind: it could see the same in the
// host's.
func TestNaiveGrows(t *testing.T) {
	g := built(t)
	g.goEvery = 50
	var list []probe
	if err := naive(context.Background(), g, 60, 2, func(p probe) { list = append(list, p) }); err != nil {
		t.Fatal(err)
	}
	if grown := list[len(list)-1].JIT - list[0].JIT; grown < 20*8<<10 {
		t.Errorf("machine code grew by %d bytes", grown)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		g    growth
		want string
	}{
		{growth{RSS: rssGrowthMax, JIT: -4096, Goroutines: -1}, ""},
		{growth{RSS: rssGrowthMax + 1}, "resident memory"},
		{growth{RSS: rssGrowthFewMax, few: true}, ""},
		{growth{RSS: rssGrowthFewMax + 1, few: true}, "resident memory"},
		{growth{Heap: heapGrowthMax + 1}, "heap in use"},
		{growth{JIT: 4096}, "machine code"},
		{growth{Goroutines: 1}, "goroutines"},
		{growth{FDs: 1}, "descriptors"},
	} {
		err := c.g.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.g, err, c.want)
		}
	}
}

// What ends by itself has not grown; what is held has.
func TestLookBack(t *testing.T) {
	first, err := look(0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan struct{})
	go func() { <-ends }()
	time.AfterFunc(300*time.Millisecond, func() { close(ends) })
	looks := 0
	p, err := lookBack(1, first, func(g growth) error {
		looks++
		return g.check()
	})
	if err != nil || p.Goroutines > first.Goroutines || looks < 2 {
		t.Errorf("%v after %d looks, %v at first: %v", p, looks, first, err)
	}
}

func TestDistinct(t *testing.T) {
	g := built(t)
	seen, goish := map[string]bool{}, 0
	for n := range 2 * goEvery {
		module, err := g.module(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(module) > 100_000 {
			goish++
		}
		if m, err := manifest.Read(module); err != nil || m.Name != "upper" {
			t.Fatal(m, err)
		}
		seen[string(module)] = true
	}
	if len(seen) != 2*goEvery || goish != 2 {
		t.Errorf("%d distinct modules, %d in Go", len(seen), goish)
	}
}

func TestPlot(t *testing.T) {
	list := []probe{{Cycle: 0, RSS: 30 << 20}, {Cycle: 5000, RSS: 31 << 20, JIT: 4096, FDs: 7, Goroutines: 1, Mappings: 9}}
	path := t.TempDir() + "/soak.csv"
	if err := writeCSV(path, list); err != nil {
		t.Fatal(err)
	}
	back, err := readCSV(path)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(list) {
		t.Errorf("%v, %v", back, err)
	}
	for _, part := range []string{"5,000", "64 MiB", "a label", "<path", "</svg>"} {
		if text := plot("a title", []curve{{"a label", "#000", list}}); !strings.Contains(text, part) {
			t.Errorf("no %q in %s", part, text)
		}
	}
}

// A few scheduled runs in one daemon, with the thresholds of the long run.
func TestBatch(t *testing.T) {
	b := newBatch(t, built(t))
	result, err := b.run(t.Context(), t, 2*batchPipelines, 2, func(probe) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", result)
	if err := result.check(); err != nil {
		t.Error(err)
	}
	if result.Runs < 2*batchPipelines {
		t.Errorf("%+v", result)
	}
}

// A few whole pipelines, with the thresholds of the long run.
func TestJobs(t *testing.T) {
	g := built(t)
	j, err := newJobs(t.Context(), t, g)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	result, err := j.run(t.Context(), t, 30, 2, func(probe) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", result)
	if err := result.check(); err != nil {
		t.Error(err)
	}
}
