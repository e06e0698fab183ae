package wasm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// memoryPagesMax bounds every guest memory, whatever an instance may have.
const memoryPagesMax = 1 << 30 / pageBytes

// wazeroProgram is a module in a wazero.Runtime of its own: closing the Runtime
// is the one way that frees a module's code for certain. The compilation cache
// object is the Runtime's own too, since code belongs to it when there is one.
type wazeroProgram struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	code    wazero.CompiledModule

	exported [exportsEnd]bool
}

// look notes what the module exports.
func (p *wazeroProgram) look() {
	functions := p.code.ExportedFunctions()
	for i, e := range exports {
		_, p.exported[i] = functions[e.name]
	}
}

// compile makes a program of a module, and leaves its code in dir (codeFile)
// unless that is empty.
// ctx must not be cancellable: a cancelled compilation leaks its mappings.
func compile(ctx context.Context, module []byte, dir string) (*wazeroProgram, error) {
	workers := min(runtime.GOMAXPROCS(0), compileWorkersMax)
	return newProgram(ctx, experimental.WithCompilationWorkers(ctx, workers), module, dir)
}

// errNoCode is a module whose code the engine does not find where it should be:
// it came from a machine with another processor.
var errNoCode = errors.New("the code is not for this machine")

// loadCode makes a program of a module whose code is in dir. It never compiles:
// the context under which it would is at its end, which several workers heed
// before their first function.
func loadCode(ctx context.Context, module []byte, dir string) (*wazeroProgram, error) {
	ended, end := context.WithCancel(ctx)
	end()
	p, err := newProgram(ctx, experimental.WithCompilationWorkers(ended, 2), module, dir)
	if errors.Is(err, context.Canceled) {
		return nil, errNoCode
	}
	return p, err
}

// newProgram makes a Runtime and has it compile the module under another
// context, with the file cache in dir if that is not empty.
func newProgram(ctx, compiling context.Context, module []byte, dir string) (_ *wazeroProgram, err error) {
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(memoryPagesMax).
		WithDebugInfoEnabled(false)
	p := &wazeroProgram{}
	if p.cache = wazero.NewCompilationCache(); dir != "" {
		if p.cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return nil, err
		}
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(p.cache))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the compiler panicked: %v", r)
		}
		if err != nil {
			_ = p.close(ctx)
		}
	}()
	if p.code, err = p.runtime.CompileModule(compiling, module); err != nil {
		return nil, err
	}
	if err = p.link(ctx); err != nil {
		return nil, err
	}
	p.look()
	return p, nil
}

// codeFile returns the file that a compilation left in dir, as a path below it:
// a directory of the engine's version, and in it the file of the module.
func codeFile(dir string) (string, error) {
	list, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	if err != nil || len(list) != 1 {
		return "", errors.Join(err, fmt.Errorf("the engine left %d files", len(list)))
	}
	return filepath.Rel(dir, list[0])
}

// engineVersion names the version of wazero in this program, which it writes
// into code as well.
func engineVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path != "github.com/tetratelabs/wazero" {
				continue
			}
			if m.Replace != nil {
				return m.Replace.Path + "@" + m.Replace.Version
			}
			return m.Version
		}
	}
	return "unknown"
}

