package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// checkpointCmd looks after the local state.
type checkpointCmd struct {
	List       checkpointListCmd       `cmd:"" help:"List what the state knows of how far each pipeline has come."`
	Verify     checkpointVerifyCmd     `cmd:"" help:"Read all of a stopped daemon's state, or an export, and say what is damaged."`
	Export     checkpointExportCmd     `cmd:"" help:"Write a consistent copy of the state to a file, also of a running daemon."`
	Restore    checkpointRestoreCmd    `cmd:"" help:"Bring an export, or a copy from the object store, into a state directory without a state."`
	Quarantine checkpointQuarantineCmd `cmd:"" help:"Move a damaged state away, and save dead letters from it."`
	Forget     checkpointForgetCmd     `cmd:"" help:"Let the connectors of a stopped pipeline go on with nothing kept."`
}

// stopped is the fault of a verb that a running daemon stands in the way of, with
// another way out.
func stopped(err error, hint string) error {
	if !fault.HasCode(err, state.CodeDirInUse) {
		return err
	}
	f := *fault.Of(err)
	f.Hint = hint
	return &f
}

func pipelineNames(c *config.Config) []string {
	names := make([]string, len(c.Pipelines))
	for i := range c.Pipelines {
		names[i] = c.Pipelines[i].Name
	}
	return names
}

type checkpointListCmd struct {
	Config string `arg:"" help:"The configuration file."`
	Remote bool   `help:"List the copies in the object store of state.replicate instead."`
}

// Run lists the checkpoints of a running or a stopped daemon.
func (l *checkpointListCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(l.Config, configOptions())
	if err != nil {
		return err
	}
	if l.Remote {
		return listCopies(sig.drain, out, c, false)
	}
	all, err := checkpoints(sig.drain, c)
	if err != nil {
		return err
	}
	for i := range all {
		p := &all[i]
		if out.json {
			out.object(p)
			continue
		}
		if p.Time.IsZero() {
			out.line("%s: no checkpoint; %s", p.Pipeline, plural(p.DeadLetters, "dead letter"))
			continue
		}
		restored := ""
		if p.Restored {
			restored = ", restored from a copy"
		}
		out.line("%s: %s%s\n    position %s, log %s\n    %s messages, %s, %s", p.Pipeline, p.Time.Format(time.RFC3339), restored,
			printable(p.Position), printable(p.LogPos), thousands(p.Messages), plural(p.DeadLetters, "dead letter"), plural(p.Gaps, "gap"))
	}
	return nil
}

