package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
)

// figures is the last line of output. Figures of parts that were not asked for
// are zero.
type figures struct {
	VsBareloop     float64 `json:"vs_bareloop"`             // rows/s, as a ratio
	CPUVsBareloop  float64 `json:"cpu_per_row_vs_bareloop"` // CPU per row, as a ratio
	Ceiling        float64 `json:"publish_only_ceiling"`    // messages/s
	FsyncVsDefault float64 `json:"fsync_vs_default"`        // rows/s, as a ratio
	BigTxnRSSBytes int64   `json:"bigtxn_rss_peak_bytes"`   // the daemon's
	LatencyP50     float64 `json:"latency_p50_ms"`
	LatencyP99     float64 `json:"latency_p99_ms"`
	BigTxnBytes    int64   `json:"bigtxn_bytes"` // of the transaction's rows
	ChangesPerSec  float64 `json:"changes_per_second"`
	Rows           int     `json:"rows"`
	Runs           int     `json:"runs"`
}

// passThrough is the step of the jobs: it looks at every row and keeps it.
const passThrough = `
    steps:
      - wasm: filter
        with: {where: "k >= 0"}`

// fsync makes the embedded broker sync before each acknowledgement.
const fsync = "nats: {embedded: {listen: \"\", durability: fsync}}\n"

func main() {
	rows := flag.Int("rows", 2_000_000, "row changes to move")
	runs := flag.Int("runs", 3, "runs of each job; the median counts")
	big := flag.Int64("bigtxn", 128, "MiB of the large transaction")
	seconds := flag.Int("seconds", 10, "for how long changes are made whose latency is measured")
	cdcd := flag.String("cdcd", "", "binary to measure; without it, it is built")
	parts := flag.String("parts", "job,bigtxn,latency", "what to measure")
	h := host.New()
	defer h.Close()
	flag.Parse()
	if *cdcd == "" {
		*cdcd = jobs.Build(h, "cdcd", "./cmd/cdcd")
	}
	f := figures{Runs: *runs}
	s := jobs.NewSource(h, *rows)
	if strings.Contains(*parts, "latency") { // first: while the disk has nothing else to write
		f.latency(h, s, *cdcd, *seconds)
	}
	if strings.Contains(*parts, "bigtxn") {
		f.bigTxn(h, s, *cdcd, *big<<20)
	}
	if strings.Contains(*parts, "job") {
		f.job(h, s, *cdcd, *runs)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		h.Fatal(err)
	}
}

// job moves the rows through whole processes, in turns.
func (f *figures) job(h *host.Host, s *jobs.Source, cdcd string, runs int) {
	bareloop := jobs.Build(h, "bareloop", "./bench/bareloop")
	bare, ceiling := jobs.Bare(s, bareloop), jobs.Ceiling(s, bareloop)
	plain := jobs.Job(h, s, "cdcd", cdcd, passThrough, "")
	synced := jobs.Job(h, s, "cdcd, fsync", cdcd, passThrough, fsync)
	jobs.Race(h, s, runs, bare, plain, synced, ceiling)
	f.Rows = s.Rows
	f.VsBareloop, f.Ceiling = plain.Rate(s)/bare.Rate(s), ceiling.Rate(s)
	f.CPUVsBareloop = jobs.Median(plain.CPU) / jobs.Median(bare.CPU)
	f.FsyncVsDefault = synced.Rate(s) / plain.Rate(s)
	fmt.Printf("cdcd / bare loop: %.2fx rows/s, %.2fx CPU per row; with durability: fsync %.2fx of that without\n",
		f.VsBareloop, f.CPUVsBareloop, f.FsyncVsDefault)
}
