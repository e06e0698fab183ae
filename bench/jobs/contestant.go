package jobs

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// Contestant is one way of moving the rows. Its folder is copied for each run,
// so that all runs begin at the same place.
type Contestant struct {
	Name    string
	Seconds []float64 // wall, from the process's start to its end
	CPU     []float64 // user and system
	Peaks   []int64   // bytes of memory that were resident at most
	run     func(dir string) *exec.Cmd
	prepare func(dir string) // before there are rows
	origin  string
	stored  stored // folder relative to the run's
}

// Race moves the source's rows with each contestant in turns, and leaves what
// that took in them.
func Race(h *host.Host, s *Source, runs int, all ...*Contestant) {
	for _, c := range all {
		c.Prepare(h)
	}
	s.Fill(h)
	for range runs {
		for _, c := range all {
			c.Run(h, s.Rows)
		}
	}
}

// Prepare makes the folder of which each run gets a copy.
func (c *Contestant) Prepare(h *host.Host) {
	c.origin = h.TempDir()
	if c.prepare != nil {
		c.prepare(c.origin)
	}
}

// Rate is the median of rows a second.
func (c *Contestant) Rate(s *Source) float64 { return float64(s.Rows) / Median(c.Seconds) }

// Median of an odd number of figures is one that was measured.
func Median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// Bare is the loop that the product is weighed against.
func Bare(s *Source, binary string) *Contestant {
	return &Contestant{Name: "bare loop", stored: plain, run: func(dir string) *exec.Cmd {
		return exec.Command(binary, "-addr", s.DB.Addr(), "-from", s.from, "-to", s.to, "-store", dir)
	}}
}

// Ceiling publishes as many messages as there are rows, and reads nothing.
func Ceiling(s *Source, binary string) *Contestant {
	return &Contestant{Name: "publish only", stored: plain, run: func(dir string) *exec.Cmd {
		return exec.Command(binary, "-ceiling", strconv.Itoa(s.Rows), "-store", dir)
	}}
}

var plain = stored{".", "CDC", "cdc.>"}

// Run runs a process from start to end in a fresh copy of its folder, and sees
// that it has left as many messages as there are rows.
func (c *Contestant) Run(h *host.Host, rows int) {
	dir := h.TempDir()
	if err := os.CopyFS(dir, os.DirFS(c.origin)); err != nil {
		h.Fatal(err)
	}
	cmd := c.run(dir)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	syscall.Sync() // what the run before left to write is not this one's
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		h.Fatalf("%s: %v\n%s", c.Name, err, out.String())
	}
	wall := time.Since(begin).Seconds()
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	c.Seconds, c.CPU, c.Peaks = append(c.Seconds, wall), append(c.CPU, cpu), append(c.Peaks, usage.Maxrss<<10)
	fmt.Printf("%-15s %8.0f rows/s  %5.2f µs CPU/row  %4d MiB peak  %5.1f s\n",
		c.Name, float64(rows)/wall, cpu/float64(rows)*1e6, usage.Maxrss>>10, wall)
	c.verify(h, dir, rows)
	if err := os.RemoveAll(dir); err != nil {
		h.Fatal(err)
	}
}

// verify counts what the run has left in the broker's files: a run that moved
// fewer rows than it was given is no run.
func (c *Contestant) verify(h *host.Host, dir string, rows int) {
	s := c.stored
	s.folder = filepath.Join(dir, s.folder)
	n, err := s.count()
	forgetPeak(h)
	if err != nil {
		h.Fatalf("%s: %v", c.Name, err)
	}
	if n != rows {
		h.Fatalf("%s: %d messages for %d rows", c.Name, n, rows)
	}
}

// forgetPeak gives back what this process does not use, and has the kernel forget
// the most that it had: it counts a child's peak from its parent's. Source:
// proc_pid_clear_refs(5).
func forgetPeak(h *host.Host) {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		h.Fatal(err)
	}
}

// Job is the product. It claims its place in the binlog before there are rows,
// and each run catches up from there. steps and settings are YAML: of the
// pipeline, and beside pipelines.
func Job(h *host.Host, s *Source, name, binary, steps, settings string) *Contestant {
	run := func(dir string) *exec.Cmd {
		return exec.Command(binary, "run", filepath.Join(dir, configFile), "--until", "caught-up")
	}
	prepare := func(dir string) {
		// Not encrypted, as the bare loop: what encryption costs is not asked.
		dsn := url.URL{Scheme: "mysql", User: url.User("root"), Host: s.DB.Addr(), RawQuery: "tls=false"}
		source := fmt.Sprintf("dsn: %q, tables: [%s], snapshot: never", dsn.String(), strings.Join(load.Tables(), ", "))
		configure(h, dir, source, steps, settings)
		cmd := run(dir)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			h.Fatalf("%s, first run: %v\n%s", name, err, out)
		}
	}
	return &Contestant{Name: name, run: run, prepare: prepare, stored: ours}
}

// Copy is the product as a batch job: it copies a table, and ends.
func Copy(h *host.Host, binary, dsn, table string, workers int) *Contestant {
	run := func(dir string) *exec.Cmd { return exec.Command(binary, "run", filepath.Join(dir, configFile)) }
	prepare := func(dir string) {
		configure(h, dir, fmt.Sprintf("dsn: %q, tables: [%s], snapshot: only, snapshot_options: {workers: %d}", dsn, table, workers), "", "")
	}
	return &Contestant{Name: "cdcd, whole job", run: run, prepare: prepare, stored: ours}
}

const configFile = "cdcd.yaml"

// ours is where a pipeline of configure leaves its messages.
var ours = stored{filepath.Join("state", "nats"), "BENCH", "cdc.bench.bench.*"}

// configure writes the configuration of one pipeline into the embedded JetStream.
// All is YAML: source is what is in the braces of mysql, steps belongs to the
// pipeline, settings is beside pipelines, where state has a default.
func configure(h *host.Host, dir, source, steps, settings string) {
	if !strings.Contains(settings, "state:") {
		settings = "state: {dir: ./state}\n" + settings
	}
	config := fmt.Sprintf(`version: 1
pipelines:
  bench:
    source:
      mysql: {%s}%s
    sink:
      jetstream: {stream: BENCH, format: json, max_age: 1d}
server: {listen: "127.0.0.1:%d"}
%s`, source, steps, testserver.Port(h), settings)
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o600); err != nil {
		h.Fatal(err)
	}
}

// Build builds a program of this module.
func Build(h *host.Host, name, pkg string) string {
	path := filepath.Join(h.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}
