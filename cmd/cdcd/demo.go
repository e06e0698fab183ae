package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

type demoCmd struct {
	For  time.Duration `default:"10s" help:"How long to replay the recordings; 0s for as fast as it goes."`
	Keep string        `help:"Keep configuration, recordings and streams in this new folder." placeholder:"DIR"`
}

// demoConfig is the demo's configuration: what a newcomer would write.
var demoConfig = template.Must(template.New("cdcd.yaml").Parse(`# The configuration of cdcd demo.
version: 1
pipelines:
{{- range .Flavors}}
  shop-{{.Name}}:
    source:
      binlog_files:
        files: [{{.Name}}/binlog.000001, {{.Name}}/binlog.000002]
        tables: ["shop.*"]
{{- if .RowsPerSecond}}
        rate_limit: {rows_per_second: {{.RowsPerSecond}}}
{{- end}}
    steps:
      - wasm: mask
        only: [shop.customers, shop.orders]
        with: {columns: [email], how: sha256}
      - wasm: filter
        only: [shop.orders]
        with: {where: "status != 'draft'"}
    sink:
      jetstream: {stream: {{.Stream}}, subject: "cdc.{pipeline}.{db}.{table}"}
{{- end}}
state: {dir: ./data}
nats: {embedded: {listen: ""}}   # inside the process only
`))

// demoFlavor is one recording: its folder, its stream and how many rows it has.
type demoFlavor struct {
	Name, Stream  string
	Rows          int
	RowsPerSecond int
}

func demoFlavors() []demoFlavor {
	return []demoFlavor{{Name: "mysql", Stream: "SHOP_MYSQL", Rows: demo.RowsMySQL}, {Name: "mariadb", Stream: "SHOP_MARIADB", Rows: demo.RowsMariaDB}}
}

// Run replays the recordings through two connectors into the embedded JetStream,
// shows it, and reads back what arrived.
func (d *demoCmd) Run(out *console, sig *signals) (err error) {
	began := time.Now()
	for _, name := range []string{"mask", "filter"} {
		if _, err := catalog.Module(name); err != nil {
			return fault.New(fault.Environment, config.CodeUnknownConnector, name,
				"make connectors, then build again; make demo does both", "this binary was built without its connectors")
		}
	}
	dir, remove, err := d.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := d.write(dir); err != nil {
		return err
	}
	c, err := config.Load(filepath.Join(dir, "cdcd.yaml"), configOptions())
	if err != nil {
		return err
	}
	l := newLive(out)
	daemon, err := runtime.New(daemonOptions(c, newLog(l, slog.LevelWarn), runtime.Options{Stay: true}))
	if err != nil {
		return err
	}
	show := &demoView{out: out, live: l, began: began, limit: d.limit(), flavors: demoFlavors(), rates: map[string]*[2]rate{}}
	show.begin(dir)
	return show.run(sig, daemon)
}

const (
	// demoGrace is how much longer than --for the demo waits for the files' end, which
	// comes in time unless the machine is busy.
	demoGrace = 20 * time.Second
	// demoStartMax bounds the compiling, and a replay that has no pace.
	demoStartMax = 2 * time.Minute
)

// limit bounds the replay, from the first row on.
func (d *demoCmd) limit() time.Duration {
	if d.For <= 0 {
		return demoStartMax
	}
	return d.For + demoGrace
}

// folder makes the demo's folder; remove takes it away again unless it is to
// be kept.
func (d *demoCmd) folder() (dir string, remove func() error, err error) {
	if d.Keep == "" {
		dir, err = os.MkdirTemp("", "cdcd-demo-")
		remove = func() error { return os.RemoveAll(dir) }
	} else {
		dir, remove = d.Keep, func() error { return nil }
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		return "", nil, fault.New(fault.Environment, "demo_folder", dir, "name a folder that is not there yet, where this user may write", "%w", err)
	}
	return dir, remove, nil
}

// write puts recordings and configuration into the demo's folder.
func (d *demoCmd) write(dir string) error {
	files := demo.Files()
	err := fs.WalkDir(files, ".", func(path string, e fs.DirEntry, err error) error {
		to := filepath.Join(dir, path)
		if err != nil || path == "." {
			return err
		}
		if e.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
	flavors := demoFlavors()
	for i := range flavors {
		if d.For > 0 { // the limiter lets one second's worth through at once
			flavors[i].RowsPerSecond = max(1, int(float64(flavors[i].Rows)/(d.For.Seconds()+1)))
		}
	}
	var text bytes.Buffer
	if err == nil {
		err = demoConfig.Execute(&text, map[string]any{"Flavors": flavors})
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cdcd.yaml"), text.Bytes(), 0o644)
	}
	if err != nil {
		return fault.New(fault.Environment, "demo_folder", dir, "free some space there: the demo needs 20 MiB", "%w", err)
	}
	return nil
}

// demoResult is the last line of cdcd demo --json.
type demoResult struct {
	Event         string             `json:"event"`
	In            uint64             `json:"records_in"`
	Out           uint64             `json:"records_out"`
	ReadBack      uint64             `json:"records_read_back"`
	Dropped       uint64             `json:"dropped"`
	ElapsedMS     float64            `json:"elapsed_ms"`
	FirstRecordMS float64            `json:"first_record_ms"`
	LagMS         float64            `json:"lag_ms_p50"` // from reading to the broker's confirmation, of the slower pipeline
	GuestPeak     int64              `json:"guest_memory_bytes_peak"`
	GuestAfter    int64              `json:"guest_memory_bytes_after_unload"`
	Code          wasm.Unloaded      `json:"code"`
	Pipelines     []telemetry.Status `json:"pipelines"`
}

// check says what is wrong with a result that must not be.
func (r *demoResult) check() error {
	if r.Out == r.ReadBack {
		return nil
	}
	return fault.New(fault.Fatal, "demo_mismatch", "", "please report this, with the line of --json",
		"%s messages were confirmed and %s read back from the streams", strconv.FormatUint(r.Out, 10), strconv.FormatUint(r.ReadBack, 10))
}

// run runs the daemon until the recordings have ended, the time is over or a
// signal comes; reads the streams back; and ends the daemon.
func (v *demoView) run(sig *signals, d *runtime.Daemon) error {
	ctx, end := context.WithCancel(sig.hard)
	defer end()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	if err := v.watch(sig.drain, d, done); err != nil {
		return err
	}
	v.settle(ctx, d)
	r := demoResult{Event: "summary", FirstRecordMS: milliseconds(v.first), GuestPeak: v.peak}
	samples, err := v.readBack(ctx, d, &r)
	end()
	err = errors.Join(err, <-done)
	r.ElapsedMS = milliseconds(time.Since(v.began))
	r.Pipelines = d.Status()
	t := sum(r.Pipelines)
	r.In, r.Out, r.Dropped, r.GuestAfter = t.in, t.out, t.dropped, t.guest
	r.LagMS, r.Code = milliseconds(t.lag), d.Unloaded()
	if err = errors.Join(err, r.check()); err != nil {
		return err
	}
	v.end(&r, samples)
	return nil
}

func (f demoFlavor) pipeline() string { return fmt.Sprintf("shop-%s", f.Name) }
