package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

type runCmd struct {
	Config   string     `arg:"" help:"The configuration file."`
	Until    string     `enum:"caught-up,eof," default:"" help:"End by itself: caught-up (all that the log held at the start is delivered) or eof (the files have ended)."`
	LogLevel slog.Level `name:"log-level" default:"info" help:"debug, info, warn or error."`
}

// statusEvery is how often a status line is printed where there is no terminal.
const statusEvery = 10 * time.Second

// Run runs the configuration until a signal, --until, or a fault that a person
// must look at.
func (r *runCmd) Run(out *console, sig *signals) error {
	began := time.Now()
	c, err := config.Load(r.Config, configOptions())
	if err != nil {
		return err
	}
	out = out.apart(c)
	l := newLive(out)
	v := newRunView(out, l, began)
	v.fact(began, "configuration "+r.Config, plural(len(c.Pipelines), "pipeline"))
	d, err := runtime.New(daemonOptions(c, newLog(l, r.LogLevel), runtime.Options{Until: pipeline.Until(r.Until)}))
	if err != nil {
		return err
	}
	err = v.watch(sig, d)
	l.clear()
	v.summary(d.Status())
	return err
}

// daemonOptions completes o with what every daemon of this binary has.
func daemonOptions(c *config.Config, log *slog.Logger, o runtime.Options) runtime.Options {
	o.Config, o.Log, o.Version, o.Module = c, log, version, readModule
	o.Compile = wasm.CompileApart
	o.Kinds = runtime.Kinds{Sources: sources(), Sinks: sinks(), Formats: formats()}
	o.CacheDir = codeCacheDir()
	return o
}

// codeCacheDir is where compiled code is kept for all configurations of a user;
// empty where users have no such place.
func codeCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "cdcd", "wasm")
}

// runView shows a running daemon.
type runView struct {
	out             *console
	live            *live
	began           time.Time
	started         map[string]bool // pipelines that have streamed
	rateIn, rateOut rate
}

func newRunView(out *console, l *live, began time.Time) *runView {
	return &runView{out: out, live: l, began: began, started: map[string]bool{}}
}

// fact prints a line about something that is done, and how long it took.
func (v *runView) fact(since time.Time, what, detail string) {
	took := time.Since(since)
	if v.out.tty && !v.out.json {
		v.out.line("%s: %s, %s", what, detail, span(took))
		return
	}
	v.out.object(struct {
		Event  string  `json:"event"`
		What   string  `json:"what"`
		Detail string  `json:"detail"`
		TookMS float64 `json:"took_ms"`
	}{"started", what, detail, milliseconds(took)})
}

// watch runs the daemon and shows its state until it has ended.
func (v *runView) watch(sig *signals, d *runtime.Daemon) error {
	done := make(chan error, 1)
	go func() { done <- d.Run(sig.drain) }()
	fast := time.NewTicker(250 * time.Millisecond)
	defer fast.Stop()
	printed := time.Now()
	drain := sig.drain.Done()
	for {
		select {
		case err := <-done:
			v.firsts(d.Status())
			return err
		case <-sig.hard.Done():
			return fault.New(fault.Fatal, "interrupted", "", "what was not confirmed is read and sent again at the next start",
				"a second signal came before all was settled")
		case <-drain:
			drain = nil
			v.stopping()
		case <-fast.C:
		}
		all := d.Status()
		v.firsts(all)
		if v.live.tty {
			v.live.draw(v.line(all) + copyLines(all) + scheduleLines(all))
		} else if time.Since(printed) >= statusEvery {
			printed = time.Now()
			v.out.object(struct {
				Event     string             `json:"event"`
				Pipelines []telemetry.Status `json:"pipelines"`
			}{"status", all})
		}
	}
}

// stopping says that the first signal was understood.
func (v *runView) stopping() {
	const what = "finishing what is in flight; a second signal stops at once"
	if v.out.tty && !v.out.json {
		v.live.clear()
		v.out.line("stopping: %s", what)
		return
	}
	v.out.object(struct {
		Event string `json:"event"`
		What  string `json:"what"`
	}{"stopping", what})
}

// firsts prints a line when a pipeline streams for the first time.
func (v *runView) firsts(all []telemetry.Status) {
	for _, s := range all {
		if !s.Ready || v.started[s.Pipeline] {
			continue
		}
		v.started[s.Pipeline] = true
		v.live.clear()
		v.fact(v.began, "pipeline "+s.Pipeline, fmt.Sprintf("%s %s", s.State, s.Source.Position))
	}
}

// totals are the sums over pipelines.
type totals struct {
	in, out, dropped, dead uint64
	guest                  int64
	lag                    time.Duration // the longest
}

func sum(all []telemetry.Status) (t totals) {
	for i := range all {
		s := &all[i]
		t.in += s.RowsIn
		t.out += s.RowsOut
		t.dropped += s.RowsDropped + s.RowsSkipped
		t.dead += s.DeadLetters
		t.guest += s.GuestBytes
		t.lag = max(t.lag, lag(s))
	}
	return t
}

// line is the live status line: rates, lag, memory, what is not well, and what
// may be cut off where the terminal is narrow.
func (v *runView) line(all []telemetry.Status) string {
	t, now := sum(all), time.Now()
	var b strings.Builder
	fmt.Fprintf(&b, "in %s/s  out %s/s  lag %s  connectors %s", thousands(v.rateIn.add(now, t.in)), thousands(v.rateOut.add(now, t.out)),
		span(t.lag), size(t.guest))
	for _, s := range all {
		if !s.Ready {
			fmt.Fprintf(&b, "  %s: %s", s.Pipeline, s.State)
		}
	}
	fmt.Fprintf(&b, "  rows %s  %s\n", thousands(t.in), now.Sub(v.began).Round(time.Second))
	return b.String()
}

// summary prints what was done and what was given back.
func (v *runView) summary(all []telemetry.Status) {
	took := time.Since(v.began)
	if !v.out.tty || v.out.json {
		t := sum(all)
		v.out.object(struct {
			Event       string             `json:"event"`
			RowsIn      uint64             `json:"rows_in"`
			RowsOut     uint64             `json:"rows_out"`
			RowsDropped uint64             `json:"rows_dropped"`
			DeadLetters uint64             `json:"dead_letters"`
			ElapsedMS   float64            `json:"elapsed_ms"`
			GuestBytes  int64              `json:"guest_bytes_left"`
			Pipelines   []telemetry.Status `json:"pipelines"`
		}{"summary", t.in, t.out, t.dropped, t.dead, milliseconds(took), t.guest, all})
		return
	}
	for _, s := range all {
		v.out.line("%s: %s; %s rows in, %s out, %s dropped, %s dead letters", s.Pipeline, s.State,
			thousands(s.RowsIn), thousands(s.RowsOut), thousands(s.RowsDropped+s.RowsSkipped), thousands(s.DeadLetters))
	}
	t := sum(all)
	v.out.line("ended after %s; connector memory left: %s", span(took), size(t.guest))
}
