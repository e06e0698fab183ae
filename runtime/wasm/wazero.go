package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// memoryPagesMax bounds every guest memory, whatever an instance may have.
const memoryPagesMax = 1 << 30 / pageBytes

// compileWorkersMax bounds the goroutines of one compilation. They end with it.
const compileWorkersMax = 4

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

// compile makes a program, from the machine code in cacheDir when it is there.
// ctx must not be cancellable: a cancelled compilation leaks its mappings.
func compile(ctx context.Context, module []byte, cacheDir string) (_ *wazeroProgram, err error) {
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(memoryPagesMax).
		WithDebugInfoEnabled(false)
	p := &wazeroProgram{}
	if cacheDir != "" {
		if p.cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return nil, err
		}
		config = config.WithCompilationCache(p.cache)
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the compiler panicked: %v", r)
		}
		if err != nil {
			_ = p.close(ctx)
		}
	}()
	workers := experimental.WithCompilationWorkers(ctx, min(runtime.GOMAXPROCS(0), compileWorkersMax))
	if p.code, err = p.runtime.CompileModule(workers, module); err != nil {
		return nil, err
	}
	if err = p.link(ctx); err != nil {
		return nil, err
	}
	p.look()
	return p, nil
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
		b.NewFunctionBuilder().
			WithGoModuleFunction(adapt(lookUp(module, name), isOwn(module, name)), def.ParamTypes(), def.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lookUp returns the host function of an import that checkImport let through.
func lookUp(module, name string) hostFunc {
	if module == meter.HostModule {
		return meterFuncs[name]
	}
	if module == wasiModule {
		if f, ok := wasiFuncs[name]; ok {
			return f
		}
		return wasiNosys
	}
	return capabilities[module].funcs[name]
}

// isOwn tells functions whose effect is the job's: an instance that called one
// before its configuration is not what another job's could begin with.
func isOwn(module, name string) bool {
	_, capability := capabilities[module]
	return capability || module == wasiModule && name == "fd_write"
}

// adapt makes a hostFunc wazero's. The stack is wazero's own form: calling
// through reflection would cost ten times as much.
func adapt(f hostFunc, own bool) api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		i, ok := ctx.Value(instanceKey{}).(*Instance)
		if !ok {
			panic("host function called outside a guest call")
		}
		i.own = i.own || own
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
	err := p.runtime.Close(ctx)
	if p.cache != nil {
		if e := p.cache.Close(ctx); err == nil {
			err = e
		}
	}
	return err
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
