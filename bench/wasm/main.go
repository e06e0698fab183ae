package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk/golden"
)

// language is what is measured of a guest in one language.
type language struct {
	RowNs           float64 `json:"row_ns"`            // of the transform alone, not metered
	RowMeteredNs    float64 `json:"row_metered_ns"`    //
	Metering        float64 `json:"metering_ratio"`    //
	Termination     float64 `json:"termination_ratio"` // the engine's own way instead
	RowHostNs       float64 `json:"row_host_ns"`       // through the host, all checks and copies
	StartBareMicros float64 `json:"instance_start_bare_us"`
	StartMicros     float64 `json:"instance_start_us"`   //
	IdleBytes       float64 `json:"instance_idle_bytes"` //
	CycleMicros     float64 `json:"job_cycle_us"`        // instance, a batch, the end
	LoadColdMs      float64 `json:"load_cold_ms"`        // compiled
	LoadCachedMs    float64 `json:"load_cached_ms"`      // from the disk cache
	ModuleBytes     int     `json:"module_bytes"`        //
}

// figures is the last line of output.
type figures struct {
	CallNs            float64              `json:"call_ns"`
	CallMeteredNs     float64              `json:"call_metered_ns"`
	CallTerminationNs float64              `json:"call_termination_ns"`
	Languages         map[string]*language `json:"languages"`
}

// parts is what is measured of each guest.
type parts struct{ rows, host bool }

func main() {
	if len(os.Args) > 1 && os.Args[1] == wasm.CompileVerb { // modules are compiled apart
		os.Exit(wasm.ServeCompile(context.Background(), os.Args[2:]))
	}
	names := flag.String("parts", "rows,host", "rows on the bare engine, and the same guests in the host")
	flag.Parse()
	p := parts{strings.Contains(*names, "rows"), strings.Contains(*names, "host")}
	if err := measure(context.Background(), p); err != nil {
		fmt.Fprintln(os.Stderr, "wasm:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, p parts) error {
	dir, err := os.MkdirTemp("", "cdcd-bench-wasm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	goish, err := goGuest(dir)
	if err != nil {
		return err
	}
	f := figures{Languages: map[string]*language{}}
	for _, g := range append(golden.Guests(), goish) {
		l := &language{ModuleBytes: len(g.Module)}
		f.Languages[g.Language] = l
		if p.rows {
			err = f.directly(ctx, g, l)
		}
		if p.host && err == nil {
			err = l.inHost(ctx, g, filepath.Join(dir, g.Language))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", g.Language, err)
		}
		fmt.Printf("%-15s row %5.1f ns, metered %5.1f (%.2fx), wazero's termination %.2fx, in the host %5.1f; "+
			"start %.0f µs (bare engine %.0f), job %.0f µs, idle %.0f KiB; load %.1f ms, cached %.1f ms\n", g.Language,
			l.RowNs, l.RowMeteredNs, l.Metering, l.Termination, l.RowHostNs, l.StartMicros, l.StartBareMicros, l.CycleMicros, l.IdleBytes/1024, l.LoadColdMs, l.LoadCachedMs)
	}
	fmt.Printf("an empty call: %.0f ns, metered %.0f ns, with wazero's termination %.0f ns\n", f.CallNs, f.CallMeteredNs, f.CallTerminationNs)
	return json.NewEncoder(os.Stdout).Encode(f)
}

// directly measures a guest on the bare engine, in the three ways.
func (f *figures) directly(ctx context.Context, g golden.Guest, l *language) error {
	ctx, cancel := context.WithCancel(ctx) // one that can end: wazero watches no other
	defer cancel()
	in := batch()
	var rows, calls [3]*contestant
	for w := plain; w <= termination; w++ {
		d, err := newDirect(ctx, g.Module, w, in)
		if err != nil {
			return err
		}
		defer d.close()
		rows[w] = &contestant{once: d.rows}
		calls[w] = &contestant{once: d.nothing}
	}
	if err := turns(rows[:]...); err != nil {
		return err
	}
	start, err := newStart(ctx, g.Module)
	if err != nil {
		return err
	}
	if err := turns(start); err != nil {
		return err
	}
	l.StartBareMicros = start.ns(1) / 1000
	l.RowNs, l.RowMeteredNs = rows[plain].ns(rowsPerBatch), rows[metered].ns(rowsPerBatch)
	l.Metering, l.Termination = l.RowMeteredNs/l.RowNs, rows[termination].ns(rowsPerBatch)/l.RowNs
	if g.Language != "c" {
		return nil
	}
	if err := turns(calls[:]...); err != nil {
		return err
	}
	f.CallNs, f.CallMeteredNs, f.CallTerminationNs = calls[plain].ns(1), calls[metered].ns(1), calls[termination].ns(1)
	return nil
}

// inHost measures a guest in the host.
func (l *language) inHost(ctx context.Context, g golden.Guest, dir string) error {
	in := batch()
	begin := time.Now()
	h, err := newHosted(ctx, g.Module, in, wasm.Options{Compile: wasm.CompileApart, CacheDir: dir})
	if err != nil {
		return err
	}
	l.LoadColdMs = float64(time.Since(begin).Microseconds()) / 1000
	if err := h.close(); err != nil {
		return err
	}
	load := &contestant{once: func() error {
		h, err := newHosted(ctx, g.Module, in, wasm.Options{Compile: wasm.CompileApart, CacheDir: dir})
		if err != nil {
			return err
		}
		return h.close()
	}}
	if err := turns(load); err != nil {
		return err
	}
	l.LoadCachedMs = load.ns(1) / 1e6
	if h, err = newHosted(ctx, g.Module, in, wasm.Options{Compile: wasm.CompileApart, CacheDir: dir}); err != nil {
		return err
	}
	defer h.close()
	if l.IdleBytes, err = h.idle(); err != nil {
		return err
	}
	i, err := h.module.Instantiate(ctx, instanceConfig)
	if err != nil {
		return err
	}
	row := &contestant{once: func() error { return i.Transform(ctx, in, &h.result) }}
	start, cycle := &contestant{once: h.start}, &contestant{once: h.cycle}
	if err := turns(row, start, cycle); err != nil {
		return err
	}
	l.RowHostNs, l.StartMicros, l.CycleMicros = row.ns(rowsPerBatch), start.ns(1)/1000, cycle.ns(1)/1000
	return nil
}
