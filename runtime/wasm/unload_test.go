package wasm

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/skip"
)

// until waits for a condition that must come to hold.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to be: ", what)
		}
	}
}

func host(t *testing.T, o Options) *Host {
	t.Helper()
	h, err := NewHost(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// needsMeasure skips where machine code can't be measured, and returns how much
// of it the process has.
func needsMeasure(t *testing.T) int64 {
	t.Helper()
	last := int64(-1)
	for { // other tests' code may still be on its way out
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
		list, ok := executable()
		if !ok {
			skip.For(t, "/proc/self/maps, where machine code is measured")
		}
		if now := sizeOf(list); now == last {
			return now
		} else {
			last = now
		}
	}
}

// useUp loads a module, runs a batch, and closes all.
func useUp(t *testing.T, h *Host, module []byte) Receipt {
	t.Helper()
	m, err := h.Load(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(t.Context(), InstanceConfig{Pipeline: "shop", Step: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := i.Close(t.Context())
	if err != nil || !r.Clean() {
		t.Fatal(r, err)
	}
	return r
}

// What the host says of machine code is what the process has of it.
func TestCodeIsMeasured(t *testing.T) {
	h := host(t, Options{Compile: CompileHere})
	useUp(t, h, distinct(t, 1))
	if _, err := h.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := needsMeasure(t)
	m := load(t, h, distinct(t, 2))
	if got := needsMeasure(t) - before; got != h.Stats().CodeBytes || got == 0 {
		t.Errorf("%d bytes of code were mapped; the host says %d", got, h.Stats().CodeBytes)
	}
	size := m.code.bytes()
	unmapped := h.Stats().CodeBytesUnmapped
	_ = m.Close(t.Context())
	began := time.Now()
	u, err := h.Verify(t.Context())
	if err != nil || !u.Measured || u.CodeBytesUnmapped != unmapped+size || u.Took <= 0 || u.Took > time.Since(began) {
		t.Errorf("%+v, %v", u, err)
	}
	if now := needsMeasure(t); now != before {
		t.Errorf("machine code went from %d to %d bytes", before, now)
	}
	if s := u.String(); !strings.Contains(s, "nothing left") {
		t.Error(s)
	}
}

// The collection that follows an unload by itself frees the code within a second.
func TestCodeIsGoneWithinASecond(t *testing.T) {
	needsMeasure(t)
	h := host(t, Options{Compile: CompileHere})
	r := useUp(t, h, distinct(t, 3))
	if r.CodeBytesReleased == 0 || r.CodeBytes != r.CodeBytesReleased || r.CodeUsers != 0 {
		t.Errorf("%+v", r)
	}
	began := time.Now()
	until(t, "the code is unmapped", func() bool { return h.Stats().CodeBytesUnmapped == r.CodeBytes })
	if took := time.Since(began); took > 3*time.Second { // a second, on a machine that has time
		t.Errorf("it took %v", took)
	}
	if s := h.Stats(); s.CodeBytesPending != 0 || s.CodeBytesLost != 0 {
		t.Errorf("%+v", s)
	}
}

// Code that something holds on to is found out.
func TestCodeThatStaysIsReported(t *testing.T) {
	needsMeasure(t)
	h := host(t, Options{Compile: CompileHere})
	m, err := h.Load(t.Context(), distinct(t, 4))
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	held := i.guest.(*wazeroGuest).module // as a handle that was forgotten does
	_, _ = i.Close(t.Context())
	_ = m.Close(t.Context())
	u, err := h.Verify(t.Context())
	refusedFor(t, err, "unload_incomplete", "bytes of machine code")
	if u.CodeBytesLeft == 0 || !strings.Contains(u.String(), "LEFT") {
		t.Errorf("%+v", u)
	}
	_ = held.Name()
	held = nil
	if u, err := h.Verify(t.Context()); err != nil || u.CodeBytesLeft != 0 {
		t.Errorf("it was let go: %+v, %v", u, err)
	}
}

func TestIdleCodeIsKeptForAWhile(t *testing.T) {
	h := host(t, Options{Compile: CompileHere, Idle: time.Hour})
	module := distinct(t, 5)
	if r := useUp(t, h, module); r.CodeBytesReleased != 0 || r.CodeBytes == 0 {
		t.Errorf("%+v", r)
	}
	var kept *code
	for _, c := range h.codes {
		kept = c
	}
	if s := h.Stats(); s.Modules != 1 || s.Idle != 1 || kept == nil {
		t.Fatalf("%+v", s)
	}
	m := load(t, h, module)
	if m.code != kept {
		t.Error("it was loaded anew")
	}
	if s := h.Stats(); s.Idle != 0 {
		t.Errorf("%+v", s)
	}
	_ = m.Close(t.Context())
	for n := range parkedMax + 3 {
		useUp(t, h, distinct(t, 100+n))
	}
	if s := h.Stats(); s.Modules != parkedMax || s.Idle != parkedMax {
		t.Errorf("more is kept than may be: %+v", s)
	}
	if u, err := h.Verify(t.Context()); err != nil || u.Measured && u.CodeBytesUnmapped == 0 {
		t.Error(u, err)
	}
	if s := h.Stats(); s.Modules != 0 || s.Idle != 0 || s.Files != 0 {
		t.Errorf("Verify left %+v", s)
	}
}

func TestIdleEnds(t *testing.T) {
	h := host(t, Options{Compile: CompileHere, Idle: 20 * time.Millisecond})
	useUp(t, h, distinct(t, 6))
	useUp(t, h, distinct(t, 7))
	until(t, "idle code is closed and seen to be gone", func() bool {
		s := h.Stats()
		return s.Modules == 0 && s.CodeBytesPending == 0 && s.SnapshotBytes == 0
	})
}

func TestCloseEndsIdleCode(t *testing.T) {
	h := host(t, Options{Compile: CompileHere, Idle: time.Hour})
	useUp(t, h, distinct(t, 8))
	held := load(t, h, distinct(t, 9))
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Modules != 1 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
	_ = held.Close(t.Context())
	if s := h.Stats(); s.Modules != 0 || s.Files != 0 {
		t.Errorf("closing the last module left %+v", s)
	}
	if _, err := h.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error("closing again: ", err)
	}
}

// A snapshot's file is closed with its code.
func TestFilesAreClosed(t *testing.T) {
	needsSnapshots(t)
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			skip.For(t, "/proc/self/fd, where descriptors are counted")
		}
		return len(list)
	}
	h := host(t, Options{Compile: CompileHere})
	useUp(t, h, distinct(t, 10))
	before := files()
	m := load(t, h, distinct(t, 11))
	i, err := m.Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if now := files(); now != before+1 {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	_ = m.Close(t.Context())
	_, _ = i.Close(t.Context())
	if now := files(); now != before {
		t.Errorf("%d descriptors are left, before %d", now, before)
	}
}

func TestPipelineMemoryLimit(t *testing.T) {
	h := host(t, Options{Compile: CompileHere, MemoryBytesMax: 100 * pageBytes, PipelineBytesMax: 9 * pageBytes})
	m := load(t, h, distinct(t, 12))
	for range 2 {
		instance(t, m, InstanceConfig{Pipeline: "a", Step: "x"})
		instance(t, m, InstanceConfig{Pipeline: "b"})
	}
	_, err := m.Instantiate(t.Context(), InstanceConfig{Pipeline: "a", Step: "y"})
	refusedFor(t, err, "memory_limit", "the pipeline has left for guests, of 589824 bytes")
	instance(t, m, InstanceConfig{Pipeline: "c"})
	if u, _ := h.PipelineUsage("a"); u.Instances != 2 || u.MemoryBytes != 8*pageBytes || u.InstancesPeak != 3 {
		t.Errorf("%+v", u)
	}
}

func TestMappingsLimit(t *testing.T) {
	h := host(t, Options{Compile: CompileHere})
	h.memory.mapsMax = 2*arenaMaps + 1
	m := load(t, h, distinct(t, 13))
	instance(t, m, InstanceConfig{})
	instance(t, m, InstanceConfig{})
	_, err := m.Instantiate(t.Context(), InstanceConfig{})
	refusedFor(t, err, "mappings_limit", "7 memory mappings")
	if s := h.Stats(); s.Mappings != 2*arenaMaps {
		t.Errorf("%+v", s)
	}
}

// An instance never has more mappings than it was counted for.
func TestMappingsAreCounted(t *testing.T) {
	m := load(t, newHost(t), goGuest(t, "lab"))
	instance(t, m, InstanceConfig{})
	const n = 50
	before := mappings()
	for range n {
		i := instance(t, m, InstanceConfig{})
		if err := i.Transform(t.Context(), batchOf("grow:3000000"), &Result{}); err != nil {
			t.Fatal(err)
		}
	}
	if now := mappings(); now > before+n*arenaMaps+8 {
		t.Errorf("%d instances are %d mappings", n, now-before)
	}
	if systemMapsMax() == 0 && before > 0 {
		t.Error("the system's limit of mappings is not known")
	}
}

func TestUsage(t *testing.T) {
	h := host(t, Options{Compile: CompileHere})
	m := load(t, h, distinct(t, 14))
	i := instance(t, m, InstanceConfig{Pipeline: "shop", Step: "pass"})
	before, _ := h.PipelineUsage("shop")
	for range 3 {
		if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = i.Close(t.Context())
	list := h.Usage()
	if len(list) != 1 || list[0].Pipeline != "shop" || list[0].Step != "pass" {
		t.Fatal(list)
	}
	u := list[0].Usage
	if all, ok := h.PipelineUsage("shop"); !ok || all != u {
		t.Errorf("%+v, %+v", all, u)
	}
	if u.Calls < before.Calls+3 || u.Fuel <= before.Fuel || u.Busy <= before.Busy || u.Instances != 0 || u.InstancesPeak != 1 ||
		u.MemoryBytes != 0 || u.MemoryBytesPeak != 4*pageBytes {
		t.Errorf("%+v", u)
	}
	for n := range 2 * accountsRetiredMax { // the counters of those that are gone are bounded
		j := instance(t, m, InstanceConfig{Pipeline: fmt.Sprint(n)})
		_, _ = j.Close(t.Context())
		k := instance(t, m, InstanceConfig{Pipeline: "kept", Step: fmt.Sprint(n)})
		_, _ = k.Close(t.Context())
	}
	if n := len(h.accounts); n > accountsRetiredMax+1 {
		t.Errorf("%d accounts", n)
	}
	if n := len(h.accounts["kept"].steps); n > stepsMax {
		t.Errorf("%d steps", n)
	}
	if u, _ := h.PipelineUsage("kept"); u.InstancesPeak != 1 || u.Calls == 0 {
		t.Errorf("%+v", u)
	}
	if _, ok := h.PipelineUsage("shop"); ok {
		t.Error("the oldest account is still there")
	}
}
