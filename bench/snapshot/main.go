package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// figures is the last line of output.
type figures struct {
	VsPlainSelect    float64 `json:"vs_plain_select"` // rows/s of the copy, as a ratio: the median of the pairs
	VsPlainLow       float64 `json:"vs_plain_select_low"`
	VsPlainHigh      float64 `json:"vs_plain_select_high"` // the median is between the two with 95 %
	RowsPerSecond    float64 `json:"rows_per_second"`      // of the copy
	RSSPeakBytes     int64   `json:"rss_peak_bytes"`       // of the whole job's process, the most of its runs
	PlainRowsPerSec  float64 `json:"plain_rows_per_second"`
	CPUVsPlain       float64 `json:"cpu_per_row_vs_plain_select"` // of reader and server together
	JobRowsPerSecond float64 `json:"job_rows_per_second"`
	Server           string  `json:"server"`
	Rows             int     `json:"rows"`
	Workers          int     `json:"workers"`
	Runs             int     `json:"runs"` // pairs
}

func main() {
	var f figures
	flag.IntVar(&f.Rows, "rows", 2_000_000, "rows of the table")
	flag.IntVar(&f.Runs, "runs", 25, "pairs of turns, one of each reader; the median of their ratios counts")
	jobRuns := flag.Int("job", 3, "runs of the whole job; 0 for none")
	flag.IntVar(&f.Workers, "workers", 4, "connections that read")
	flag.StringVar(&f.Server, "server", testserver.FlavorMySQL, "mysql or mariadb")
	cdcd := flag.String("cdcd", "", "binary to measure; without it, it is built")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of the copy, which is then all that runs")
	h := host.New()
	defer h.Close()
	flag.Parse()
	if *cdcd == "" && *profile == "" && *jobRuns > 0 {
		*cdcd = jobs.Build(h, "cdcd", "./cmd/cdcd")
	}
	db := serve(h, f.Server, f.Rows)
	dsn := db.DSN() + "?tls=false" // as the plain reader: what encryption costs is not asked
	ours := &contest{name: "cdcd, copy", read: func() (int, error) { return copyTable(dsn, f.Workers) }}
	if *profile != "" {
		f.profile(h, db, ours, *profile)
		return
	}
	if *jobRuns > 0 { // first: the kernel counts what a process's parent had resident, and this one is still small
		f.job(h, jobs.Copy(h, *cdcd, dsn, load.Large, f.Workers), *jobRuns)
	}
	f.race(h, db, &contest{name: "plain SELECT", read: (&plain{db, f.Workers, f.Rows}).read}, ours)
	fmt.Printf("cdcd's copy / plain SELECT: %.2fx rows/s (95 %%: %.2f to %.2f)\n", f.VsPlainSelect, f.VsPlainLow, f.VsPlainHigh)
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		h.Fatal(err)
	}
}

// serve starts a server that has the table, and keeps all of it in memory: the
// readers are to be weighed, not the disk.
func serve(h *host.Host, flavor string, rows int) *testserver.DB {
	const rowBytes = 400 // in pages that are not quite full
	args := []string{fmt.Sprintf("--innodb-buffer-pool-size=%dM", 256+rows*rowBytes>>20)}
	start := testserver.MySQL
	switch flavor {
	case testserver.FlavorMySQL:
		args = append(args, "--innodb-redo-log-capacity=512M")
	case testserver.FlavorMariaDB:
		start, args = testserver.MariaDB, append(args, "--innodb-log-file-size=512M")
	default:
		h.Fatalf("-server %s: must be %s or %s", flavor, testserver.FlavorMySQL, testserver.FlavorMariaDB)
	}
	db := start(h, testserver.Args(args...))
	begin := time.Now()
	if err := load.FillLarge(db, rows); err != nil {
		h.Fatal(err)
	}
	fmt.Printf("loaded %d rows into %s in %.1f s\n", rows, flavor, time.Since(begin).Seconds())
	return db
}

// contest is one way to read the table in this process.
type contest struct {
	name  string
	read  func() (rows int, err error)
	rates []float64 // rows/s
	costs []float64 // seconds of CPU for each row, this process's and the server's
}

