package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

const (
	// batchPipelines is how many pipelines run side by side, each by "@every 1s".
	batchPipelines = 20
	// batchWarmUp is how many runs come before the first look: streams have reached
	// what they keep, and each module was there.
	batchWarmUp = 10 * batchPipelines
	// dirGrowthMax is what the state's directory may differ by: Pebble's log and its
	// memtables come and go.
	dirGrowthMax = 8 << 20
	// tablesMax is how many descriptors more there may be: tables of Pebble's, which
	// its compactions make and delete.
	tablesMax = 8
	// codeMax is by how much machine code may differ between two looks: it goes up and
	// down by some tens of KiB. A module that stayed would be 20 KiB for each run.
	codeMax = 64 << 10
)

// batchGrowth is that of scheduled runs in one daemon.
type batchGrowth struct {
	Runs int `json:"runs"`
	growth
	Dir         int64   `json:"state_growth_bytes"` // of the state's directory on disk
	Connections int     `json:"connections_growth"` // at the MySQL server
	Failed      uint64  `json:"failed"`
	Skipped     uint64  `json:"skipped"` // due while the one before still went
	PerSecond   float64 `json:"runs_per_second"`
}

// checkDaemon is check of a daemon that goes on.
func (g growth) checkDaemon() error {
	g.FDs = max(0, g.FDs-tablesMax)
	g.JIT = max(0, g.JIT-codeMax)
	return g.check()
}

func (g batchGrowth) check() error {
	err := g.checkDaemon()
	if g.Dir > dirGrowthMax {
		err = errors.Join(err, fmt.Errorf("the state takes %d bytes more than at the start", g.Dir))
	}
	if g.Connections > 0 {
		err = errors.Join(err, fmt.Errorf("%d connections more at the server than at the start", g.Connections))
	}
	if g.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d runs failed", g.Failed))
	}
	return err
}

// batch is a day of batch jobs: one daemon, whose pipelines copy a table into
// streams of an external JetStream again and again.
type batch struct {
	*jobs
	broker *testserver.NATSServer // a process of its own: what is looked at is the daemon
	state  string
}

// newBatch starts the servers; they end with t.
func newBatch(t testing.TB, g *guests) *batch {
	j := newSource(t, g)
	return &batch{jobs: j, broker: testserver.NATS(t), state: filepath.Join(j.dir, "state")}
}

// run runs the daemon until so many runs have ended, and calls sample with what
// it sees samples times. It looks while pipelines are at rest: time stands still
// for their schedules then.
func (b *batch) run(ctx context.Context, t testing.TB, runs, samples int, sample func(probe)) (g batchGrowth, err error) {
	c, err := b.config()
	if err != nil {
		return g, err
	}
	clock := &gate{}
	d, err := runtime.New(runtime.Options{Config: c, Kinds: b.kinds, Version: "soak", Compile: wasm.CompileApart, ScheduleNow: clock.now,
		CacheDir: filepath.Join(b.dir, "wasm"), Module: func(m config.Module) ([]byte, error) {
			n, err := strconv.Atoi(strings.TrimPrefix(m.Name, "upper"))
			if err != nil {
				return nil, err
			}
			return b.guests.module(n)
		}})
	if err != nil {
		return g, err
	}
	ctx, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	var daemon error
	ended.Go(func() { daemon = d.Run(ctx) })
	defer func() {
		stop()
		ended.Wait()
		err = errors.Join(err, daemon)
	}()
	return b.watch(ctx, t, d, clock, runs, samples, sample)
}

// watch looks at the daemon while it works.
func (b *batch) watch(ctx context.Context, t testing.TB, d *runtime.Daemon, clock *gate, runs, samples int, sample func(probe)) (g batchGrowth, err error) {
	if err := b.rest(ctx, d, clock, min(batchWarmUp, runs)); err != nil {
		return g, err
	}
	first, err := look(0)
	if err != nil {
		return g, err
	}
	dir, connections, before := size(b.state), b.connections(t), total(d)
	looks := []probe{first}
	sample(first)
	begin := time.Now()
	for n := 0; n < runs; {
		n = min(runs, n+max(1, runs/samples))
		clock.open()
		if err := b.rest(ctx, d, clock, int(before.ok)+n); err != nil {
			return g, err
		}
		p, err := look(n)
		if n == runs && err == nil {
			p, err = lookBack(n, first, growth.checkDaemon)
		}
		if err != nil {
			return g, err
		}
		looks = append(looks, p)
		sample(p)
	}
	spent, after := time.Since(begin), total(d)
	g = batchGrowth{Runs: int(after.ok - before.ok), growth: grown(looks, spent), Dir: size(b.state) - dir, Failed: after.failed, Skipped: after.skipped - before.skipped}
	g.Connections = b.connectionsBack(t, connections) - connections
	g.PerSecond = float64(g.Runs) / spent.Seconds()
	return g, b.verify(ctx, t, d)
}

// totals are sums over pipelines.
type totals struct {
	ok, failed, skipped uint64
	going               int
}

