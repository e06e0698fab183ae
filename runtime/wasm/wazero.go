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
		f, kind := lookUp(module, name)
		// A slot of the stack has 64 bits: for WASI's integers either width will do.
		if got := kindOf(def); kind != "" && got != kind && (module != wasiModule || !strings.EqualFold(got, kind)) {
			return fmt.Errorf("the module imports %s.%s with the type %s, which is %s", module, name, got, kind)
		}
		price := int64(callFuel)
		if module == meter.HostModule {
			price = 0
		}
		b.NewFunctionBuilder().WithGoModuleFunction(adapt(f, price), def.ParamTypes(), def.ResultTypes()).Export(name)
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

// adapt makes a hostFunc wazero's, which takes price of the guest's fuel. The
// stack is wazero's own form: calling through reflection would cost ten times
// as much.
func adapt(f hostFunc, price int64) api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		i, ok := ctx.Value(instanceKey{}).(*Instance)
		if !ok {
			panic("host function called outside a guest call")
		}
		if price > 0 {
			i.ctx.charge(price)
		}
		mem, _ := m.Memory().Read(0, m.Memory().Size())
		f(i, mem, stack)
	}
}

func (p *wazeroProgram) instantiate(ctx context.Context, mem *arena) (_ guest, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the engine panicked: %v", r)
		}
	}()
	ctx = experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(
		func(_, _ uint64) experimental.LinearMemory { return mem }))
	m, err := p.runtime.InstantiateModule(ctx, p.code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, err
	}
	g := &wazeroGuest{module: m, memory: m.Memory()}
	g.fuel, _ = m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	if g.fuel == nil {
		_ = m.Close(ctx)
		return nil, errors.New("the module is not metered")
	}
	for i, e := range exports {
		g.funcs[i] = m.ExportedFunction(e.name)
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

// wazeroGuest keeps its function handles: making one costs 2 µs and 11 KB.
type wazeroGuest struct {
	module api.Module
	memory api.Memory
	funcs  [exportsEnd]api.Function
	fuel   api.MutableGlobal
	stack  [2]uint64
}

func (g *wazeroGuest) has(f export) bool { return g.funcs[f] != nil }

func (g *wazeroGuest) call(ctx context.Context, f export, a, b uint64) (uint64, error) {
	g.stack = [2]uint64{a, b}
	err := g.funcs[f].CallWithStack(ctx, g.stack[:])
	return g.stack[0], err
}

func (g *wazeroGuest) setFuel(n int64) { g.fuel.Set(uint64(n)) }

func (g *wazeroGuest) fuelLeft() int64 { return int64(g.fuel.Get()) }

func (g *wazeroGuest) view(addr, length uint32) ([]byte, bool) { return g.memory.Read(addr, length) }

func (g *wazeroGuest) close(ctx context.Context) error {
	clear(g.funcs[:]) // a handle keeps its stack, up to 50 MB after deep recursion
	return g.module.Close(ctx)
}
