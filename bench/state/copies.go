package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// spread is what pairs of runs say: their median, and between what that lies with
// 95 % confidence, whatever the distribution.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// spreadOf uses the order of the values alone: of n that lie above or below the true
// median by a throw of a coin each, the k-th from either end encloses it.
func spreadOf(values []float64) spread {
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	k := max(0, int(math.Floor((float64(n)-1.96*math.Sqrt(float64(n)))/2)))
	middle := (v[(n-1)/2] + v[n/2]) / 2
	return spread{middle, v[k], v[n-1-k]}
}

func (s spread) String() string {
	return fmt.Sprintf("%.2f %% (%.2f to %.2f)", 100*s.Median, 100*s.Low, 100*s.High)
}

// replicate weighs a job with copies against the same without. The two take turns,
// and each of a pair is first as often as second, so that what the machine does
// besides is the same for both; a pair gives one ratio.
func (f *figures) replicate(h *host.Host, server *testserver.S3Server, cdcd string) {
	if cdcd == "" {
		cdcd = jobs.Build(h, "cdcd", "./cmd/cdcd")
	}
	s := jobs.NewSource(h, f.Rows)
	plain := jobs.Job(h, s, "without copies", cdcd, counting, "")
	copied := jobs.Job(h, s, "copied each 1 s", cdcd, counting, fmt.Sprintf("state: {dir: ./state, replicate: {url: %q, every: 1s, access_key_id: %s, secret_access_key: %s}}\n",
		place(server, "job"), testserver.S3Key, testserver.S3Secret))
	plain.Prepare(h)
	copied.Prepare(h)
	s.Fill(h)
	f.Rows = s.Rows
	plain.Run(h, s.Rows) // so that the log is read from memory by all that count
	plain.Seconds, plain.CPU = nil, nil
	copies := 0
	for n := range f.Runs {
		pair := []*jobs.Contestant{plain, copied}
		if n%2 == 1 {
			slices.Reverse(pair)
		}
		for _, c := range pair {
			c.Run(h, s.Rows)
			if c == copied {
				copies += made(h, server)
			}
		}
	}
	var cost, cpu []float64
	for n := range f.Runs {
		cost = append(cost, 1-plain.Seconds[n]/copied.Seconds[n])
		cpu = append(cpu, copied.CPU[n]/plain.CPU[n]-1)
	}
	f.ReplicateCost, f.ReplicateCPU, f.CopiesPerRun = spreadOf(cost), spreadOf(cpu), float64(copies)/float64(f.Runs)
	f.ReplicateCostRatio = f.ReplicateCost.Median
	fmt.Printf("copies cost %v of the rows/s and %v more CPU a row, with %.1f copies a run; median of %d pairs and its 95 %% interval\n",
		f.ReplicateCost, f.ReplicateCPU, f.CopiesPerRun, f.Runs)
}

// made is how many copies the last run has made: a manifest's name is its number.
func made(h *host.Host, server *testserver.S3Server) int {
	names, err := filepath.Glob(filepath.Join(server.Dir(), bucketName, "job", "*", "*.manifest"))
	if err != nil || len(names) == 0 {
		h.Fatalf("the job made no copy: %v", err)
	}
	var n int
	if _, err := fmt.Sscanf(filepath.Base(slices.Max(names)), "%x.manifest", &n); err != nil {
		h.Fatal(err)
	}
	return n
}
