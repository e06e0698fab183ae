package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
	"github.com/cdcd-io/cdcd/runtime/format"
	jsonformat "github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

// micro measures the stages between decoder and sink on one batch of the
// recorded rows, as full as the contract allows.
func (f *figures) micro(h *host.Host, s *jobs.Source) {
	s.Fill(h)
	batch, err := recordedBatch(s.Logs(h)[0])
	if err != nil {
		h.Fatal(err)
	}
	rows := float64(batch.Rows())
	var builder sdk.Builder
	fmt.Printf("a batch of %d rows, %d bytes\n", batch.Rows(), len(batch.Bytes()))
	f.CopyNsPerRow = stage(h, "batch: copy row by row", func() error { return copyRows(&builder, batch) }) / rows
	f.OpenNsPerRow = stage(h, "batch: check all of it", func() error {
		_, err := sdk.Open(batch.Bytes(), batch.Schemas(), batch.Large())
		return err
	}) / rows
	render := jsonformat.New()
	var body []byte
	f.FormatNsPerRow = stage(h, "format json", func() error {
		for i := range batch.Rows() {
			body = render.AppendRow(body[:0], batch.Row(i), format.Context{Pipeline: "bench", Source: "mysql"})
		}
		return nil
	}) / rows
	f.HostCallNsPerRow = f.hostCall(h, batch) / rows
	fmt.Printf("each row: copy %.0f ns, check %.0f ns, JSON %.0f ns, step %.0f ns\n",
		f.CopyNsPerRow, f.OpenNsPerRow, f.FormatNsPerRow, f.HostCallNsPerRow)
}

// hostCall gives the batch to the shipped filter, which keeps every row.
func (f *figures) hostCall(h *host.Host, batch *sdk.Batch) float64 {
	module, err := os.ReadFile(filepath.Join("connectors-wasm", "filter", "dist", "filter.wasm"))
	if err != nil {
		h.Fatalf("%v: run `make connectors`", err)
	}
	ctx := context.Background()
	engine, err := wasm.NewHost(wasm.Options{Compile: wasm.CompileHere})
	if err != nil {
		h.Fatal(err)
	}
	loaded, err := engine.Load(ctx, module)
	if err != nil {
		h.Fatal(err)
	}
	step, err := wasm.NewStep(ctx, loaded, wasm.StepConfig{Instance: wasm.InstanceConfig{
		Pipeline: "bench", Step: "filter", Config: []byte(`{"where":"k >= 0"}`),
	}})
	if err != nil {
		h.Fatal(err)
	}
	var result wasm.Result
	ns := stage(h, "step: filter keeps all", func() error {
		err := step.Process(ctx, batch, &result)
		if err == nil && result.Passed != batch.Rows() {
			err = fmt.Errorf("%d of %d rows passed", result.Passed, batch.Rows())
		}
		return err
	})
	_, err1 := step.Close(ctx)
	if err := loaded.Close(ctx); err != nil || err1 != nil {
		h.Fatal(err, err1)
	}
	if err := engine.Close(ctx); err != nil {
		h.Fatal(err)
	}
	return ns
}

// stage returns the nanoseconds of one call.
func stage(h *host.Host, name string, f func() error) float64 {
	var failure error
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if failure = f(); failure != nil {
				return
			}
		}
	})
	if failure != nil {
		h.Fatalf("%s: %v", name, failure)
	}
	fmt.Printf("%-24s %9d ns/batch  %4d allocations  %6d B\n", name, r.NsPerOp(), r.AllocsPerOp(), r.AllocedBytesPerOp())
	return float64(r.NsPerOp())
}

// copyRows copies a batch as a step does that replaces rows.
func copyRows(b *sdk.Builder, in *sdk.Batch) error {
	b.Reset()
	for t := range in.Txs() {
		tx := in.Tx(t)
		b.CopyTx(tx)
		for r := range tx.Rows() {
			b.CopyRow(in.Row(tx.FirstRow() + r))
		}
	}
	if got := b.Rows(); got != in.Rows() {
		return fmt.Errorf("copied %d of %d rows", got, in.Rows())
	}
	return nil
}

// recordedBatch is the first full batch of a log.
func recordedBatch(file []byte) (*sdk.Batch, error) {
	var batch *sdk.Batch
	d := newDecoder()
	d.sealed = func(b *sdk.Batch) error {
		// The builder's memory is used again for the next batch.
		region := append([]byte(nil), b.Bytes()...)
		var err error
		if batch, err = sdk.Open(region, d.schemas, nil); err != nil {
			return err
		}
		return errEnough
	}
	if err := d.file(file); err != errEnough {
		return nil, fmt.Errorf("no full batch in %d bytes: %w", len(file), err)
	}
	return batch, nil
}