// link gives the Runtime the host modules that the code imports.
func (p *wazeroProgram) link(ctx context.Context) error {
	builders := map[string]wazero.HostModuleBuilder{}
	for _, def := range p.code.ImportedFunctions() {
		module, name, _ := def.Import()
		b := builders[module]
		if b == nil {
			b = p.runtime.NewHostModuleBuilder(module)
			builders[module] = b
		}
		f, kind := lookUp(module, name)
		// A slot of the stack has 64 bits: for WASI's integers either width will do.
		if got := kindOf(def); kind != "" && got != kind && (module != wasiModule || !strings.EqualFold(got, kind)) {
			return fmt.Errorf("the module imports %s.%s with the type %s, which is %s", module, name, got, kind)
		}
		price := int64(callFuel)
		if module == meter.HostModule {
			price = 0
		}
		b.NewFunctionBuilder().WithGoModuleFunction(adapt(f, price, isOwn(module, name)), def.ParamTypes(), def.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lookUp returns the host function of an import that checkImport let through,
// and its type where the host minds.
func lookUp(module, name string) (f hostFunc, kind string) {
	switch module {
	case meter.HostModule:
		return meterFuncs[name], ""
	case wasiModule:
		return wasi(name)
	}
	o := capabilities[module].funcs[name]
	return o.call, o.kind
}

// isOwn tells functions whose effect is the job's: an instance that called one
// before its configuration is not what another job's could begin with.
func isOwn(module, name string) bool {
	_, capability := capabilities[module]
	return capability || module == wasiModule && name == "fd_write"
}

// kindOf writes a function's type as offered.kind does.
func kindOf(def api.FunctionDefinition) string {
	letters := map[api.ValueType]byte{api.ValueTypeI32: 'i', api.ValueTypeI64: 'I', api.ValueTypeF32: 'f', api.ValueTypeF64: 'F'}
	var kind []byte
	for _, t := range def.ParamTypes() {
		kind = append(kind, letters[t])
	}
	kind = append(kind, ':')
	for _, t := range def.ResultTypes() {
		kind = append(kind, letters[t])
	}
	return string(kind)
}

// adapt makes a hostFunc wazero's, which takes price of the guest's fuel and
// marks the instance when the function is its job's own (isOwn). The
// stack is wazero's own form: calling through reflection would cost ten times
// as much.
func adapt(f hostFunc, price int64, own bool) api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		i, ok := ctx.Value(instanceKey{}).(*Instance)
		if !ok {
			panic("host function called outside a guest call")
		}
		i.own = i.own || own
		if price > 0 {
			i.ctx.charge(price)
		}
		mem, _ := m.Memory().Read(0, m.Memory().Size())
		f(i, mem, stack)
	}
}

// moduleConfig is that of all instances: no name, nothing run, and no source of
// randomness of wazero's own, which nobody reads and which takes 5 KB.
var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(strings.NewReader(""))

func (p *wazeroProgram) instantiate(ctx context.Context, mem *arena) (_ guest, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the engine panicked: %v", r)
		}
	}()
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(
		func(_, _ uint64) experimental.LinearMemory { return mem }))
	m, err := p.runtime.InstantiateModule(ctx, p.code, moduleConfig)
	if err != nil {
		return nil, err
	}
	g := &wazeroGuest{module: m, memory: m.Memory(), program: p}
	g.fuel, _ = m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	if g.fuel == nil {
		_ = m.Close(ctx)
		return nil, errors.New("the module is not metered")
	}
	return g, nil
}

func (p *wazeroProgram) close(ctx context.Context) error {
	return errors.Join(p.runtime.Close(ctx), p.cache.Close(ctx))
}

// wazeroGuest keeps the handles of functions that are called for every batch:
// making one costs 2 µs, keeping it 11 KB.
type wazeroGuest struct {
	program *wazeroProgram
	module  api.Module
	memory  api.Memory
	funcs   [exportsEnd]api.Function
	fuel    api.MutableGlobal
	stack   [2]uint64
}

func (g *wazeroGuest) has(f export) bool { return g.program.exported[f] }

func (g *wazeroGuest) call(ctx context.Context, f export, a, b uint64) (uint64, error) {
	handle := g.funcs[f]
	if handle == nil {
		handle = g.module.ExportedFunction(exports[f].name)
	}
	if !exports[f].seldom {
		g.funcs[f] = handle
	}
	g.stack = [2]uint64{a, b}
	err := handle.CallWithStack(ctx, g.stack[:])
	return g.stack[0], err
}

func (g *wazeroGuest) setFuel(n int64) { g.fuel.Set(uint64(n)) }

func (g *wazeroGuest) fuelLeft() int64 { return int64(g.fuel.Get()) }

func (g *wazeroGuest) view(addr, length uint32) ([]byte, bool) { return g.memory.Read(addr, length) }

func (g *wazeroGuest) resize(bytes int64) bool {
	more := bytes - int64(g.memory.Size())
	if more <= 0 {
		return more == 0
	}
	_, ok := g.memory.Grow(uint32(more / pageBytes))
	return ok
}

func (g *wazeroGuest) globals() []uint64 {
	var values []uint64
	for {
		global := g.module.ExportedGlobal(meter.GlobalName(len(values)))
		if global == nil {
			return values
		}
		values = append(values, global.Get())
	}
}

func (g *wazeroGuest) setGlobals(values []uint64) {
	for i, v := range values {
		g.module.ExportedGlobal(meter.GlobalName(i)).(api.MutableGlobal).Set(v)
	}
}

func (g *wazeroGuest) handles() (n int) {
	for _, f := range g.funcs {
		if f != nil {
			n++
		}
	}
	return n
}

func (g *wazeroGuest) close(ctx context.Context) error {
	clear(g.funcs[:]) // a handle keeps its stack, up to 50 MB after deep recursion
	return g.module.Close(ctx)
}
