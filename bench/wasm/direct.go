package main

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
	"github.com/cdcd-io/cdcd/sdk"
)

// way is how a guest is kept from running for ever.
type way int

const (
	plain       way = iota // not at all
	metered                // cdcd's metering
	termination            // wazero's WithCloseOnContextDone, with a context that can end
)

// fuelSlice is what the host gives a guest before it looks at it.
const fuelSlice = 250_000

// unlimited lets every guest through: these are our own.
var unlimited = meter.Limits{BodyBytes: 1 << 30, Locals: 1 << 30, LocalsTotal: 1 << 30, Nesting: 1 << 30, Targets: 1 << 30,
	Elements: 1 << 30, Work: 1 << 30, WorkTotal: 1 << 30}

// direct is a guest on the bare engine, driven as the ABI says and no more.
type direct struct {
	ctx       context.Context
	runtime   wazero.Runtime
	module    api.Module
	fuel      api.MutableGlobal
	empty     api.Function
	transform api.Function
	addr      uint32
	capacity  uint32
	batch     []byte
	stack     [2]uint64
}

// newDirect starts a guest and gives it the table of the batch.
func newDirect(ctx context.Context, module []byte, w way, batch *sdk.Batch) (*direct, error) {
	d := &direct{ctx: ctx, batch: batch.Bytes()}
	c := wazero.NewRuntimeConfig().WithDebugInfoEnabled(false)
	if w == termination {
		c = c.WithCloseOnContextDone(true)
	}
	d.runtime = wazero.NewRuntimeWithConfig(ctx, c)
	if w == metered {
		var err error
		if module, err = meter.Rewrite(module, unlimited); err != nil {
			return nil, err
		}
		refill := api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] = fuelSlice })
		i64 := api.ValueTypeI64
		if _, err := d.runtime.NewHostModuleBuilder(meter.HostModule).NewFunctionBuilder().
			WithGoFunction(refill, []api.ValueType{i64, i64}, []api.ValueType{i64}).Export(meter.HostFunc).Instantiate(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, d.runtime); err != nil {
		return nil, err
	}
	m, err := d.runtime.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		return nil, err
	}
	d.module = m
	d.fuel, _ = m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	d.empty, d.transform = m.ExportedFunction(sdk.ExportABI), m.ExportedFunction(sdk.ExportTransform)
	if err := d.configure(batch); err != nil {
		return nil, err
	}
	d.capacity = uint32(len(d.batch) + 64<<10)
	d.addr, err = d.buffer(sdk.BufBatch, d.capacity)
	return d, err
}

// buffer asks the guest for one.
func (d *direct) buffer(kind, size uint32) (uint32, error) {
	r, err := d.module.ExportedFunction(sdk.ExportBuf).Call(d.ctx, uint64(kind), uint64(size))
	if err != nil {
		return 0, err
	}
	return uint32(r[0]), nil
}

func (d *direct) configure(batch *sdk.Batch) error {
	for _, part := range []struct {
		kind   uint32
		export string
		text   []byte
	}{{sdk.BufConfig, sdk.ExportInit, []byte(configJSON)}, {sdk.BufSchema, sdk.ExportSchema, sdk.AppendSchema(nil, batch.Schemas()[1])}} {
		addr, err := d.buffer(part.kind, uint32(len(part.text)))
		if err != nil {
			return err
		}
		d.module.Memory().Write(addr, part.text)
		r, err := d.module.ExportedFunction(part.export).Call(d.ctx, uint64(len(part.text)))
		if err != nil || r[0] != 0 {
			return fmt.Errorf("%s: %v, %w", part.export, r, err)
		}
	}
	return nil
}

// nothing calls an empty function.
func (d *direct) nothing() error { return d.empty.CallWithStack(d.ctx, d.stack[:]) }

// rows has the guest transform the batch, copied into it anew.
func (d *direct) rows() error {
	view, ok := d.module.Memory().Read(d.addr, d.capacity)
	if !ok {
		return fmt.Errorf("the batch buffer lies outside memory")
	}
	copy(view, d.batch)
	sdk.SetCapacity(view, len(view))
	if d.fuel != nil {
		d.fuel.Set(fuelSlice)
	}
	d.stack[0] = uint64(len(d.batch))
	if err := d.transform.CallWithStack(d.ctx, d.stack[:]); err != nil {
		return err
	}
	if int64(d.stack[0]) <= 0 {
		return fmt.Errorf("transform: %d", int64(d.stack[0]))
	}
	return nil
}

func (d *direct) close() error { return d.runtime.Close(d.ctx) }

// newStart compiles a guest on the bare engine; each time it begins an instance,
// _initialize included, and closes it.
func newStart(ctx context.Context, module []byte) (*contestant, error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithDebugInfoEnabled(false))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	code, err := r.CompileModule(ctx, module)
	if err != nil {
		return nil, err
	}
	return &contestant{once: func() error {
		m, err := r.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
		if err != nil {
			return err
		}
		return m.Close(ctx)
	}}, nil
}