// job runs the binary.
func (f *figures) job(h *host.Host, job *jobs.Contestant, runs int) {
	job.Prepare(h)
	for range runs {
		job.Run(h, f.Rows)
	}
	f.JobRowsPerSecond = float64(f.Rows) / jobs.Median(job.Seconds)
	f.RSSPeakBytes = slices.Max(job.Peaks)
}

// race lets the contestants read in pairs of turns, after one that warms up, and
// the one that begins a pair ends the next. What else runs on the machine makes a
// turn slower by half or more, for minutes; the two turns of a pair it hits alike.
func (f *figures) race(h *host.Host, db *testserver.DB, plain, ours *contest) {
	server := serverPID(h, db)
	turns := []*contest{plain, ours}
	for range f.Runs + 1 {
		for _, c := range turns {
			c.once(h, server, f.Rows)
		}
		slices.Reverse(turns)
	}
	f.PlainRowsPerSec, f.RowsPerSecond = jobs.Median(plain.rates[1:]), jobs.Median(ours.rates[1:])
	speed := ratios(ours.rates[1:], plain.rates[1:])
	f.VsPlainSelect = jobs.Median(speed)
	f.VsPlainLow, f.VsPlainHigh = around(speed)
	f.CPUVsPlain = jobs.Median(ratios(ours.costs[1:], plain.costs[1:]))
}

// ratios divides pair by pair.
func ratios(ours, plain []float64) []float64 {
	r := make([]float64, len(ours))
	for i := range r {
		r[i] = ours[i] / plain[i]
	}
	return r
}

// around returns the values between which the median is with 95 %, as the order of
// the values tells: how many of n are below it is binomial.
func around(values []float64) (low, high float64) {
	v := slices.Sorted(slices.Values(values))
	n := float64(len(v))
	k := max(0, int((n-1.96*math.Sqrt(n))/2))
	return v[k], v[len(v)-1-k]
}

// profile writes a CPU profile of one contestant.
func (f *figures) profile(h *host.Host, db *testserver.DB, c *contest, path string) {
	server := serverPID(h, db)
	c.once(h, server, f.Rows)
	out, err := os.Create(path)
	if err != nil {
		h.Fatal(err)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		h.Fatal(err)
	}
	for range f.Runs {
		c.once(h, server, f.Rows)
	}
	pprof.StopCPUProfile()
	if err := out.Close(); err != nil {
		h.Fatal(err)
	}
}

// once reads the table once.
func (c *contest) once(h *host.Host, server, rows int) {
	runtime.GC()
	begin, own, theirs := time.Now(), cpu(h), cpuOf(h, server)
	got, err := c.read()
	if err != nil {
		h.Fatalf("%s: %v", c.name, err)
	}
	if got != rows {
		h.Fatalf("%s: read %d rows of %d", c.name, got, rows)
	}
	wall := time.Since(begin).Seconds()
	own, theirs = cpu(h)-own, cpuOf(h, server)-theirs
	c.rates = append(c.rates, float64(rows)/wall)
	c.costs = append(c.costs, (own+theirs).Seconds()/float64(rows))
	fmt.Printf("%-15s %8.0f rows/s  %5.2f µs CPU/row, %5.2f in the server  %5.1f s\n", c.name, float64(rows)/wall,
		own.Seconds()/float64(rows)*1e6, theirs.Seconds()/float64(rows)*1e6, wall)
}

// cpu is what this process has used of it; the server is another.
func cpu(h *host.Host) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		h.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverPID is the number of the server's process.
func serverPID(h *host.Host, db *testserver.DB) int {
	path := db.Value(h, "SELECT @@pid_file")
	if !filepath.IsAbs(path) {
		path = filepath.Join(db.BinlogDir(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		h.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		h.Fatal(err)
	}
	return pid
}

// cpuOf is what another process has used of it, in ticks of 10 ms as proc(5) has
// them.
func cpuOf(h *host.Host, pid int) time.Duration {
	const utime, tick = 11, 10 * time.Millisecond // behind the name in brackets
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		h.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields, sum := strings.Fields(rest), 0
	for _, f := range fields[utime : utime+2] {
		n, err := strconv.Atoi(f)
		if err != nil {
			h.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * tick
}
