package main

import (
	"errors"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/state"
)

type checkpointForgetCmd struct {
	Config   string `arg:"" help:"The configuration file."`
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
	NoBackup bool   `name:"no-backup" help:"Don't export the state first."`
}

// Run removes what the connectors of a pipeline keep: the way out where that can't
// be brought up to the sink.
func (f *checkpointForgetCmd) Run(out *console) (err error) {
	c, err := config.Load(f.Config, configOptions())
	if err != nil {
		return err
	}
	p, err := onePipeline(c, f.Pipeline)
	if err != nil {
		return err
	}
	s, err := openExisting(c.State.Dir, state.Options{})
	switch {
	case err != nil:
		return stopped(err, "stop the daemon first: a pipeline that runs does not forget")
	case s == nil: // lost as a whole
		if s, err = state.Open(c.State.Dir, state.Options{}); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	backup := ""
	if !f.NoBackup {
		if backup, err = backUp(s, c.State.Dir); err != nil {
			return err
		}
	}
	kept, err := s.Pipeline(p.Name)
	if err != nil {
		return err
	}
	n, err := kept.Forget()
	if err != nil {
		return err
	}
	if out.json {
		out.object(struct {
			Pipeline string `json:"pipeline"`
			Values   int    `json:"values"`
			Backup   string `json:"backup,omitempty"`
		}{p.Name, n, backup})
		return nil
	}
	if backup != "" {
		out.line("%s: the state as it was", backup)
	}
	out.line("%s: %s forgotten; the next start goes on from where the sink stands", p.Name, plural(n, "value"))
	return nil
}
