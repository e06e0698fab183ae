package main

import (
	"fmt"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
)

// passThrough is the step of the job: it looks at every row and keeps it.
const passThrough = `
    steps:
      - wasm: filter
        with: {where: "k >= 0"}`

// job moves the rows through whole processes, in turns.
func (f *figures) job(h *host.Host, s *jobs.Source, o options) {
	cdcd := o.cdcd
	if cdcd == "" {
		cdcd = jobs.Build(h, "cdcd", "./cmd/cdcd")
	}
	bareloop := jobs.Build(h, "bareloop", "./bench/bareloop")
	with := jobs.Job(h, s, "cdcd, one step", cdcd, passThrough, "")
	none := jobs.Job(h, s, "cdcd, no step", cdcd, "", "")
	bare, ceiling := jobs.Bare(s, bareloop), jobs.Ceiling(s, bareloop)
	jobs.Race(h, s, o.runs, bare, with, none, ceiling)
	f.JobRowsPerSecond, f.BareloopRowsPerSec, f.CeilingRowsPerSecond = with.Rate(s), bare.Rate(s), ceiling.Rate(s)
	f.JobVsBareloop, f.StepVsNone = with.Rate(s)/bare.Rate(s), with.Rate(s)/none.Rate(s)
	f.JobCPUVsBareloop = jobs.Median(with.CPU) / jobs.Median(bare.CPU)
	fmt.Printf("job with one step / bare loop: %.2fx rows/s, %.2fx CPU per row\njob with one step / without: %.2fx rows/s\n",
		f.JobVsBareloop, f.JobCPUVsBareloop, f.StepVsNone)
}
