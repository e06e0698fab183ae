package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// passAll is a forged guest that passes the two rows of batchOf("x", "y").
func passAll() forged {
	return answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2}, nil)
}

func TestInstantiateRefuses(t *testing.T) {
	h := newHost(t)
	lab := load(t, h, goGuest(t, "lab"))
	undeclared := load(t, h, goGuest(t, "logger"))
	logger := load(t, h, goGuest(t, "logger", "log"))
	trap := load(t, h, stamp(t, forged{buf: 65536, start: []byte{0x00}}.bytes(), "trap"))
	segment := load(t, h, stamp(t, forged{buf: 65536, data: map[uint32][]byte{1 << 30: {1}}}.bytes(), "segment"))
	tests := []struct {
		name       string
		m          *Module
		c          InstanceConfig
		code, says string
	}{
		{"not granted", logger, InstanceConfig{}, "capability_not_granted", `"log"`},
		{"not declared", undeclared, InstanceConfig{Capabilities: []string{"log"}}, "capability_not_declared", `"log"`},
		{"bad config", lab, InstanceConfig{Config: []byte(`"refuse"`)}, "step_config", "refuse is not an option"},
		{"init panics", lab, InstanceConfig{Config: []byte(`"panic"`)}, "step_start", "init panics"},
		{"too little memory", lab, InstanceConfig{MemoryBytesMax: 128 << 10}, "memory_limit", "begins with"},
		{"a little more", lab, InstanceConfig{MemoryBytesMax: 3 << 20}, "memory_limit", "more than its limit of 3145728"},
		{"start traps", trap, InstanceConfig{}, "step_start", "unreachable"},
		{"segment outside", segment, InstanceConfig{}, "step_start", "out of bounds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.m.Instantiate(t.Context(), tt.c)
			refusedFor(t, err, tt.code, tt.says)
			if s := h.Stats(); s.Instances != 0 || s.Mappings != 0 || s.MemoryBytes != 0 {
				t.Errorf("the failed instance left %+v", s)
			}
		})
	}
}

func TestHostMemoryLimit(t *testing.T) {
	h, err := NewHost(Options{Compile: CompileHere, MemoryBytesMax: 10 * pageBytes, PipelineBytesMax: 10 * pageBytes})
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, h, stamp(t, passAll().bytes(), "pass"))
	var open []*Instance
	for {
		i, err := m.Instantiate(t.Context(), InstanceConfig{})
		if err != nil {
			refusedFor(t, err, "memory_limit", "")
			break
		}
		open = append(open, i)
	}
	if len(open) != 2 { // of 4 pages each
		t.Errorf("%d instances fit", len(open))
	}
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.MemoryBytes != 0 || s.Mappings != 0 || s.Instances != 0 {
		t.Errorf("left %+v", s)
	}
	if _, err := h.Load(t.Context(), stamp(t, passAll().bytes(), "pass")); !fault.HasCode(err, "wasm_host_closed") {
		t.Errorf("load after close: %v", err)
	}
}

func TestDoubleCloseTakesNothingFromOthers(t *testing.T) {
	h := newHost(t)
	module := stamp(t, passAll().bytes(), "pass")
	a, b := load(t, h, module), load(t, h, module)
	i, err := b.Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := a.Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, err := j.Close(t.Context()); err != nil || r.MemoryBytesUnmapped != 4*pageBytes || r.CodeBytesReleased != 0 {
			t.Fatal(r, err)
		}
	}
	if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
		t.Fatal(err)
	}
	_ = b.Close(t.Context())
	if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
		t.Fatal("the module's hold is given up, the instance is not:", err)
	}
	if r, err := i.Close(t.Context()); err != nil || r.CodeBytesReleased == 0 || !r.Clean() {
		t.Fatal(r, err)
	}
	if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); !fault.HasCode(err, "step_closed") {
		t.Fatal("a call after close:", err)
	}
	if s := h.Stats(); s.Modules != 0 {
		t.Errorf("left %+v", s)
	}
	_, err = b.Instantiate(t.Context(), InstanceConfig{})
	refusedFor(t, err, "step_closed", "module")
}

