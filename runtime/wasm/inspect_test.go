//go:build unix

package wasm

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// processorTime is what the process has used so far.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What is estimated of a Go guest is about what comes of it, and is there soon.
func TestInspectEstimates(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and seconds of compiling: the short form is for the race detector")
	}
	module := goGuest(t, "lab")
	best := time.Hour
	var x *Inspection
	for range 8 { // the machine has other work: the best counts, of the processor's time
		began := processorTime(t)
		var err error
		if x, err = Inspect(module); err != nil {
			t.Fatal(err)
		}
		best = min(best, processorTime(t)-began)
	}
	if t.Logf("%d bytes inspected in %v", len(module), best); best > 50*time.Millisecond {
		t.Errorf("inspecting took %v", best)
	}
	h, err := NewHost(Options{Compile: CompileHere, CacheDir: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	began := time.Now()
	m := load(t, h, module)
	t.Logf("compiled in %v; estimated %v on one processor", time.Since(began), x.Cost.CompileTime)
	if got := h.Stats().CodeBytes; float64(x.Cost.MachineBytes) < 0.75*float64(got) || float64(x.Cost.MachineBytes) > 1.25*float64(got) {
		t.Errorf("%d bytes of machine code estimated, %d there", x.Cost.MachineBytes, got)
	}
	if x.Class != "go" || x.Cost.Growth < 0.02 || x.Cost.Growth > 0.4 || x.Name != m.Manifest().Name || x.Digest != m.Digest() {
		t.Errorf("%+v", x)
	}
	for _, l := range x.Limits {
		if l.Has > l.Limit {
			t.Errorf("%d of %d %s, and not refused", l.Has, l.Limit, l.What)
		}
	}
}

func TestInspectRefusesAsLoadDoes(t *testing.T) {
	h := newHost(t)
	for name, module := range map[string][]byte{"text": []byte("#!/bin/sh"), "no manifest": passAll().bytes(), "no abi": stamp(t, forged{omit: "memory"}.bytes(), "x"),
		"tail call": stamp(t, forged{transform: []byte{0x12, 0}}.bytes(), "x")} {
		_, want := h.Load(t.Context(), module)
		if _, err := Inspect(module); err == nil || err.Error() != want.Error() {
			t.Errorf("%s: %v, where Load says %v", name, err, want)
		}
	}
}
