package main

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// naiveRSSMax ends the naive run: it has shown what it is there to show.
const naiveRSSMax = 512 << 20

// naive is the same work in the obvious way: one Runtime and one compilation
// cache for the process; each job compiles its module, calls it and closes its
// instance. What it forgets is to close the compiled module, as is easily done
// when the next job may use it again.
func naive(ctx context.Context, g *guests, cycles, samples int, sample func(probe)) error {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(wazero.NewCompilationCache()))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return err
	}
	for n := range g.warmUp() + cycles {
		if at := n - g.warmUp(); at >= 0 && at%max(1, cycles/samples) == 0 {
			p, err := look(at)
			if err != nil {
				return err
			}
			sample(p)
			if p.RSS > naiveRSSMax {
				return nil
			}
		}
		module, err := g.module(digest(n))
		if err != nil {
			return err
		}
		if err := naiveJob(ctx, r, module); err != nil {
			return fmt.Errorf("naive cycle %d: %w", n, err)
		}
	}
	return nil
}

func naiveJob(ctx context.Context, r wazero.Runtime, module []byte) error {
	code, err := r.CompileModule(ctx, module)
	if err != nil {
		return err
	}
	instance, err := r.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return err
	}
	if _, err := instance.ExportedFunction("cdcd_buf").Call(ctx, 0, 4096); err != nil {
		return err
	}
	return instance.Close(ctx)
}
