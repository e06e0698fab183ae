package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

type dlqReplayCmd struct {
	Config string   `arg:"" help:"The configuration file."`
	IDs    []string `arg:"" optional:"" name:"id" help:"Dead letters, as cdcd dlq list prints them."`
	dlqFilter
	From   string `help:"Those from this one on, in the order of cdcd dlq list." placeholder:"ID"`
	To     string `help:"Those up to this one." placeholder:"ID"`
	All    bool   `help:"All dead letters of the pipeline."`
	Force  bool   `help:"Also those of a key of which a newer row came through: the old row goes out behind it."`
	DryRun bool   `help:"Print what would be published, and change nothing."`
}

// Run lets dead letters come by again, in the daemon that runs.
func (r *dlqReplayCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(r.Config, configOptions())
	if err != nil {
		return err
	}
	p, err := onePipeline(c, r.Pipeline)
	if err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if c.Server == nil {
		return fault.New(fault.Config, pipeline.CodeReplayNotRunning, p.Name, "give the daemon an admin server, server: {}, start it anew, and replay while it runs",
			"dead letters come by again in the running daemon, and the configuration has no server to ask")
	}
	report, err := newAPI(*c.Server).deadLetters(sig.drain, p.Name).Replay(sig.drain,
		telemetry.ReplayOrder{IDs: r.IDs, From: r.From, To: r.To, Filter: r.filter(), Force: r.Force, DryRun: r.DryRun})
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = fault.New(fault.Environment, pipeline.CodeReplayNotRunning, p.Name,
			"start it, cdcd run "+r.Config+", and replay while it runs; cdcd dlq list and show work without it",
			"dead letters come by again in the running daemon, and none listens at %s", c.Server.Listen)
	}
	if err != nil {
		return err
	}
	if out.json {
		out.object(report)
	} else {
		showReplay(out, &report)
	}
	if report.Gone > 0 && len(r.IDs) > 0 {
		return missed(r.IDs, len(r.IDs)-report.Gone)
	}
	return nil
}

func (r *dlqReplayCmd) check() error {
	ways := 0
	for _, used := range []bool{len(r.IDs) > 0, r.From != "" || r.To != "" || !r.filter().All(), r.All} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return fault.New(fault.Config, "usage", "", "name dead letters, or use --from, --to, --step, --table, --reason, --since, --before, or --all",
			"say in one way what to replay")
	}
	return nil
}

// showReplay prints what was not replayed, of a dry run everything, and the sums.
func showReplay(out *console, r *telemetry.ReplayReport) {
	for i := range r.DeadLetters {
		d := &r.DeadLetters[i]
		line := printable(d.ID) + ": " + strings.ReplaceAll(d.Outcome, "_", " ")
		if d.Reason != "" {
			line += ", " + printable(d.Reason)
		}
		out.line("%s", line)
		for _, m := range d.Messages {
			out.line("    %s %s\n    %s", printable(m.Subject), printable(m.Key), printable(m.Body))
		}
	}
	verb := "replayed"
	if r.DryRun {
		verb = "would replay"
	}
	sums := []string{fmt.Sprintf("%s: %s %s", r.Pipeline, verb, plural(r.Replayed, "dead letter"))}
	for _, s := range []struct {
		n    int
		what string
	}{{r.Dropped, "dropped by a step"}, {r.Refused, "refused again"}, {r.Stale, "changed since, and left (--force replays them)"},
		{r.NoStep, "of a step that the pipeline has no more, and left"}, {r.Gone, "not there"}} {
		if s.n > 0 {
			sums = append(sums, strconv.Itoa(s.n)+" "+s.what)
		}
	}
	out.line("%s", strings.Join(sums, "; "))
	if r.DryRun && len(r.DeadLetters) == runtime.ReplayListed {
		out.line("only the first %d were looked at", runtime.ReplayListed)
	}
}

// attempts says how often a row was refused; nothing for once.
func attempts(n int) string {
	if n <= 1 {
		return ""
	}
	return strconv.Itoa(n)
}
