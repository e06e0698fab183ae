package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

// replica is where copies of the state go; nil for nowhere.
func (d *Daemon) replica() (*remote.S3, error) {
	r := d.o.Config.State.Replicate
	if r == nil {
		return nil, nil
	}
	return remote.NewS3(remote.S3Config{URL: r.URL, Key: r.Key.Reveal(), Secret: r.Secret})
}

// restore begins with the newest copy of the state where there is no state. A
// bucket without a copy is a beginning; one that can't be asked is not.
func (d *Daemon) restore(ctx context.Context, b remote.Bucket) error {
	dir := d.o.Config.State.Dir
	if !d.o.Config.State.Replicate.Restore || state.Exists(dir) && !state.Interrupted(dir) {
		return nil
	}
	got, err := remote.Restore(ctx, b, dir)
	if fault.HasCode(err, remote.CodeEmpty) {
		return nil
	}
	if err != nil {
		f := fault.Of(err)
		return fault.New(fault.Environment, f.Code, f.Path, f.Hint+"; or begin without a copy: state.replicate.restore: false",
			"there is no state here, and whether there is a copy of one can't be found out: %w", errors.Unwrap(f))
	}
	for _, s := range got.Skipped {
		d.log.Error("a copy of the state is damaged; an older one is taken", "checkpoint", s.Checkpoint, "error", s.Err)
	}
	for name, from := range got.Taken {
		d.log.Warn("the newest copy of the state lacks a pipeline; an earlier one has it", "pipeline", name, "checkpoint", from)
	}
	if got.Moved != "" {
		d.log.Error("what was left of a state is moved away", "dir", got.Moved)
	}
	d.log.Warn("restored the state from a copy", "where", b.Where(), "checkpoint", got.ID(), "made", got.Created, "pipelines", strings.Join(got.Pipelines, ", "))
	return nil
}

// replicator makes the copies; nil where none are wanted.
func (d *Daemon) replicator(b *remote.S3, store *state.Store) *remote.Replicator {
	if b == nil {
		return nil
	}
	c := d.o.Config.State.Replicate
	var needs []string
	for i := range d.o.Config.Pipelines {
		p := &d.o.Config.Pipelines[i]
		if slices.ContainsFunc(p.Steps, func(s config.Step) bool { return slices.Contains(s.Allow, "kv") }) {
			needs = append(needs, p.Name)
		}
	}
	r := remote.New(remote.Config{Store: store, Bucket: b, Every: c.Every.Std(), Keep: c.Keep, Needs: needs, Program: d.o.Version, Log: d.log, Now: d.o.Now})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copies = r
	return r
}

// copySoon asks for a copy of the state, where copies are made.
func (d *Daemon) copySoon() {
	d.mu.Lock()
	r := d.copies
	d.mu.Unlock()
	if r != nil {
		r.Soon()
	}
}

// Replica returns how the copies of the state stand; nil where none are made.
func (d *Daemon) Replica() *telemetry.Replica {
	d.mu.Lock()
	r := d.copies
	d.mu.Unlock()
	if r == nil {
		return nil
	}
	s := telemetry.Replica(r.Status())
	return &s
}
