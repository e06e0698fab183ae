package runtime

import (
	"io"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// Checkpoints returns what a store knows of the named pipelines.
func Checkpoints(s *state.Store, names []string) ([]telemetry.Checkpoint, error) {
	all := make([]telemetry.Checkpoint, len(names))
	for i, name := range names {
		p, err := s.Pipeline(name)
		if err != nil {
			return nil, err
		}
		c, _, err := p.Load()
		if err != nil {
			return nil, err
		}
		order, _, err := p.MoveOrdered()
		if err != nil {
			return nil, err
		}
		all[i] = telemetry.Checkpoint{Pipeline: name, Time: c.Time, Position: string(c.Position), LogPos: c.LogPos, Messages: c.Messages,
			RowsIn: c.RowsIn, Restored: c.Restored, Ordered: order.To, DeadLetters: p.DeadLetters(), Gaps: len(p.Gaps().List())}
	}
	return all, nil
}

// Checkpoints returns what the state knows of the daemon's pipelines.
func (d *Daemon) Checkpoints() ([]telemetry.Checkpoint, error) {
	s, err := d.opened()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(d.jobs))
	for i, j := range d.jobs {
		names[i] = j.config.Name
	}
	return Checkpoints(s, names)
}

// ExportState writes a consistent copy of the state, as state.Store.Export does.
func (d *Daemon) ExportState(w io.Writer) error {
	s, err := d.opened()
	if err != nil {
		return err
	}
	return s.Export(w)
}

func (d *Daemon) opened() (*state.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil, fault.New(fault.Retryable, state.CodeClosed, "", "ask again once the daemon runs", "the daemon does not run yet")
	}
	return d.store, nil
}
