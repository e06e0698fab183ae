package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/skip"
)

// instance makes one that the test closes.
func instance(t testing.TB, m *Module, c InstanceConfig) *Instance {
	t.Helper()
	i, err := m.Instantiate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r, err := i.Close(context.Background()); err != nil || !r.Clean() {
			t.Error(r, err)
		}
	})
	return i
}

// begun reports whether the module's instances begin with a snapshot, or why not.
func begun(m *Module) (bool, string) {
	o := &m.code.origin
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.snap != nil, o.why
}

func needsSnapshots(t *testing.T) {
	t.Helper()
	f, err := newImageFile(make([]byte, pageBytes))
	if err != nil {
		skip.For(t, "memory files, of which snapshots are made: %v", err)
	}
	_ = f.close()
}

// startPlainly has the module's instances start without a snapshot.
func startPlainly(m *Module) { m.code.origin.settled, m.code.origin.why = true, "asked for" }

// memoryOf returns the whole of an instance's memory, copied, and its globals.
func memoryOf(t *testing.T, i *Instance) ([]byte, []uint64) {
	t.Helper()
	mem, ok := i.guest.view(0, uint32(i.MemoryBytes()))
	if !ok {
		t.Fatal("no view of the memory")
	}
	return bytes.Clone(mem), i.guest.globals()
}

// An instance that began with a snapshot is, byte for byte and through its
// batches, what it would be had it begun by itself.
func TestSnapshotIsNoDifferent(t *testing.T) {
	needsSnapshots(t)
	h := newHost(t)
	m := load(t, h, goGuest(t, "lab"))
	c := InstanceConfig{Pipeline: "shop", Step: "lab", Config: []byte(`"some configuration"`)}
	first, second := instance(t, m, c), instance(t, m, c)
	if ok, why := begun(m); !ok {
		t.Fatal("no snapshot: ", why)
	}
	other := newHost(t)
	alone := load(t, other, goGuest(t, "lab"))
	startPlainly(alone)
	plain := instance(t, alone, c)
	batch := batchOf("x", "edit:new", "sleep:3", "now", "print:hello", "grow:100000", "count")
	var want []string
	var fuel int64
	for k, i := range []*Instance{plain, first, second} {
		mem, globals := memoryOf(t, i)
		if plainMem, plainGlobals := memoryOf(t, plain); k > 0 && !slices.Equal(globals, plainGlobals) {
			t.Errorf("instance %d: globals %v, want %v", k, globals, plainGlobals)
		} else if !bytes.Equal(mem, plainMem) && k > 0 {
			t.Errorf("instance %d: other memory", k)
		}
		if k > 0 {
			continue
		}
		if len(globals) == 0 {
			t.Error("no globals")
		}
	}
	for k, i := range []*Instance{plain, first, second} {
		res := Result{}
		for range 3 {
			if err := i.Transform(t.Context(), batch, &res); err != nil {
				t.Fatal(err)
			}
		}
		got := textsOf(res.Out)
		if k == 0 {
			want, fuel = got, res.Fuel
		}
		if !slices.Equal(got, want) || res.Fuel != fuel {
			t.Errorf("instance %d: %.300v with %d fuel, want %.300v with %d", k, got, res.Fuel, want, fuel)
		}
	}
}

// No job's configuration is in what all begin with, and no instance sees what
// another wrote.
func TestSnapshotHasNoConfiguration(t *testing.T) {
	needsSnapshots(t)
	const marker = "a-secret-of-one-pipeline"
	m := load(t, newHost(t), goGuest(t, "lab"))
	first := instance(t, m, InstanceConfig{Config: []byte(`"` + marker + `"`)})
	second := instance(t, m, InstanceConfig{Config: []byte(`"` + marker + `"`)})
	third := instance(t, m, InstanceConfig{})
	for k, want := range map[*Instance]bool{first: true, second: true, third: false} {
		if mem, _ := memoryOf(t, k); bytes.Contains(mem, []byte(marker)) != want {
			t.Errorf("the marker is in the memory: %v, want %v", !want, want)
		}
	}
}

