package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

// options are the flags.
type options struct {
	cycles, jobs, samples int
	batch                 int    // runs of pipelines with a schedule
	out                   string // folder of CSV and plot; empty for none
	naive                 string // run naively and write samples there
	heap                  string // folder of heap profiles, at the start and at the end
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == wasm.CompileVerb { // modules are compiled apart
		os.Exit(wasm.ServeCompile(context.Background(), os.Args[2:]))
	}
	var o options
	flag.IntVar(&o.cycles, "cycles", 300_000, "modules to load and unload")
	flag.IntVar(&o.jobs, "jobs", 0, "whole pipelines to run and delete, instead")
	flag.IntVar(&o.batch, "batch", 0, "runs of batch jobs in one daemon, instead")
	flag.IntVar(&o.samples, "samples", 300, "how often to look")
	flag.StringVar(&o.out, "out", "bench/out", "folder for the samples and the plot")
	flag.StringVar(&o.naive, "naive", "", "run the naive way, and write the samples to this file")
	flag.StringVar(&o.heap, "heap", "", "write heap profiles of the start and the end to this folder")
	h := host.New()
	defer h.Close()
	flag.Parse()
	if err := run(context.Background(), h, o); err != nil {
		h.Fatal("soak:", err)
	}
}

func run(ctx context.Context, h *host.Host, o options) error {
	dir := h.TempDir()
	g, err := newGuests(dir)
	if err != nil {
		return err
	}
	if o.naive != "" {
		var list []probe
		err := naive(ctx, g, o.cycles, o.samples, func(p probe) { list = append(list, p) })
		if err != nil {
			return err
		}
		return writeCSV(o.naive, list)
	}
	if o.batch > 0 {
		return soakBatch(ctx, h, g, o)
	}
	if o.jobs > 0 {
		return soakJobs(ctx, h, g, o)
	}
	return soakLoads(ctx, g, dir, o)
}

// soakLoads runs the naive way in a process of its own, then the soak.
func soakLoads(ctx context.Context, g *guests, dir string, o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	bad := filepath.Join(o.out, "soak-naive.csv")
	self := exec.CommandContext(ctx, os.Args[0], "-naive", bad, "-cycles", fmt.Sprint(o.cycles), "-samples", fmt.Sprint(o.samples))
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	if err := self.Run(); err != nil {
		return fmt.Errorf("the naive run: %w", err)
	}
	naive, err := readCSV(bad)
	if err != nil {
		return err
	}
	last := naive[len(naive)-1]
	fmt.Printf("naive: %d MiB resident and %d MiB of machine code after %d cycles\n", last.RSS>>20, last.JIT>>20, last.Cycle)
	l, err := newLoads(g, dir)
	if err != nil {
		return err
	}
	var list []probe
	result, err := l.run(ctx, o.cycles, o.samples, func(p probe) {
		list = append(list, p)
		o.profile(p.Cycle, o.cycles)
		if n := len(list); (n-1)%max(1, o.samples/20) == 0 {
			fmt.Printf("%7d cycles: %s\n", p.Cycle, p)
		}
	})
	if err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(o.out, "soak.csv"), list); err != nil {
		return err
	}
	drawing := plot("Resident memory of one process while connectors come and go", []curve{
		{"one shared Runtime, the obvious way", "#c0392b", naive}, {"cdcd", "#1a7f5a", list}})
	if err := os.WriteFile(filepath.Join(o.out, "soak.svg"), []byte(drawing), 0o644); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return err
	}
	return result.check()
}

// soakJobs runs whole pipelines.
func soakJobs(ctx context.Context, h *host.Host, g *guests, o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	j, err := newJobs(ctx, h, g)
	if err != nil {
		return err
	}
	var list []probe
	result, err := j.run(ctx, h, o.jobs, o.samples, func(p probe) {
		list = append(list, p)
		o.profile(p.Cycle, o.jobs)
		if n := len(list); (n-1)%max(1, o.samples/20) == 0 {
			fmt.Printf("%6d jobs: %s\n", p.Cycle, p)
		}
	})
	if err != nil {
		return errors.Join(err, j.close(ctx))
	}
	if err := errors.Join(j.close(ctx), writeCSV(filepath.Join(o.out, "soak-jobs.csv"), list)); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return err
	}
	return result.check()
}

// profile writes what the Go heap holds, if that is asked for: the difference
// between the two names what leaks.
func (o options) profile(cycle, last int) {
	if o.heap == "" || cycle != 0 && cycle != last {
		return
	}
	path := filepath.Join(o.heap, fmt.Sprintf("heap-%d.pprof", cycle))
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(pprof.WriteHeapProfile(f), f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
}
