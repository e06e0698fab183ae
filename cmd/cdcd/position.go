package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/state"
)

// positionCmd looks at where pipelines stand in the log, and moves them.
type positionCmd struct {
	Show   positionShowCmd   `cmd:"" help:"Show where each pipeline stands in its source's log."`
	Set    positionSetCmd    `cmd:"" help:"Let a stopped pipeline go on elsewhere: what lies between is left out, or sent again."`
	Rewind positionRewindCmd `cmd:"" help:"Let a stopped pipeline go back: what it delivered since is sent again."`
}

type positionShowCmd struct {
	Config   string `arg:"" help:"The configuration file."`
	Pipeline string `help:"One pipeline alone." placeholder:"NAME"`
}

// positionJSON is where a pipeline stands, for programs.
type positionJSON struct {
	Pipeline string    `json:"pipeline"`
	Position string    `json:"position"`
	LogPos   string    `json:"log_pos"`
	Time     time.Time `json:"time"`
	Ordered  string    `json:"ordered,omitempty"` // where the next start goes on instead
}

type orderJSON struct {
	To   string `json:"to"`
	Back bool   `json:"back"`
}

// Run shows positions, as the local state knows them.
func (s *positionShowCmd) Run(out *console, sig *signals) error {
	c, err := config.Load(s.Config, configOptions())
	if err != nil {
		return err
	}
	chosen, err := chosenPipelines(c, s.Pipeline)
	if err != nil {
		return err
	}
	all, err := checkpoints(sig.drain, c)
	if err != nil {
		return err
	}
	for _, p := range chosen {
		for i := range all {
			if all[i].Pipeline != p.Name {
				continue
			}
			if out.json {
				out.object(positionJSON{Pipeline: p.Name, Position: all[i].Position, LogPos: all[i].LogPos, Time: all[i].Time, Ordered: all[i].Ordered})
			}
			out.line("%s: %s\n    log %s, %s", p.Name, printable(all[i].Position), printable(all[i].LogPos), all[i].Time.Format(time.RFC3339))
			if to := all[i].Ordered; to != "" {
				out.line("    the next start goes on at %s", printable(to))
			}
		}
	}
	return nil
}

// moving is what set and rewind share.
type moving struct {
	Config   string `arg:"" help:"The configuration file."`
	Place    string `arg:"" help:"A position as position show prints it; or, for a database, file:position, GTIDs, earliest or latest." placeholder:"PLACE"`
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
	NoBackup bool   `name:"no-backup" help:"Don't export the state first."`
}

type positionSetCmd struct{ moving }

// Run orders the next start to begin at the place.
func (s *positionSetCmd) Run(out *console) error { return s.order(out, false) }

type positionRewindCmd struct{ moving }

// Run orders the next start to go back to the place.
func (r *positionRewindCmd) Run(out *console) error { return r.order(out, true) }

func (m *moving) order(out *console, back bool) (err error) {
	c, err := config.Load(m.Config, configOptions())
	if err != nil {
		return err
	}
	p, err := onePipeline(c, m.Pipeline)
	if err != nil {
		return err
	}
	if m.Place == "" {
		return fault.New(fault.Config, "usage", "", "write file:position, GTIDs, earliest, latest, or a position as cdcd position show prints it", "the place is empty")
	}
	s, err := openExisting(c.State.Dir, state.Options{})
	switch {
	case err != nil:
		return stopped(err, "stop the daemon first: a pipeline that runs is not moved")
	case s == nil:
		return fault.New(fault.Environment, "state_missing", c.State.Dir, "check state.dir; where a new pipeline begins is its source's start", "there is no state")
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	backup := ""
	if !m.NoBackup {
		if backup, err = backUp(s, c.State.Dir); err != nil {
			return err
		}
	}
	kept, err := s.Pipeline(p.Name)
	if err != nil {
		return err
	}
	if err := kept.OrderMove(state.MoveOrder{To: m.Place, Back: back, Time: time.Now().UTC()}); err != nil {
		return err
	}
	if out.json {
		out.object(struct {
			Pipeline string    `json:"pipeline"`
			Ordered  orderJSON `json:"ordered"`
			Backup   string    `json:"backup,omitempty"`
		}{p.Name, orderJSON{m.Place, back}, backup})
	}
	if backup != "" {
		out.line("%s: the state as it was", backup)
	}
	out.line("%s: the next start goes on at %s", p.Name, printable(m.Place))
	return nil
}

// backUp exports the state into its own directory and returns the file.
func backUp(s *state.Store, dir string) (path string, err error) {
	path = filepath.Join(dir, "before-move-"+time.Now().UTC().Format("20060102T150405.000Z")+".tar")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return "", fault.New(fault.Environment, "export_unwritable", path, "make room, or add --no-backup", "%w", err)
	}
	err = errors.Join(s.Export(f), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}
