package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// passThrough is the step of the job: it looks at every row and keeps it.
const passThrough = `
    steps:
      - wasm: filter
        with: {where: "k >= 0"}`

// contestant is one way of moving the rows. Its folder is copied for each run,
// so that all runs begin at the same place.
type contestant struct {
	name    string
	seconds []float64 // wall, from the process's start to its end
	cpu     []float64 // user and system
	run     func(dir string) *exec.Cmd
	prepare func(dir string) // before there are rows
	origin  string
	stored  stored // folder relative to the run's
}

// job moves the rows through whole processes, in turns.
func (f *figures) job(h *host.Host, s *source, o options) {
	cdcd := o.cdcd
	if cdcd == "" {
		cdcd = build(h, "cdcd", "./cmd/cdcd")
	}
	bareloop := build(h, "bareloop", "./bench/bareloop")
	with := cdcdJob(h, s, "cdcd, one step", cdcd, passThrough)
	none := cdcdJob(h, s, "cdcd, no step", cdcd, "")
	plain := stored{".", "CDC", "cdc.>"}
	bare := &contestant{name: "bare loop", stored: plain, run: func(dir string) *exec.Cmd {
		return exec.Command(bareloop, "-addr", s.db.Addr(), "-from", s.from, "-to", s.to, "-store", dir)
	}}
	ceiling := &contestant{name: "publish only", stored: plain, run: func(dir string) *exec.Cmd {
		return exec.Command(bareloop, "-ceiling", strconv.Itoa(s.rows), "-store", dir)
	}}
	all := []*contestant{bare, with, none, ceiling}
	for _, c := range all {
		c.origin = h.TempDir()
		if c.prepare != nil {
			c.prepare(c.origin)
		}
	}
	s.fill(h)
	for range o.runs {
		for _, c := range all {
			c.once(h, s.rows)
		}
	}
	rate := func(c *contestant) float64 { return float64(s.rows) / median(c.seconds) }
	f.JobRowsPerSecond, f.BareloopRowsPerSec, f.CeilingRowsPerSecond = rate(with), rate(bare), rate(ceiling)
	f.JobVsBareloop, f.StepVsNone = rate(with)/rate(bare), rate(with)/rate(none)
	f.JobCPUVsBareloop = median(with.cpu) / median(bare.cpu)
	fmt.Printf("job with one step / bare loop: %.2fx rows/s, %.2fx CPU per row\njob with one step / without: %.2fx rows/s\n",
		f.JobVsBareloop, f.JobCPUVsBareloop, f.StepVsNone)
}

// once runs a process from start to end in a fresh copy of its folder.
func (c *contestant) once(h *host.Host, rows int) {
	dir := h.TempDir()
	if err := os.CopyFS(dir, os.DirFS(c.origin)); err != nil {
		h.Fatal(err)
	}
	cmd := c.run(dir)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		h.Fatalf("%s: %v\n%s", c.name, err, out.String())
	}
	wall := time.Since(begin).Seconds()
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	c.seconds, c.cpu = append(c.seconds, wall), append(c.cpu, cpu)
	fmt.Printf("%-15s %8.0f rows/s  %5.2f µs CPU/row  %4d MiB peak  %5.1f s\n",
		c.name, float64(rows)/wall, cpu/float64(rows)*1e6, usage.Maxrss>>10, wall)
	c.verify(h, dir, rows)
	if err := os.RemoveAll(dir); err != nil {
		h.Fatal(err)
	}
}

// verify counts what the run has left in the broker's files: a run that moved
// fewer rows than it was given is no run.
func (c *contestant) verify(h *host.Host, dir string, rows int) {
	s := c.stored
	s.folder = filepath.Join(dir, s.folder)
	n, err := s.count()
	if err != nil {
		h.Fatalf("%s: %v", c.name, err)
	}
	if n != rows {
		h.Fatalf("%s: %d messages for %d rows", c.name, n, rows)
	}
}

// cdcdJob is the product. It claims its place in the binlog before there are
// rows, and each run catches up from there.
func cdcdJob(h *host.Host, s *source, name, binary, steps string) *contestant {
	run := func(dir string) *exec.Cmd {
		return exec.Command(binary, "run", filepath.Join(dir, "cdcd.yaml"), "--until", "caught-up")
	}
	prepare := func(dir string) {
		dsn := url.URL{Scheme: "mysql", User: url.User("root"), Host: s.db.Addr()}
		config := fmt.Sprintf(`version: 1
pipelines:
  bench:
    source:
      mysql: {dsn: %q, tables: [%s], snapshot: never}%s
    sink:
      jetstream: {stream: BENCH, format: json, max_age: 1d, max_bytes: 20GiB}
server: {listen: "127.0.0.1:%d"}
state: {dir: ./state}
`, dsn.String(), strings.Join(load.Tables(), ", "), steps, testserver.Port(h))
		if err := os.WriteFile(filepath.Join(dir, "cdcd.yaml"), []byte(config), 0o600); err != nil {
			h.Fatal(err)
		}
		cmd := run(dir)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			h.Fatalf("%s, first run: %v\n%s", name, err, out)
		}
	}
	return &contestant{name: name, run: run, prepare: prepare,
		stored: stored{filepath.Join("state", "nats"), "BENCH", "cdc.bench.bench.*"}}
}

// build builds a program of this module.
func build(h *host.Host, name, pkg string) string {
	path := filepath.Join(h.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}
