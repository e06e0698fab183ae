package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// demoView shows the demo.
type demoView struct {
	out     *console
	live    *live
	flavors []demoFlavor
	dir     string
	began   time.Time
	limit   time.Duration       // of the replay, from its first row on
	first   time.Duration       // from the start to the first delivered record
	peak    int64               // most memory that the connectors had
	rates   map[string]*[2]rate // rows in and out, by pipeline
}

func (v *demoView) begin(dir string) {
	v.dir = dir
	v.out.line("Two recorded binlogs of a small shop, from MySQL and MariaDB, go through two\n" +
		"WASM connectors (mask hashes the emails, filter drops draft orders) into an\n" +
		"embedded NATS JetStream. lag is the time from reading a row off the log to the\n" +
		"broker's confirmation. The first run compiles the connectors: a few seconds.\n")
}

// watch draws until all pipelines have ended, the time is over or ctx ends. Its
// error is the daemon's, which has then ended by itself.
func (v *demoView) watch(ctx context.Context, d *runtime.Daemon, done chan error) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	over := time.NewTimer(demoStartMax)
	defer over.Stop()
	reading := false
	drawn := time.Time{}
	for {
		select {
		case err := <-done:
			return err
		case <-over.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
		all := d.Status()
		t := sum(all)
		v.peak = max(v.peak, t.guest)
		if !reading && t.in > 0 {
			reading = true
			over.Reset(v.limit)
		}
		if v.first == 0 && t.out > 0 {
			v.first = time.Since(v.began)
		}
		ended := settled(all)
		if ended || time.Since(drawn) >= v.interval() {
			drawn = time.Now()
			v.draw(all)
		}
		if ended {
			return nil
		}
	}
}

// settled reports whether no pipeline has anything in flight.
func settled(all []telemetry.Status) bool {
	for _, s := range all {
		switch pipeline.State(s.State) {
		case pipeline.StateEnded, pipeline.StateHalted, pipeline.StatePaused, pipeline.StateStopped:
		default:
			return false
		}
	}
	return true
}

// settle lets the pipelines finish what is in flight while the broker still
// runs, so that what is read back is all that was sent.
func (v *demoView) settle(ctx context.Context, d *runtime.Daemon) {
	for _, f := range v.flavors {
		if p, ok := d.Pipeline(f.pipeline()); ok {
			p.Pause()
		}
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for bound := time.Now().Add(pipeline.DrainDefault); !settled(d.Status()) && time.Now().Before(bound); {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

func (v *demoView) interval() time.Duration {
	if v.live.tty {
		return 200 * time.Millisecond
	}
	return time.Second
}

// draw shows one line for each pipeline: a table on a terminal, a JSON object
// with --json, plain lines elsewhere.
func (v *demoView) draw(all []telemetry.Status) {
	if v.out.json {
		v.out.object(struct {
			Event     string             `json:"event"`
			Pipelines []telemetry.Status `json:"pipelines"`
		}{"status", all})
		return
	}
	text := v.table(all, time.Now())
	if v.live.tty {
		v.live.draw(text)
		return
	}
	_, _ = fmt.Fprint(v.out.out, text)
}

// table has a line for each pipeline, of less than 80 columns.
func (v *demoView) table(all []telemetry.Status, now time.Time) string {
	var b strings.Builder
	line := func(cells ...any) { fmt.Fprintf(&b, "%-12s %7s %6s %8s %6s %7s %7s %8s  %s\n", cells...) }
	line("pipeline", "rows in", "/s", "rows out", "/s", "dropped", "lag", "memory", "state")
	for i := range all {
		s := &all[i]
		r := v.rates[s.Pipeline]
		if r == nil {
			r = &[2]rate{}
			v.rates[s.Pipeline] = r
		}
		line(s.Pipeline, thousands(s.RowsIn), thousands(r[0].add(now, s.RowsIn)), thousands(s.RowsOut), thousands(r[1].add(now, s.RowsOut)),
			thousands(s.RowsDropped), lagText(s), size(s.GuestBytes), s.State)
	}
	return b.String()
}

// end shows what arrived, what was given back, and what to try next.
func (v *demoView) end(r *demoResult, s *sample) {
	if v.out.json {
		v.out.object(r)
		return
	}
	v.live.keep()
	v.out.line("\n%s rows read; %s messages in the streams, all of them read back;\n%s rows dropped; %s in all, the first message after %s.",
		thousands(r.In), thousands(r.ReadBack), thousands(r.Dropped),
		span(time.Duration(r.ElapsedMS*float64(time.Millisecond))), span(v.first))
	if s != nil {
		v.out.line("\n%s, before the mask and after it", s.subject)
		v.out.line("%s\n%s", v.live.clip("  "+string(s.before)), v.live.clip("  "+string(s.after)))
	}
	v.out.line("\nUnloaded: the connectors had %s of memory, and have %s.", size(v.peak), size(r.GuestAfter))
	for _, p := range r.Pipelines {
		list, _ := p.Receipts.([]pipeline.Receipt)
		for _, w := range list {
			v.out.line("  %-20s %s", p.Pipeline+"/"+w.Step, receipt(w))
		}
	}
	v.out.line("  %-20s %s", "machine code", r.Code)
	v.out.line("\nNext:\n  cdcd demo --keep ./shop       keep configuration, recordings and streams\n" +
		"  cdcd run ./shop/cdcd.yaml     the same by hand; examples/ has live servers\n" +
		"  cdcd connector inspect mask   what a connector says of itself")
}
