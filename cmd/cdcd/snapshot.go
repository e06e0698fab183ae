package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// snapshotCmd asks a running daemon to copy tables.
type snapshotCmd struct {
	Start  snapshotStartCmd  `cmd:"" help:"Have a running pipeline copy tables, beside the stream of their changes."`
	Status snapshotStatusCmd `cmd:"" help:"Show the snapshots that were asked for, and how far they have come."`
	Pause  snapshotPauseCmd  `cmd:"" help:"Let a snapshot rest, also over restarts."`
	Resume snapshotResumeCmd `cmd:"" help:"Let a snapshot go on."`
	Cancel snapshotCancelCmd `cmd:"" help:"End a snapshot: nothing more is read, what was delivered stays."`
}

// openSnapshots returns the snapshots of a pipeline: of the daemon that runs, or
// in the directory of the one that is stopped.
func openSnapshots(ctx context.Context, c *config.Config, p *config.Pipeline, change bool) (admin.Snapshots, func() error, error) {
	a, s, err := reach(c, change)
	switch {
	case err != nil:
		return nil, nil, err
	case a != nil:
		return &apiSnapshots{ctx, a, "/v1/pipelines/" + url.PathEscape(p.Name) + "/snapshots"}, func() error { return nil }, nil
	case s == nil:
		return noSnapshots{}, func() error { return nil }, nil
	}
	kept, err := runtime.OpenSnapshots(s, p.Name)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return kept, s.Close, nil
}

// withSnapshots calls f with the snapshots of a configuration's pipeline.
func withSnapshots(sig *signals, file, pipeline string, change bool, f func(admin.Snapshots) error) (err error) {
	c, err := config.Load(file, configOptions())
	if err != nil {
		return err
	}
	p, err := onePipeline(c, pipeline)
	if err != nil {
		return err
	}
	s, end, err := openSnapshots(sig.drain, c, p, change)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	return f(s)
}