func TestCloseDuringCall(t *testing.T) {
	i := labInstance(t, "")
	done := make(chan error)
	go func() { done <- i.Transform(t.Context(), batchOf("loop"), &Result{}) }()
	for i.mu.TryLock() { // a call holds it
		i.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	r, err := i.Close(t.Context())
	if err != nil || !r.Clean() {
		t.Fatal(r, err)
	}
	refusedFor(t, <-done, "step_closed", "is closed")
}

func TestCancelDuringCall(t *testing.T) {
	i := labInstance(t, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("pipeline stops")
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if err := i.Transform(ctx, batchOf("loop"), &Result{}); !errors.Is(err, stop) {
		t.Error(err)
	}
	if r, err := i.Close(t.Context()); err != nil || !r.Clean() || r.MemoryBytesUnmapped == 0 {
		t.Error(r, err)
	}
}

func TestManyLoadsOfOneDigest(t *testing.T) {
	h := newHost(t)
	module := stamp(t, passAll().bytes(), "pass")
	for range 50 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				m, err := h.Load(t.Context(), module)
				if err != nil {
					t.Error(err)
					return
				}
				defer m.Close(t.Context())
				i, err := m.Instantiate(t.Context(), InstanceConfig{})
				if err != nil {
					t.Error(err)
					return
				}
				defer i.Close(t.Context())
				if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if s := h.Stats(); !s.Empty() {
		t.Errorf("left %+v", s)
	}
}

// residentKB is the process's resident memory that is of no file: the pages of
// its executable come and go with what the machine has room for.
func residentKB(t *testing.T) int {
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	debug.FreeOSMemory()
	return statusKB(t, "RssAnon")
}

func TestLoadAndUnloadLeavesNothing(t *testing.T) {
	if alone(t) {
		return
	}
	h, err := NewHost(Options{Compile: CompileHere})
	if err != nil {
		t.Fatal(err)
	}
	cycle := func(n int) {
		f := passAll()
		f.data[9000] = fmt.Appendf(nil, "%08d", n) // another digest each time
		use(t, h, stamp(t, f.bytes(), "pass"))
	}
	for n := range 50 {
		cycle(n)
	}
	rss, maps, goroutines := residentKB(t), mappings(), runtime.NumGoroutine()
	for n := range 500 {
		cycle(1000 + n)
	}
	_ = h.Close(context.Background())
	now, most := residentKB(t), 4<<10
	if testing.Short() {
		most = 16 << 10 // the short form is for the race detector, which keeps account of each address
	}
	if t.Logf("resident memory went from %d to %d KiB", rss, now); now > rss+most {
		t.Errorf("resident memory went from %d to %d KiB", rss, now)
	}
	if now := mappings(); now > maps+8 {
		t.Errorf("mappings went from %d to %d", maps, now)
	}
	// One that runs finalizers is counted while it does.
	until(t, fmt.Sprintf("no more than %d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
}

// mapsPerThread is how many mappings libc makes for a thread: its stack, the page
// before it, and what it allocates from. Go starts threads as it needs them.
const mapsPerThread = 4

// mappings counts the process's mappings but those of its threads.
func mappings() int {
	p, _ := os.ReadFile("/proc/self/maps")
	threads, _ := os.ReadDir("/proc/self/task")
	return bytes.Count(p, []byte("\n")) - mapsPerThread*len(threads)
}

func TestLogCapability(t *testing.T) {
	var out bytes.Buffer
	m := load(t, newHost(t), goGuest(t, "logger", "log"))
	i, err := m.Instantiate(t.Context(), InstanceConfig{Pipeline: "shop", Step: "l", Capabilities: []string{"log"},
		Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 300)
	if err := i.Transform(t.Context(), batchOf(texts...), &Result{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `level=WARN msg=connector pipeline=shop step=l text="a row came"`); n != linesPerSecondMax {
		t.Errorf("%d lines:\n%.300s", n, out.String())
	}
}