// Whether a module begins with a snapshot is decided by what it does before it
// is configured.
func TestWhatHasNoSnapshot(t *testing.T) {
	needsSnapshots(t)
	tests := []struct {
		name   string
		module []byte
		why    string // "" for a snapshot
	}{
		{"nothing", passAll().bytes(), ""},
		{"start function", started(0x41, 8, 0x41, 42, 0x36, 2, 0).bytes(), ""},                    // i32.store
		{"written to its end", started(0x41, 0xfc, 0xff, 0x0f, 0x41, 42, 0x36, 2, 0).bytes(), ""}, // the last 4 bytes of 4 pages
		{"grown", started(0x41, 1, 0x40, 0, 0x1a).bytes(), ""},
		{"prints", goGuest(t, "early"), "prints"},
		{"traps", started(0x00).bytes(), "did not start"},
		{"too large", started(0x41, 0x80, 0x10, 0x40, 0, 0x1a).bytes(), "bytes of memory before"}, // 2,048 pages
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			module := tt.module
			if tt.name != "prints" {
				module = stamp(t, module, "forged")
			}
			m, err := newHost(t).Load(t.Context(), module)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close(t.Context())
			var out bytes.Buffer
			c := InstanceConfig{MemoryBytesMax: 256 << 20, Log: slog.New(slog.NewTextHandler(&out, nil))}
			for n := range 2 {
				i, err := m.Instantiate(t.Context(), c)
				if (err == nil) == (tt.name == "traps") {
					t.Fatal(err)
				}
				if err != nil {
					continue
				}
				if tt.name == "start function" {
					if p, ok := i.guest.view(8, 4); !ok || p[0] != 42 {
						t.Errorf("instance %d: the start function's store is missing: %v", n, p)
					}
				}
				if tt.name != "prints" {
					if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
						t.Error(err)
					}
				}
				_, _ = i.Close(t.Context())
			}
			if ok, why := begun(m); ok != (tt.why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("snapshot: %v, %q", ok, why)
			}
			if tt.name == "prints" && strings.Count(out.String(), "early words") != 2 {
				t.Errorf("not every instance printed:\n%s", out.String())
			}
		})
	}
}

// started is passAll with a start function.
func started(code ...byte) forged {
	f := passAll()
	f.start = code
	return f
}

// A job that is refused memory decides nothing for others, and neither does
// one that gives up.
func TestSnapshotOfTheFirstThatCan(t *testing.T) {
	needsSnapshots(t)
	m := load(t, newHost(t), goGuest(t, "lab"))
	_, err := m.Instantiate(t.Context(), InstanceConfig{MemoryBytesMax: 3 << 20})
	refusedFor(t, err, "memory_limit", "3145728")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Instantiate(gone, InstanceConfig{}); err == nil {
		t.Error("a start whose caller has gone")
	}
	if ok, why := begun(m); ok || why != "" {
		t.Fatalf("%v, %q", ok, why)
	}
	i := instance(t, m, InstanceConfig{})
	if ok, why := begun(m); !ok {
		t.Fatal(why)
	}
	_, err = m.Instantiate(t.Context(), InstanceConfig{MemoryBytesMax: 3 << 20})
	refusedFor(t, err, "memory_limit", "3145728")
	s := m.host.Stats()
	if s.SnapshotBytes == 0 || s.Files != 1 || s.Mappings != arenaMaps || s.MemoryBytes != i.MemoryBytes() {
		t.Errorf("%+v", s)
	}
}

// Others wait for the first, and give up when their callers do.
func TestWaitingForASnapshot(t *testing.T) {
	needsSnapshots(t)
	m := load(t, newHost(t), stamp(t, passAll().bytes(), "pass"))
	if s, first, err := m.code.origin.claim(t.Context()); s != nil || !first || err != nil {
		t.Fatal(s, first, err)
	}
	var wg sync.WaitGroup
	gone, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := m.Instantiate(gone, InstanceConfig{}); err == nil {
			t.Error("it did not give up")
		}
	})
	wg.Go(func() { instance(t, m, InstanceConfig{}) })
	cancel()
	m.code.origin.settle(nil, "")
	wg.Wait()
	if ok, why := begun(m); !ok {
		t.Error(why)
	}
}

// Whatever an instance fails of, nothing of it is left.
func TestFailedInstancesLeaveNothing(t *testing.T) {
	h := newHost(t)
	modules := map[string]*Module{
		"start traps":     load(t, h, stamp(t, started(0x00).bytes(), "a")),
		"segment outside": load(t, h, stamp(t, forged{buf: 65536, data: map[uint32][]byte{1 << 30: {1}}}.bytes(), "b")),
		"init refuses":    load(t, h, stamp(t, forged{buf: 65536, init: -2}.bytes(), "c")),
		"bad buffer":      load(t, h, stamp(t, forged{buf: 3}.bytes(), "d")),
		"start wants all": load(t, h, stamp(t, started(0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0x00).bytes(), "e")),
	}
	try := func() {
		for name, m := range modules {
			if _, err := m.Instantiate(t.Context(), InstanceConfig{Pipeline: "shop", MemoryBytesMax: 1 << 20}); fault.Of(err).Code == "unexpected" {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for range 10 {
		try()
	}
	before := mappings()
	for range 1000 {
		try()
	}
	if now := mappings(); now > before+8 {
		t.Errorf("mappings went from %d to %d", before, now)
	}
	u, _ := h.PipelineUsage("shop")
	if s := h.Stats(); s.Instances != 0 || s.Mappings != 0 || s.MemoryBytes != 0 || u.MemoryBytes != 0 || u.Instances != 0 {
		t.Errorf("left: %+v, %+v", s, u)
	}
}