type snapshotStartCmd struct {
	Config   string   `arg:"" help:"The configuration file."`
	Table    []string `required:"" sep:"none" help:"A followed table: db.table, * matches any characters. It may be given several times." placeholder:"TABLE"`
	Where    string   `help:"Copy only the rows of each table for which it is true, in the server's SQL." placeholder:"PREDICATE"`
	Column   []string `sep:"none" help:"Copy only this column, and those of the key. It may be given several times." placeholder:"NAME"`
	Pipeline string   `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
}

// Run asks for a snapshot.
func (s *snapshotStartCmd) Run(out *console, sig *signals) error {
	return withSnapshots(sig, s.Config, s.Pipeline, false, func(all admin.Snapshots) error {
		r, err := all.Start(sig.drain, telemetry.SnapshotAsk{Tables: s.Table, Where: s.Where, Columns: s.Column})
		if err != nil {
			return err
		}
		if out.json {
			out.object(r)
		}
		out.line("%s: snapshot %s of %s, about %s rows, is %s", r.Pipeline, r.ID, plural(len(r.Tables), "table"), thousands(r.RowsEstimated), r.State)
		return nil
	})
}

type snapshotStatusCmd struct {
	Config   string `arg:"" help:"The configuration file."`
	ID       string `arg:"" optional:"" name:"id" help:"One snapshot alone, as cdcd snapshot start prints its id."`
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
}

// Run shows snapshots.
func (s *snapshotStatusCmd) Run(out *console, sig *signals) error {
	return withSnapshots(sig, s.Config, s.Pipeline, false, func(all admin.Snapshots) error {
		var list telemetry.SnapshotList
		var err error
		if s.ID == "" {
			list, err = all.List()
		} else {
			list.Snapshots = make([]telemetry.SnapshotRequest, 1)
			list.Snapshots[0], err = all.Show(s.ID)
		}
		if err != nil {
			return err
		}
		for i := range list.Snapshots {
			showSnapshot(out, &list.Snapshots[i])
		}
		if len(list.Snapshots) == 0 {
			out.line("no snapshot was asked for")
		}
		return nil
	})
}

// showSnapshot prints a snapshot and its tables.
func showSnapshot(out *console, r *telemetry.SnapshotRequest) {
	if out.json {
		out.object(r)
		return
	}
	when := "asked for " + r.Asked.Format(time.RFC3339)
	if r.Asked.IsZero() {
		when = "asked for by the configuration"
	}
	if r.Ended != nil {
		when += ", ended " + r.Ended.Format(time.RFC3339)
	}
	out.line("%s  %-10s  %s", r.ID, r.State, when)
	if r.Adopted {
		out.line("    the state in which it was asked for is lost; it goes on as the delivered messages tell")
	}
	if r.Where != "" {
		out.line("    where %s", printable(r.Where))
	}
	if len(r.Columns) > 0 {
		out.line("    columns %s", printable(strings.Join(r.Columns, ", ")))
	}
	if r.Reason != "" {
		out.line("    %s\n    %s", printable(r.Reason), printable(r.Hint))
	}
	for _, t := range r.Tables {
		out.line("    %-8s %s  %s", t.State, printable(t.Table), rowsSoFar(t, r.State))
	}
	if len(r.Tables) > 1 && r.State == telemetry.SnapshotRunning {
		all := telemetry.SnapshotTable{Rows: r.Rows, RowsEstimated: r.RowsEstimated, RowsPerSecond: r.RowsPerSecond, LeftSeconds: r.LeftSeconds, Chunks: r.Chunks}
		out.line("    all      %s", rowsSoFar(telemetry.SnapshotRequestTable{SnapshotTable: all, State: "copying"}, r.State))
	}
}

// rowsSoFar tells how far a table has come.
func rowsSoFar(t telemetry.SnapshotRequestTable, state string) string {
	switch {
	case t.State == "waiting":
		return "about " + thousands(t.RowsEstimated) + " rows"
	case t.State == "copied":
		return thousands(t.Rows) + " rows"
	}
	text := fmt.Sprintf("%s of about %s rows", thousands(t.Rows), thousands(t.RowsEstimated))
	if state != telemetry.SnapshotRunning {
		return text
	}
	text += fmt.Sprintf(", %s, %s/s", plural(int(t.Chunks), "chunk"), thousands(uint64(t.RowsPerSecond)))
	if t.LeftSeconds > 0 {
		text += ", " + (time.Duration(t.LeftSeconds) * time.Second).String() + " left"
	}
	return text
}

// snapshotChange is what pause, resume and cancel share.
type snapshotChange struct {
	Config   string `arg:"" help:"The configuration file."`
	ID       string `arg:"" name:"id" help:"The snapshot, as cdcd snapshot start prints its id."`
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
}

func (s *snapshotChange) run(out *console, sig *signals, f func(admin.Snapshots, string) (telemetry.SnapshotRequest, error)) error {
	return withSnapshots(sig, s.Config, s.Pipeline, true, func(all admin.Snapshots) error {
		r, err := f(all, s.ID)
		if err != nil {
			return err
		}
		if out.json {
			out.object(r)
		}
		out.line("%s: snapshot %s is %s", r.Pipeline, r.ID, r.State)
		return nil
	})
}

type snapshotPauseCmd struct{ snapshotChange }

// Run pauses a snapshot.
func (s *snapshotPauseCmd) Run(out *console, sig *signals) error {
	return s.run(out, sig, admin.Snapshots.Pause)
}

type snapshotResumeCmd struct{ snapshotChange }

// Run resumes a snapshot.
func (s *snapshotResumeCmd) Run(out *console, sig *signals) error {
	return s.run(out, sig, admin.Snapshots.Resume)
}

type snapshotCancelCmd struct{ snapshotChange }

// Run cancels a snapshot.
func (s *snapshotCancelCmd) Run(out *console, sig *signals) error {
	return s.run(out, sig, admin.Snapshots.Cancel)
}

// apiSnapshots are the snapshots of a pipeline of a running daemon.
type apiSnapshots struct {
	ctx  context.Context
	api  *api
	path string
}

func (s *apiSnapshots) Start(ctx context.Context, ask telemetry.SnapshotAsk) (r telemetry.SnapshotRequest, err error) {
	return r, s.api.post(ctx, s.path, ask, &r)
}

func (s *apiSnapshots) List() (list telemetry.SnapshotList, err error) {
	return list, s.api.do(s.ctx, http.MethodGet, s.path, nil, &list)
}

func (s *apiSnapshots) Show(id string) (r telemetry.SnapshotRequest, err error) {
	return r, s.api.do(s.ctx, http.MethodGet, s.path+"/"+url.PathEscape(id), nil, &r)
}

func (s *apiSnapshots) Pause(id string) (telemetry.SnapshotRequest, error) {
	return s.change(id, "pause")
}

func (s *apiSnapshots) Resume(id string) (telemetry.SnapshotRequest, error) {
	return s.change(id, "resume")
}

func (s *apiSnapshots) Cancel(id string) (telemetry.SnapshotRequest, error) {
	return s.change(id, "cancel")
}

func (s *apiSnapshots) change(id, what string) (r telemetry.SnapshotRequest, err error) {
	return r, s.api.post(s.ctx, s.path+"/"+url.PathEscape(id)+"/"+what, nil, &r)
}

// noSnapshots are those of a directory without a store.
type noSnapshots struct{}

func (noSnapshots) Start(context.Context, telemetry.SnapshotAsk) (telemetry.SnapshotRequest, error) {
	return telemetry.SnapshotRequest{}, fault.New(fault.Environment, runtime.CodeNotRunning, "", "start it: cdcd run", "no daemon runs, so nobody can look at the tables")
}

func (noSnapshots) List() (telemetry.SnapshotList, error) { return telemetry.SnapshotList{}, nil }

func (noSnapshots) Show(id string) (telemetry.SnapshotRequest, error) {
	return telemetry.SnapshotRequest{}, fault.New(fault.Config, runtime.CodeNoSuchSnapshot, id, "cdcd snapshot status lists them", "nothing is kept there")
}

func (n noSnapshots) Pause(id string) (telemetry.SnapshotRequest, error)  { return n.Show(id) }
func (n noSnapshots) Resume(id string) (telemetry.SnapshotRequest, error) { return n.Show(id) }
func (n noSnapshots) Cancel(id string) (telemetry.SnapshotRequest, error) { return n.Show(id) }

// reach finds out whether a daemon has the configuration's state open: then it is
// to be asked; otherwise the store is returned, nil where there is none. With
// change it is opened for writing.
func reach(c *config.Config, change bool) (*api, *state.Store, error) {
	open := state.OpenReadOnly
	if change {
		open = openExisting
	}
	s, err := open(c.State.Dir, state.Options{})
	if !fault.HasCode(err, state.CodeDirInUse) {
		return nil, s, err
	}
	if c.Server == nil {
		return nil, nil, fault.New(fault.Environment, state.CodeDirInUse, c.State.Dir,
			"stop the daemon; or give it an admin server, which answers while it runs: server: {}", "a daemon has the state directory open, and the configuration has no server to ask")
	}
	return newAPI(*c.Server), nil, nil
}
