package main

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/state"
)

type doctorCmd struct {
	What   string   `arg:"" help:"A configuration file, or a server: mysql://user:password@host:3306."`
	Tables []string `help:"With a server: the tables to look at, db.table, * matches any characters." placeholder:"PATTERN"`
}

// examined is what was found at one place.
type examined struct {
	Place   string           `json:"place"`
	Results []checkup.Result `json:"results"`
}

// Run looks at everything that pipelines need, and says how it is and what
// mends it. It changes nothing.
func (d *doctorCmd) Run(out *console, sig *signals) error {
	var places []examined
	var err error
	if strings.Contains(d.What, "://") {
		places, err = d.server(sig.drain)
	} else {
		places, err = d.configuration(sig.drain)
	}
	if err != nil {
		return err
	}
	worst := checkup.OK
	for _, p := range places {
		worst = max(worst, checkup.Worst(p.Results))
	}
	if out.json {
		out.object(struct {
			OK     bool       `json:"ok"`
			Places []examined `json:"places"`
		}{worst != checkup.Failed, places})
	} else {
		show(out, places)
	}
	if worst == checkup.Failed {
		return errShown{3}
	}
	return nil
}

// server looks at a database server alone.
func (d *doctorCmd) server(ctx context.Context) ([]examined, error) {
	for _, k := range sources() {
		if k.FromDSN == nil {
			continue
		}
		if c := k.FromDSN(d.What, d.Tables); c != nil {
			return []examined{{"server", k.Examine(ctx, c, cdc.Examination{Pipeline: "doctor", Now: time.Now})}}, nil
		}
	}
	return nil, fault.New(fault.Config, "usage", "", "write mysql://user:password@host:3306, or name a configuration file", "no kind of source reads such a server")
}

// configuration looks at all that a configuration's pipelines need.
func (d *doctorCmd) configuration(ctx context.Context) ([]examined, error) {
	c, err := config.Load(d.What, configOptions())
	if err != nil {
		return nil, err
	}
	var places []examined
	come := comeSoFar(c)
	for _, p := range c.Pipelines {
		for _, k := range sources() {
			if k.Name != p.Source.Kind || k.Examine == nil {
				continue
			}
			x := cdc.Examination{Pipeline: p.Name, Now: time.Now, LogPos: come[p.Name].LogPos}
			if at := come[p.Name].CommitTime; at > 0 {
				x.Delivered = time.UnixMicro(at)
			}
			if kept, ok := p.Sink.Value.(sink.Retained); ok {
				x.Kept = kept.Retention()
			}
			places = append(places, examined{"source of " + p.Name, k.Examine(ctx, p.Source.Value, x)})
		}
	}
	if slices.ContainsFunc(c.Pipelines, func(p config.Pipeline) bool { return len(p.Steps) > 0 }) {
		dir := cmp.Or(codeCacheDir(), filepath.Join(c.State.Dir, "wasm")) // as the daemon has it
		places = append(places, examined{"connectors", wasm.Examine(ctx, dir)})
	}
	return append(places, examineNATS(ctx, c)...), nil
}

// comeSoFar returns the pipelines' checkpoints. While a daemon runs it has them,
// and cdcd_source_retention_seconds says what they would be good for.
func comeSoFar(c *config.Config) map[string]state.Checkpoint {
	names := make([]string, len(c.Pipelines))
	for i, p := range c.Pipelines {
		names[i] = p.Name
	}
	found, err := state.Checkpoints(c.State.Dir, names)
	if err != nil {
		return nil // the daemon that starts there says why; nothing here depends on it
	}
	return found
}

// examineNATS looks at the broker, and at the sinks of a broker that is there:
// the streams of an embedded one are looked at by the daemon that owns them.
func examineNATS(ctx context.Context, c *config.Config) []examined {
	n := runtime.NATSConfig(c, nil)
	places := []examined{{"nats and state", natsd.Examine(ctx, n)}}
	if n.URL == "" || checkup.Worst(places[0].Results) == checkup.Failed {
		return places
	}
	server, err := natsd.Start(ctx, n)
	if err != nil {
		return append(places, examined{"nats", []checkup.Result{{Check: "nats", Level: checkup.Skipped, Found: "gone again", Why: err.Error()}}})
	}
	for _, p := range c.Pipelines {
		for _, k := range sinks() {
			if k.Name == p.Sink.Kind && k.Examine != nil {
				env := sink.Env{Pipeline: p.Name, Log: slog.New(slog.DiscardHandler), Now: time.Now, SyncAlways: n.Fsync,
					NATS: func(ctx context.Context) (*nats.Conn, error) { return server.Connect(ctx, p.Name) }}
				places = append(places, examined{"sink of " + p.Name, k.Examine(ctx, p.Sink.Value, env)})
			}
		}
	}
	if err := server.Close(context.WithoutCancel(ctx)); err != nil {
		places = append(places, examined{"nats", []checkup.Result{{Check: "nats", Level: checkup.Skipped, Found: "closing the connection", Why: err.Error()}}})
	}
	return places
}

var marks = [...]string{checkup.OK: "✓", checkup.Skipped: "-", checkup.Warning: "⚠", checkup.Failed: "✗"}

// show prints what was found for people.
func show(out *console, places []examined) {
	var count [len(marks)]int
	for _, p := range places {
		out.line("%s", p.Place)
		for _, r := range p.Results {
			count[r.Level]++
			out.line("  %s %-30s %s", marks[r.Level], r.Check, r.Found)
			if r.Why != "" {
				out.line("    why: %s", r.Why)
			}
			for i, fix := range r.Fix {
				label := "fix:"
				if i > 0 {
					label = "    "
				}
				out.line("    %s %s", label, fix)
			}
			if r.Restart {
				out.line("    the server must be restarted for it")
			}
		}
	}
	out.line("\n%d ok, %s, %d failed", count[checkup.OK], plural(count[checkup.Warning], "warning"), count[checkup.Failed])
}