func total(d *runtime.Daemon) (t totals) {
	for _, s := range d.Status() {
		if s.Schedule == nil {
			t.going++
			continue
		}
		t.ok, t.failed, t.skipped = t.ok+s.Schedule.OK, t.failed+s.Schedule.Failed, t.skipped+s.Schedule.Skipped
		if s.State != "scheduled" || s.Schedule.OK == 0 {
			t.going++
		}
	}
	return t
}

// rest waits until so many runs have ended, and the pipelines rest.
func (b *batch) rest(ctx context.Context, d *runtime.Daemon, clock *gate, ok int) error {
	for at := time.Now(); total(d).ok < uint64(ok); time.Sleep(5 * time.Millisecond) {
		if time.Since(at) > 10*time.Minute || total(d).failed > 0 {
			return fmt.Errorf("%+v of %d runs: %+v", total(d), ok, d.Status()[0])
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	clock.shut()
	for at := time.Now(); total(d).going > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(at) > time.Minute {
			return fmt.Errorf("%d pipelines don't rest: %s", total(d).going, going(d))
		}
	}
	time.Sleep(settle)
	return nil
}

// going says what a pipeline does that does not rest.
func going(d *runtime.Daemon) string {
	for _, s := range d.Status() {
		if s.State != "scheduled" {
			text, _ := json.Marshal(s) // a status always marshals
			return string(text)
		}
	}
	return ""
}

// settle is how long a server takes to notice that a dump's connection is gone,
// and the host until code that nobody uses is let go of.
const settle = 3 * time.Second

// gate is a clock that can be stopped.
type gate struct {
	mu      sync.Mutex
	stopped time.Time // zero while it goes
	lost    time.Duration
}

func (g *gate) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped.IsZero() {
		return g.stopped.Add(-g.lost)
	}
	return time.Now().Add(-g.lost)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = time.Now()
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost += time.Since(g.stopped)
	g.stopped = time.Time{}
}

func (b *batch) config() (*config.Config, error) {
	dsn := url.URL{Scheme: "mysql", User: url.User("root"), Host: b.db.Addr()}
	var text strings.Builder
	text.WriteString("version: 1\npipelines:\n")
	var modules []string // of another digest each
	for n := range batchPipelines {
		modules = append(modules, fmt.Sprint("upper", n))
		fmt.Fprintf(&text, `  job%d:
    schedule: "@every 1s"
    source: {mysql: {dsn: %q, tables: [shop.users], snapshot: only, heartbeat_interval: 500ms}}
    steps: [{wasm: %s, with: {column: name}}]
    sink: {jetstream: {stream: JOB%d, max_age: 1m}}
`, n, dsn.String(), modules[n], n)
	}
	fmt.Fprintf(&text, "state: {dir: %q}\nnats: {url: %q}\n", b.state, b.broker.URL())
	o := config.Options{Connectors: modules, Sources: []config.Kind{{Name: b.kinds.Sources[0].Name, NewConfig: b.kinds.Sources[0].NewConfig}},
		Sinks: []config.Kind{{Name: b.kinds.Sinks[0].Name, NewConfig: b.kinds.Sinks[0].NewConfig}}}
	return config.Parse(filepath.Join(b.dir, "cdcd.yaml"), []byte(text.String()), o)
}

// verify wants each pipeline's last run whole in its stream, in upper case.
func (b *batch) verify(ctx context.Context, t testing.TB, d *runtime.Daemon) error {
	js, err := jetstream.New(b.broker.Conn(t))
	if err != nil {
		return err
	}
	for n, s := range d.Status() {
		stream, err := js.Stream(ctx, fmt.Sprint("JOB", n))
		if err != nil {
			return err
		}
		last, err := stream.GetLastMsgForSubject(ctx, fmt.Sprintf("cdc.%s._cdcd", s.Pipeline))
		if err != nil {
			return err
		}
		var end struct {
			Kind          string
			Run, Messages uint64
		}
		if err := json.Unmarshal(last.Data, &end); err != nil || end.Kind != "run_end" || end.Messages != jobRows || end.Run != s.Schedule.Last.Run {
			return fmt.Errorf("%s: the stream ends with %s, and the last run is %+v (%v)", s.Pipeline, last.Data, s.Schedule.Last, err)
		}
	}
	return nil
}

// size returns what a folder takes on disk.
func size(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // files come and go meanwhile
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

// soakBatch runs a day of batch jobs.
func soakBatch(ctx context.Context, h *host.Host, g *guests, o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	b := newBatch(h, g)
	var list []probe
	result, err := b.run(ctx, h, o.batch, min(o.samples, 25), func(p probe) {
		list = append(list, p)
		o.profile(p.Cycle, o.batch)
		fmt.Printf("%6d runs: %s, %.1f MiB of state\n", p.Cycle, p, float64(size(b.state))/(1<<20))
	})
	if err == nil {
		err = writeCSV(filepath.Join(o.out, "soak-batch.csv"), list)
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return err
	}
	return result.check()
}
