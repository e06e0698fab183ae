package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// apartHost is a Host whose compiler is a child of this test binary.
func apartHost(t testing.TB, o Options) *Host {
	t.Helper()
	o.Compile = CompileApart
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

// use loads a module that passes two rows, runs it and unloads it.
func use(t testing.TB, h *Host, module []byte) {
	t.Helper()
	m, err := h.Load(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Transform(t.Context(), batchOf("x", "y"), &Result{}); err != nil {
		t.Fatal(err)
	}
	_ = m.Close(t.Context())
	if r, err := i.Close(t.Context()); err != nil || !r.Clean() {
		t.Fatal(r, err)
	}
}

// distinct is passAll with another digest.
func distinct(t testing.TB, n int) []byte {
	f := passAll()
	f.data[9000] = fmt.Appendf(nil, "%08d", n)
	return stamp(t, f.bytes(), "pass")
}

func TestCompileMustBeChosen(t *testing.T) {
	if _, err := NewHost(Options{}); err == nil || !strings.Contains(err.Error(), "Compile") {
		t.Error(err)
	}
}

// A child compiles, once, and what comes from the cache is the same.
func TestCompileApart(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		h := apartHost(t, Options{CacheDir: dir})
		module := distinct(t, 1)
		use(t, h, module)
		use(t, h, module)
		s := h.CompileStats()
		if want := int64(2); dir == "" && (s.Compiled != want || s.Cache.Hits != 0) {
			t.Errorf("without a cache: %+v", s)
		}
		if dir != "" && (s.Compiled != 1 || s.Cache.Hits != 1 || s.Cache.Misses != 1 || s.Cache.Bytes == 0) {
			t.Errorf("with a cache: %+v", s)
		}
		if s.Time == 0 || s.Failed != 0 || s.Cache.Failures != 0 {
			t.Errorf("%+v", s)
		}
		if _, known := h.Confinement(); !known {
			t.Error("nothing is known of the confinement")
		}
	}
}

// Compiled here or apart, the code is the same, and each takes the other's.
func TestApartAndHereAgree(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	module := distinct(t, 1)
	use(t, apartHost(t, Options{CacheDir: dirs[0]}), module)
	here, err := NewHost(Options{Compile: CompileHere, CacheDir: dirs[1]})
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close(t.Context())
	use(t, here, module)
	var files [2]string
	for n, dir := range dirs {
		list, _ := filepath.Glob(filepath.Join(dir, "*.code"))
		if len(list) != 1 {
			t.Fatal(list)
		}
		files[n] = filepath.Base(list[0])
	}
	if files[0] != files[1] {
		t.Error(files)
	}
	again := apartHost(t, Options{CacheDir: dirs[1]})
	use(t, again, module)
	if s := again.CompileStats(); s.Compiled != 0 || s.Cache.Hits != 1 {
		t.Errorf("%+v", s)
	}
}

// A damaged entry is compiled anew, once, and leaks no mapping (the engine
// would refuse it for ever and keep the mapping of each try).
func TestDamagedCodeIsCompiledAnew(t *testing.T) {
	dir := t.TempDir()
	h, err := NewHost(Options{Compile: CompileHere, CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	module := distinct(t, 1)
	use(t, h, module)
	list, _ := filepath.Glob(filepath.Join(dir, "*.code"))
	whole, err := os.ReadFile(list[0])
	if err != nil {
		t.Fatal(err)
	}
	residentKB(t)
	before := mappings()
	n := int64(0)
	for at := 0; at < len(whole); at += 1 + len(whole)/97 {
		p := bytes.Clone(whole)
		p[at] ^= 0x10
		if err := os.WriteFile(list[0], p, 0o600); err != nil {
			t.Fatal(err)
		}
		use(t, h, module)
		n++
	}
	if s := h.CompileStats(); s.Compiled != n+1 || s.Cache.Damaged != n {
		t.Errorf("%d damaged: %+v", n, s)
	}
	residentKB(t)
	if now := mappings(); now > before+8 {
		t.Errorf("mappings went from %d to %d", before, now)
	}
}

// Code that verifies and yet is not what the engine asks for, as on another
// processor, is made anew, and never compiled where it was to be loaded.
func TestCodeOfAnotherMachine(t *testing.T) {
	h := apartHost(t, Options{CacheDir: t.TempDir()})
	metered, _, _, err := meter.RewriteSplit(distinct(t, 1), smallPolicy.bodies)
	if err != nil {
		t.Fatal(err)
	}
	code, err := h.compiler.cache.NewCopy()
	if err != nil {
		t.Fatal(err)
	}
	if err := code.Place("wazero-x-y-z/0123", strings.NewReader("other code")); err != nil {
		t.Fatal(err)
	}
	if err := h.compiler.cache.Put(h.compiler.key(metered), code); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCode(t.Context(), metered, code.Dir()); !errors.Is(err, errNoCode) {
		t.Error("it was compiled here:", err)
	}
	code.Close()
	for range 2 {
		use(t, h, distinct(t, 1))
	}
	if s := h.CompileStats(); s.Compiled != 1 || s.Cache.Hits != 2 {
		t.Errorf("%+v", s)
	}
}

// compileBomb is a few KB that take the engine seconds and hundreds of MB: many
// loops over many locals.
func compileBomb(t testing.TB) []byte {
	const loops, locals = 3000, 9000
	f := passAll()
	f.locals = locals
	var body []byte
	for n := range loops {
		body = append(body, 0x03, 0x40, 0x20) // loop, local.get, local.set, br_if 0, end
		body = leb(body, uint64(n%locals+1))
		body = append(body, 0x21)
		body = leb(body, uint64((n+7)%locals+1))
		body = append(body, 0x41, 0, 0x0d, 0, 0x0b)
	}
	body = append(body, 0x41, 0, 0x20, 1) // i32.const 0, local.get 1: all of them are needed at the end
	for n := range locals - 1 {
		body = append(body, 0x20)
		body = append(leb(body, uint64(n+2)), 0x6a) // i32.add
	}
	body = append(body, 0x36, 2, 0) // i32.store
	f.transform = append(body, i64Const(f.result)...)
	return stamp(t, f.bytes(), "bomb")
}

// A module made to cost the compiler, and that vetting let through, ends in a
// child, at a limit that the fault names, and costs this process nothing.
func TestCompileBomb(t *testing.T) {
	if alone(t) {
		return
	}
	bomb := compileBomb(t)
	tests := []struct {
		name   string
		limits CompileLimits
		says   string
	}{
		{"processor time", CompileLimits{CPU: time.Second, MemoryBytes: 4 << 30}, "the limit on processor time is 1s"},
		{"memory", CompileLimits{MemoryBytes: 96 << 20, CPU: time.Minute}, "the limit on memory is 96MiB"},
		{"time", CompileLimits{Wall: 3 * time.Second, MemoryBytes: 4 << 30}, "the limit on time is 3s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := apartHost(t, Options{CacheDir: t.TempDir(), CompileLimits: tt.limits})
			compiles := func(n int) { // in whatever time it takes where the machine has other work
				limits := h.compiler.limits
				h.compiler.limits = CompileLimits{}
				use(t, h, distinct(t, n))
				h.compiler.limits = limits
			}
			compiles(1)
			before := residentKB(t)
			_, _, err := h.compiler.program(t.Context(), bomb)
			refusedFor(t, err, "module_compile_limit", tt.says)
			now := residentKB(t)
			if t.Logf("resident memory went from %d to %d KiB", before, now); now > before+8<<10 {
				t.Errorf("resident memory went from %d to %d KiB", before, now)
			}
			if s := h.CompileStats(); s.Failed != 1 || !h.Stats().Empty() {
				t.Errorf("%+v, %+v", s, h.Stats())
			}
			compiles(2) // the host is unharmed
		})
	}
}

// When nobody waits any more the child is killed, and gone when Load returns.
func TestCancelledLoad(t *testing.T) {
	h := apartHost(t, Options{})
	use(t, h, distinct(t, 1))
	hang(t, h)
	slow := distinct(t, 2)
	files, maps := openFiles(t), mappings()
	stop := errors.New("not wanted any more")
	for range 5 {
		var wg sync.WaitGroup
		for n := range 3 { // the last one decides
			ctx, cancel := context.WithCancelCause(t.Context())
			wg.Go(func() {
				time.AfterFunc(time.Duration(50+50*n)*time.Millisecond, func() { cancel(stop) })
				if _, err := h.Load(ctx, slow); !errors.Is(err, stop) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list := children(t); len(list) != 0 {
			t.Error("children are left:", list)
		}
	}
	if s := h.Stats(); !s.Empty() {
		t.Errorf("%+v", s)
	}
	residentKB(t)
	if now := openFiles(t); now > files {
		t.Errorf("open files went from %d to %d", files, now)
	}
	if now := mappings(); now > maps+8 { // a cancelled compilation here would leak some
		t.Errorf("mappings went from %d to %d", maps, now)
	}
}

// One that gives up does not take the code from those that still wait.
func TestCancelledLoadOfOneAmongOthers(t *testing.T) {
	h := apartHost(t, Options{})
	module := distinct(t, 7)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			if n == 0 {
				_, _ = h.Load(ctx, module)
				return
			}
			m, err := h.Load(t.Context(), module)
			if err != nil {
				t.Error(err)
				return
			}
			_ = m.Close(t.Context())
		})
	}
	cancel()
	wg.Wait()
}

func TestCloseDuringLoad(t *testing.T) {
	h, err := NewHost(Options{Compile: CompileApart})
	if err != nil {
		t.Fatal(err)
	}
	hang(t, h)
	done := make(chan error)
	go func() {
		_, err := h.Load(t.Context(), distinct(t, 1))
		done <- err
	}()
	await(t, "a compiler", func() bool { return len(children(t)) > 0 })
	for range 2 {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; !fault.HasCode(err, "wasm_host_closed") {
		t.Error(err)
	}
	if list := children(t); len(list) != 0 {
		t.Error("children are left:", list)
	}
}

// Hosts that share a directory load the same modules at the same time: inside
// one engine that is a race.
func TestHostsShareACache(t *testing.T) {
	dir := t.TempDir()
	hosts := []*Host{newHostAt(t, dir), newHostAt(t, dir), apartHost(t, Options{CacheDir: dir})}
	var wg sync.WaitGroup
	for _, h := range hosts {
		for g := range 4 {
			wg.Go(func() {
				for n := range 30 {
					use(t, h, distinct(t, (n+g)%5))
				}
			})
		}
	}
	wg.Wait()
}

func newHostAt(t testing.TB, dir string) *Host {
	t.Helper()
	h, err := NewHost(Options{Compile: CompileHere, CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

func TestCacheDirIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := NewHost(Options{Compile: CompileHere, CacheDir: dir})
	refusedFor(t, err, "code_cache", "others may write to it")
	_, err = NewHost(Options{Compile: CompileHere, CacheDir: filepath.Join(os.DevNull, "x")})
	refusedFor(t, err, "code_cache", "")
}

// What the compiler refuses, it refuses apart as it does here.
func TestInvalidModuleApart(t *testing.T) {
	f := passAll()
	f.transform = append([]byte{0x1a}, f.transform...) // drop, of nothing
	_, err := apartHost(t, Options{}).Load(t.Context(), stamp(t, f.bytes(), "invalid"))
	refusedFor(t, err, "module_invalid", "can't be compiled")
}

func TestExamine(t *testing.T) {
	dir := t.TempDir()
	results := Examine(t.Context(), filepath.Join(dir, "none"))
	if len(results) < 2 || results[0].Level != checkup.OK || results[1].Check != "compiler" || results[1].Level != checkup.OK {
		t.Errorf("%+v", results)
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Error("it made the directory")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r := Examine(t.Context(), dir)[0]
	if r.Level != checkup.Failed || len(r.Fix) != 1 || !strings.Contains(r.Fix[0], "remove the directory") {
		t.Errorf("%+v", r)
	}
}

func TestChildLimits(t *testing.T) {
	c := &compiler{}
	first := c.childLimits()
	if first.MemoryBytes < compileMemoryMin || first.MemoryBytes > compileMemoryMax || first.CPU != compileCPU || first.Wall != compileWall {
		t.Errorf("%+v", first)
	}
	c.promised.Store(1 << 50) // others may take all that is left
	if l := c.childLimits(); l.MemoryBytes != compileMemoryMin {
		t.Errorf("%+v", l)
	}
}

func TestCompileIsLogged(t *testing.T) {
	var out bytes.Buffer
	h := apartHost(t, Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
	use(t, h, distinct(t, 1))
	if !strings.Contains(out.String(), "module compiled") || !strings.Contains(out.String(), "memory_bytes_peak=") {
		t.Error(out.String())
	}
}

// children lists the processes that this one has started and that are there.
func children(t testing.TB) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		skip.For(t, "/proc, where children are found")
	}
	return childrenOf("self")
}

func childrenOf(process string) (found []string) {
	list, _ := filepath.Glob("/proc/" + process + "/task/*/children")
	for _, name := range list {
		p, _ := os.ReadFile(name)
		found = append(found, strings.Fields(string(p))...)
	}
	return found
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		skip.For(t, "/proc/self/fd, where descriptors are counted")
	}
	return len(list)
}

// BenchmarkLoad compiles a Go guest here and apart, and takes it from the cache.
func BenchmarkLoad(b *testing.B) {
	module := goGuest(b, "lab")
	b.Logf("a module of %d bytes", len(module))
	for _, way := range []struct {
		name string
		o    Options
	}{
		{"here", Options{Compile: CompileHere}},
		{"apart", Options{Compile: CompileApart}},
		{"cached", Options{Compile: CompileHere, CacheDir: b.TempDir()}},
	} {
		b.Run(way.name, func(b *testing.B) {
			h, err := NewHost(way.o)
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close(b.Context())
			for b.Loop() {
				m, err := h.Load(b.Context(), module)
				if err != nil {
					b.Fatal(err)
				}
				_ = m.Close(b.Context())
			}
		})
	}
}
