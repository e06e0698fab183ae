package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

var instanceConfig = wasm.InstanceConfig{Pipeline: "bench", Step: "upper", Config: []byte(configJSON)}

// hosted is a module in the host.
type hosted struct {
	ctx    context.Context
	host   *wasm.Host
	module *wasm.Module
	batch  *sdk.Batch
	result wasm.Result
}

func newHosted(ctx context.Context, module []byte, in *sdk.Batch, o wasm.Options) (*hosted, error) {
	host, err := wasm.NewHost(o)
	if err != nil {
		return nil, err
	}
	m, err := host.Load(ctx, module)
	return &hosted{ctx: ctx, host: host, module: m, batch: in}, err
}

func (h *hosted) close() error { return errors.Join(h.module.Close(h.ctx), h.host.Close(h.ctx)) }

// start makes an instance and closes it.
func (h *hosted) start() error {
	i, err := h.module.Instantiate(h.ctx, instanceConfig)
	if err != nil {
		return err
	}
	_, err = i.Close(h.ctx)
	return err
}

// cycle is a whole job whose code is there: a step, a batch, the end.
func (h *hosted) cycle() error {
	i, err := h.module.Instantiate(h.ctx, instanceConfig)
	if err != nil {
		return err
	}
	err = i.Transform(h.ctx, h.batch, &h.result)
	if err == nil && h.result.Out.Rows() != h.batch.Rows() {
		err = fmt.Errorf("%d rows came out", h.result.Out.Rows())
	}
	_, closeErr := i.Close(h.ctx)
	return errors.Join(err, closeErr)
}

// idleInstances is how many instances the memory of one is told by.
const idleInstances = 100

// idle returns the bytes of an instance that has nothing to do: what the process
// has more of with many of them, shared pages counted once.
func (h *hosted) idle() (float64, error) {
	before, err := pss()
	if err != nil {
		return 0, err
	}
	var list []*wasm.Instance
	for range idleInstances {
		i, err := h.module.Instantiate(h.ctx, instanceConfig)
		if err != nil {
			return 0, err
		}
		list = append(list, i)
	}
	after, err := pss()
	if err != nil {
		return 0, err
	}
	for _, i := range list {
		if _, err := i.Close(h.ctx); err != nil {
			return 0, err
		}
	}
	return float64(after-before) / idleInstances, nil
}

// pss is the process's proportional set size in bytes.
func pss() (int64, error) {
	for range 3 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("memory can only be measured on Linux: %w", err)
	}
	for line := range bytes.Lines(text) {
		var kb int64
		if n, _ := fmt.Sscanf(string(line), "Pss: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, errors.New("smaps_rollup has no Pss")
}
