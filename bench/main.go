package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
)

// figures is the last line of output. Figures of parts that were not asked for
// are zero.
type figures struct {
	DecodeVsGoMySQL      float64 `json:"decode_vs_gomysql"`        // rows/s, as a ratio
	DecodeMixedVsGoMySQL float64 `json:"decode_mixed_vs_gomysql"`  // the same with rows of many types
	DecodeAllocsPerRow   float64 `json:"decode_allocs_per_row"`    //
	JobVsBareloop        float64 `json:"job_vs_bareloop"`          // rows/s, as a ratio
	JobCPUVsBareloop     float64 `json:"cpu_per_row_vs_bareloop"`  // CPU per row, as a ratio
	StepVsNone           float64 `json:"step_vs_none"`             // rows/s, as a ratio
	JobRowsPerSecond     float64 `json:"job_rows_per_second"`      // one WASM step
	BareloopRowsPerSec   float64 `json:"bareloop_rows_per_second"` //
	CeilingRowsPerSecond float64 `json:"publish_only_ceiling"`     // messages/s
	CopyNsPerRow         float64 `json:"batch_copy_ns_per_row"`
	OpenNsPerRow         float64 `json:"batch_check_ns_per_row"`
	FormatNsPerRow       float64 `json:"format_json_ns_per_row"`
	HostCallNsPerRow     float64 `json:"step_ns_per_row"`
	Rows                 int     `json:"rows"`
	Runs                 int     `json:"runs"`
}

type options struct {
	rows, runs int
	cdcd       string // path of the binary; empty builds it
}

func main() {
	var o options
	flag.IntVar(&o.rows, "rows", 400_000, "row changes to move")
	flag.IntVar(&o.runs, "runs", 3, "runs of each job; the median counts")
	flag.StringVar(&o.cdcd, "cdcd", "", "binary to measure; without it, it is built")
	parts := flag.String("parts", "decode,micro,job", "what to measure")
	h := host.New()
	defer h.Close()
	flag.Parse()
	begin := time.Now()
	var f figures
	f.Rows, f.Runs = o.rows, o.runs
	s := jobs.NewSource(h, o.rows)
	if strings.Contains(*parts, "job") {
		f.job(h, s, o) // first: it notes where the log is before there are rows
	}
	if strings.Contains(*parts, "decode") {
		f.decode(h, s, o.runs)
	}
	if strings.Contains(*parts, "micro") {
		f.micro(h, s)
	}
	fmt.Printf("took %.0f s\n", time.Since(begin).Seconds())
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		h.Fatal(err)
	}
}
