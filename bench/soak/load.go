package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	// alive is how many jobs live side by side: each ends that many cycles after
	// it began.
	alive = 8
	// cacheBytesMax of the soak is far too little for its modules: entries are
	// evicted as it goes.
	cacheBytesMax = 24 << 20
	// again is how many digests back one is taken that comes again: some of them
	// are still in the cache by then.
	again = 40
)

// loads is a soak of the host: each cycle loads a module, makes a step of it,
// has it transform a batch, and ends one that began earlier.
type loads struct {
	guests *guests
	here   *wasm.Host // compiles in this process
	apart  *wasm.Host // compiles in a child, as the daemon does
	schema *sdk.Schema
	batch  *sdk.Batch
	jobs   []job // that live, oldest first
	result wasm.Result
}

type job struct {
	module *wasm.Module
	step   *wasm.Step
}

func newLoads(g *guests, dir string) (*loads, error) {
	l := &loads{guests: g, schema: names()}
	l.batch = batchOf(l.schema, 16)
	var err, err2 error
	l.here, err = wasm.NewHost(wasm.Options{Compile: wasm.CompileHere, CacheDir: filepath.Join(dir, "here"), CacheBytesMax: cacheBytesMax})
	l.apart, err2 = wasm.NewHost(wasm.Options{Compile: wasm.CompileApart, CacheDir: filepath.Join(dir, "apart"), CacheBytesMax: cacheBytesMax})
	return l, errors.Join(err, err2)
}

// host returns the host of a digest. A child takes longer than all else of a cycle
// together: the Go guests have one, and of the others one in fifty.
func (l *loads) host(n int) *wasm.Host {
	if l.guests.isGo(n) || n%50 == 0 {
		return l.apart
	}
	return l.here
}

// digest returns which module the cycle loads: of three cycles one has a new
// one, one has it again, one has an older one again.
func digest(cycle int) int {
	switch n := cycle / 3; cycle % 3 {
	case 0, 1:
		return n
	default:
		return max(0, n-again)
	}
}

// cycle begins one job and ends the oldest.
func (l *loads) cycle(ctx context.Context, n int) error {
	bytes, err := l.guests.module(digest(n))
	if err != nil {
		return err
	}
	var j job
	if j.module, err = l.host(digest(n)).Load(ctx, bytes); err != nil {
		return err
	}
	j.step, err = wasm.NewStep(ctx, j.module, wasm.StepConfig{
		Instance: wasm.InstanceConfig{Pipeline: "soak", Step: "upper", Config: []byte(configJSON)}})
	if err != nil {
		return errors.Join(err, j.module.Close(ctx))
	}
	l.jobs = append(l.jobs, j)
	if _, err := j.step.Schema(ctx, l.schema); err != nil {
		return err
	}
	if err := j.step.Process(ctx, l.batch, &l.result); err != nil {
		return err
	}
	last := l.result.Out.Rows() - 1
	if got := string(l.result.Out.Row(last).After().Bytes(1)); got != "ADA LOVELACE 15" {
		return fmt.Errorf("row %d is %q", last, got)
	}
	if len(l.jobs) > alive {
		return l.end(ctx)
	}
	return nil
}

// end ends the oldest job, and wants a receipt that nothing is left.
func (l *loads) end(ctx context.Context) error {
	j := l.jobs[0]
	l.jobs = l.jobs[:copy(l.jobs, l.jobs[1:])]
	receipt, err := j.step.Close(ctx)
	if err == nil && !receipt.Clean() {
		err = fmt.Errorf("receipt: %v", receipt)
	}
	return errors.Join(err, j.module.Close(ctx))
}

// settle ends all jobs, so that a look sees the host with none.
func (l *loads) settle(ctx context.Context) error {
	for len(l.jobs) > 0 {
		if err := l.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run runs so many cycles, and calls sample with what it sees samples times.
func (l *loads) run(ctx context.Context, cycles, samples int, sample func(probe)) (growth, error) {
	warm := l.guests.warmUp()
	for n := range warm {
		if err := l.cycle(ctx, n); err != nil {
			return growth{}, fmt.Errorf("warming up, cycle %d: %w", n, err)
		}
	}
	if err := l.settle(ctx); err != nil {
		return growth{}, err
	}
	first, err := look(0)
	if err != nil {
		return growth{}, err
	}
	sample(first)
	spent, looks := time.Duration(0), []probe{first}
	for n := 0; n < cycles; {
		stop := min(cycles, n+max(1, cycles/samples))
		begin := time.Now()
		for ; n < stop; n++ {
			if err := l.cycle(ctx, warm+n); err != nil {
				return growth{}, fmt.Errorf("cycle %d: %w", n, err)
			}
		}
		if err := l.settle(ctx); err != nil {
			return growth{}, err
		}
		spent += time.Since(begin)
		p, err := look(n)
		if n == cycles && err == nil {
			p, err = lookBack(n, first, growth.check)
		}
		if err != nil {
			return growth{}, err
		}
		looks = append(looks, p)
		sample(p)
	}
	return grown(looks, spent), errors.Join(l.here.Close(ctx), l.apart.Close(ctx))
}
