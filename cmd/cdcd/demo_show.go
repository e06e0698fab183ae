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
	limit   time.Duration
	first   time.Duration // from the start to the first delivered record
	peak    int64         // most memory that the connectors had
	before  map[string]telemetry.Status
	at      time.Time
}

func (v *demoView) begin(dir string) {
	v.dir = dir
	v.out.line("Two recorded binlogs of a small shop, from MySQL and MariaDB, go through two WASM connectors")
	v.out.line("(mask hashes the emails, filter drops draft orders) into an embedded NATS JetStream.")
	v.out.line("Everything is in %s. The first run compiles the connectors, which takes a few seconds.\n", dir)
}

// watch draws until all pipelines have ended, the time is over or ctx ends. Its
// error is the daemon's, which has then ended by itself.
func (v *demoView) watch(ctx context.Context, d *runtime.Daemon, done chan error) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	over := time.NewTimer(v.limit)
	defer over.Stop()
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
	now := time.Now()
	seconds := max(now.Sub(v.at).Seconds(), 1e-3)
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %10s %7s %10s %7s %9s %10s %12s  %s\n", "pipeline", "rows in", "/s", "rows out", "/s", "dropped", "in flight", "connectors", "state")
	next := map[string]telemetry.Status{}
	for _, s := range all {
		p := v.before[s.Pipeline]
		rate := func(now, before uint64) string { return thousands(uint64(float64(now-before) / seconds)) }
		flying := int64(s.Source.Rows) - int64(s.RowsOut+s.RowsDropped+s.RowsSkipped+s.DeadLetters)
		fmt.Fprintf(&b, "%-14s %10s %7s %10s %7s %9s %10s %12s  %s\n", s.Pipeline, thousands(s.RowsIn), rate(s.RowsIn, p.RowsIn),
			thousands(s.RowsOut), rate(s.RowsOut, p.RowsOut), thousands(s.RowsDropped), thousands(max(flying, 0)), size(s.GuestBytes), s.State)
		next[s.Pipeline] = s
	}
	v.before, v.at = next, now
	if v.live.tty {
		v.live.draw(b.String())
		return
	}
	_, _ = fmt.Fprint(v.out.out, b.String())
}

// end shows what arrived, what was given back, and what to try next.
func (v *demoView) end(r *demoResult, s *sample) {
	if v.out.json {
		v.out.object(r)
		return
	}
	v.live.keep()
	v.out.line("\n%s rows read, %s messages in the streams (all of them read back), %s dropped, in %s; the first after %s.",
		thousands(r.In), thousands(r.ReadBack), thousands(r.Dropped),
		span(time.Duration(r.ElapsedMS*float64(time.Millisecond))), span(v.first))
	if s != nil {
		v.out.line("\n%s\n  before the mask  %s\n  after it         %s", s.subject, s.before, s.after)
	}
	v.out.line("\nUnloaded: the connectors had %s of memory, and have %s.", size(v.peak), size(r.GuestAfter))
	for _, p := range r.Pipelines {
		v.out.line("  %-14s %s", p.Pipeline, receipts(p.Receipts))
	}
	v.out.line("\nNext:\n  cdcd demo --keep ./shop           keep this: configuration, recordings, streams\n" +
		"  cdcd connector inspect mask       what a connector says of itself\n" +
		"  cdcd run ./shop/cdcd.yaml         the same by hand; examples/ has MySQL and MariaDB")
}

// receipts prints what the steps gave back.
func receipts(v any) string {
	list, ok := v.([]pipeline.Receipt)
	if !ok || len(list) == 0 {
		return "no receipt"
	}
	parts := make([]string, len(list))
	for i, r := range list {
		parts[i] = r.Step + ": " + receipt(r)
	}
	return strings.Join(parts, "; ")
}