// checkpoints asks the daemon that runs, or looks into the directory.
func checkpoints(ctx context.Context, c *config.Config) (all []telemetry.Checkpoint, err error) {
	s, err := state.OpenReadOnly(c.State.Dir, state.Options{})
	if fault.HasCode(err, state.CodeDirInUse) && c.Server != nil {
		var answer struct{ Checkpoints []telemetry.Checkpoint }
		err := newAPI(*c.Server).do(ctx, http.MethodGet, "/v1/checkpoints", nil, &answer)
		return answer.Checkpoints, err
	}
	if err != nil {
		return nil, stopped(err, noServerHint)
	}
	if s == nil {
		for _, name := range pipelineNames(c) {
			all = append(all, telemetry.Checkpoint{Pipeline: name})
		}
		return all, nil
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return runtime.Checkpoints(s, pipelineNames(c))
}

const noServerHint = "stop the daemon; or give it an admin server, which answers while it runs: server: {}"

type checkpointVerifyCmd struct {
	Config string `arg:"" help:"The configuration file, or a file that checkpoint export wrote."`
	Remote bool   `help:"Read the copies in the object store of state.replicate instead."`
}

// Run reads everything and says what is damaged.
func (v *checkpointVerifyCmd) Run(out *console, sig *signals) (err error) {
	if filepath.Ext(v.Config) == ".tar" {
		return v.archive(out)
	}
	c, err := config.Load(v.Config, configOptions())
	if err != nil {
		return err
	}
	if v.Remote {
		return listCopies(sig.drain, out, c, true)
	}
	s, err := state.OpenReadOnly(c.State.Dir, state.Options{})
	if err != nil && !fault.HasCode(err, state.CodeCorrupt) {
		return stopped(err, "stop the daemon; or verify an export, which may be made while it runs")
	}
	if s == nil && err == nil {
		return fault.New(fault.Environment, "state_missing", c.State.Dir, "check state.dir; a pipeline that has never run has no state", "there is no state")
	}
	var survey *state.Survey
	var cerr error
	if err == nil {
		survey, err = s.Survey()
		cerr = s.Close()
	}
	if fault.HasCode(err, state.CodeCorrupt) { // so damaged that it can't be gone through
		survey, err = &state.Survey{Pipelines: []state.PipelineSurvey{}, Damage: []string{fault.Of(err).Err.Error()}}, nil
	}
	if err != nil {
		return err
	}
	if out.json {
		out.object(struct {
			Dir string `json:"dir"`
			OK  bool   `json:"ok"`
			*state.Survey
		}{c.State.Dir, len(survey.Damage) == 0, survey})
	} else {
		surveyed(out, c.State.Dir, survey)
	}
	if len(survey.Damage) > 0 {
		return errShown{3}
	}
	return cerr
}

func surveyed(out *console, dir string, s *state.Survey) {
	out.line("%s: layout %s, %s records, %s", dir, s.Layout, thousands(s.Records), size(s.Bytes))
	for _, p := range s.Pipelines {
		out.line("%s: %s, %s, %s, %s kept by connectors (%s)", p.Pipeline, plural(p.Schemas, "table definition"), plural(p.DeadLetters, "dead letter"),
			plural(p.Gaps, "gap"), plural(p.Values, "value"), size(p.ValueBytes))
	}
	for _, d := range s.Damage {
		out.line("damaged: %s", printable(d))
	}
	if len(s.Damage) == 0 {
		out.line("all of it is whole")
		return
	}
	out.line("\nBring a copy back: cdcd checkpoint quarantine, then cdcd checkpoint restore.")
}

func (v *checkpointVerifyCmd) archive(out *console) error {
	f, err := os.Open(v.Config)
	if err != nil {
		return fault.New(fault.Environment, "archive_unreadable", v.Config, "name a file that checkpoint export wrote", "%w", err)
	}
	defer f.Close()
	made, err := state.CheckArchive(f)
	if err != nil {
		return err
	}
	if out.json {
		out.object(struct {
			File string    `json:"file"`
			OK   bool      `json:"ok"`
			Made time.Time `json:"made"`
		}{v.Config, true, made})
	}
	out.line("%s: made %s; all of it is whole", v.Config, made.Format(time.RFC3339))
	return nil
}

type checkpointExportCmd struct {
	Config string `arg:"" help:"The configuration file."`
	File   string `arg:"" help:"The file to write; it must not be there." placeholder:"FILE.tar"`
}

// Run exports the state of a running or a stopped daemon.
func (x *checkpointExportCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(x.Config, configOptions())
	if err != nil {
		return err
	}
	if _, err := os.Lstat(x.File); err == nil {
		return fault.New(fault.Environment, "export_unwritable", x.File, "name another file, or move this one away", "the file is there already")
	}
	part := x.File + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fault.New(fault.Environment, "export_unwritable", x.File, "name a file in a directory that this user may write", "%w", err)
	}
	defer func() { err = errors.Join(err, ignoreGone(os.Remove(part))) }()
	if err := exportState(sig.drain, c, f); err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = f.Seek(0, io.SeekStart)
	if err == nil { // what was written is what will be read
		_, err = state.CheckArchive(f)
	}
	size64, _ := f.Seek(0, io.SeekEnd)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, x.File); err != nil {
		return fault.New(fault.Environment, "export_unwritable", x.File, "name a file in a directory that this user may write", "%w", err)
	}
	if out.json {
		out.object(struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
		}{x.File, size64})
	}
	out.line("%s: %s", x.File, size(size64))
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func exportState(ctx context.Context, c *config.Config, w io.Writer) (err error) {
	s, err := openExisting(c.State.Dir, state.Options{})
	switch {
	case fault.HasCode(err, state.CodeDirInUse) && c.Server != nil:
		return newAPI(*c.Server).copy(ctx, http.MethodGet, "/v1/state/export", nil, w, math.MaxInt64)
	case err != nil:
		return stopped(err, noServerHint)
	case s == nil:
		return fault.New(fault.Environment, "state_missing", c.State.Dir, "check state.dir; a pipeline that has never run has no state", "there is no state")
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Export(w)
}

type checkpointRestoreCmd struct {
	Config string `arg:"" help:"The configuration file."`
	File   string `arg:"" optional:"" help:"A file that checkpoint export wrote." placeholder:"FILE.tar"`
	Remote bool   `help:"Bring the newest copy from the object store of state.replicate instead."`
}

// Run restores an export.
func (r *checkpointRestoreCmd) Run(out *console, sig *signals) error {
	c, err := config.Load(r.Config, configOptions())
	if err != nil {
		return err
	}
	switch {
	case r.Remote && r.File == "":
		return restoreCopy(sig.drain, out, c)
	case r.Remote || r.File == "":
		return fault.New(fault.Config, "usage", "", "name a file, or write --remote", "it is not clear what to restore")
	}
	f, err := os.Open(r.File)
	if err != nil {
		return fault.New(fault.Environment, "archive_unreadable", r.File, "name a file that checkpoint export wrote", "%w", err)
	}
	defer f.Close()
	made, names, err := state.Import(f, c.State.Dir)
	if err != nil {
		return err
	}
	if out.json {
		out.object(struct {
			Dir       string    `json:"dir"`
			Made      time.Time `json:"made"`
			Pipelines []string  `json:"pipelines"`
		}{c.State.Dir, made, names})
	}
	out.line("%s: restored the state of %s, with %s", c.State.Dir, made.Format(time.RFC3339), plural(len(names), "pipeline"))
	return nil
}

type checkpointQuarantineCmd struct {
	Config string `arg:"" help:"The configuration file."`
}

// Run moves a state away.
func (q *checkpointQuarantineCmd) Run(out *console) error {
	c, err := config.Load(q.Config, configOptions())
	if err != nil {
		return err
	}
	if !state.Exists(c.State.Dir) {
		if _, err := os.Stat(c.State.Dir); err != nil {
			return fault.New(fault.Environment, "state_missing", c.State.Dir, "check state.dir", "there is no state")
		}
	}
	done, err := state.Quarantine(c.State.Dir, pipelineNames(c), time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		return stopped(err, "stop the daemon first")
	}
	if out.json {
		out.object(done)
		return nil
	}
	out.line("the state is in %s now; saved %s and %s from it", done.Dir, plural(done.DeadLetters, "dead letter"), plural(done.Gaps, "gap"))
	for _, l := range done.Lost {
		out.line("lost: %s", printable(l))
	}
	out.line("%s", cmp.Or(kvHint(c), "The next start takes the positions from the streams."))
	return nil
}

// kvHint says what follows for pipelines whose connectors keep values.
func kvHint(c *config.Config) string {
	restore := "cdcd checkpoint restore with an export brings it back"
	if c.State.Replicate != nil {
		restore = "cdcd checkpoint restore --remote brings it back"
	}
	for _, p := range c.Pipelines {
		for _, s := range p.Steps {
			for _, grant := range s.Allow {
				if grant == "kv" {
					return "What the step " + p.Name + "/" + s.Name + " keeps went with it: " + restore + "; without, the pipeline halts with kv_missing."
				}
			}
		}
	}
	return ""
}
