package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/state/remote"
)

// copiesOf opens the place of a configuration's copies.
func copiesOf(c *config.Config) (*remote.S3, error) {
	r := c.State.Replicate
	if r == nil {
		return nil, fault.New(fault.Config, "no_replica", "state.replicate", "write state: {replicate: s3://bucket/prefix?endpoint=https://host}",
			"the configuration has no place for copies of the state")
	}
	return remote.NewS3(remote.S3Config{URL: r.URL, Key: r.Key.Reveal(), Secret: r.Secret})
}

// copyView is a copy as it is printed.
type copyView struct {
	Checkpoint string    `json:"checkpoint"`
	Made       time.Time `json:"made,omitzero"`
	Program    string    `json:"program,omitempty"`
	Bytes      int64     `json:"bytes"`
	Files      int       `json:"files"`
	OK         bool      `json:"ok"`
	Lacks      []string  `json:"lacks,omitempty"` // pipelines whose connectors keep values, and that it is without
	Damage     string    `json:"damage,omitempty"`
}

// listCopies prints the copies in the object store, the newest first; with deep,
// each file of them is read.
func listCopies(ctx context.Context, out *console, c *config.Config, deep bool) error {
	bucket, err := copiesOf(c)
	if err != nil {
		return err
	}
	defer bucket.Close()
	all, err := remote.List(ctx, bucket, deep)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fault.New(fault.Environment, remote.CodeEmpty, bucket.Where(), "check the bucket and the prefix", "there is no copy")
	}
	damaged := false
	for _, f := range all {
		v := copyView{Checkpoint: f.Checkpoint, OK: f.Err == nil}
		if m := f.Manifest; m != nil {
			v.Made, v.Program, v.Bytes, v.Files = m.Created, m.Program, m.Bytes(), len(m.Files)
			v.Lacks = m.Lacks
		}
		if f.Err != nil {
			damaged, v.Damage = true, f.Err.Error()
		}
		switch {
		case out.json:
			out.object(v)
		case f.Err != nil:
			out.line("%s: damaged: %s", v.Checkpoint, printable(v.Damage))
		default:
			without := ""
			if len(v.Lacks) > 0 {
				without = ", without " + strings.Join(v.Lacks, ", ")
			}
			out.line("%s: made %s by cdcd %s, %s in %s%s", v.Checkpoint, v.Made.Format(time.RFC3339), v.Program, size(v.Bytes), plural(v.Files, "file"), without)
		}
	}
	if damaged {
		return errShown{3}
	}
	return nil
}

// restoreCopy brings the newest copy that is whole into the state directory.
func restoreCopy(ctx context.Context, out *console, c *config.Config) error {
	bucket, err := copiesOf(c)
	if err != nil {
		return err
	}
	defer bucket.Close()
	got, err := remote.Restore(ctx, bucket, c.State.Dir)
	if err != nil {
		return err
	}
	skipped := make([]copyView, len(got.Skipped))
	for i, s := range got.Skipped {
		skipped[i] = copyView{Checkpoint: s.Checkpoint, Damage: s.Err.Error()}
		if !out.json {
			out.line("%s: damaged, left out: %s", s.Checkpoint, printable(s.Err.Error()))
		}
	}
	if out.json {
		out.object(struct {
			Dir        string     `json:"dir"`
			Checkpoint string     `json:"checkpoint"`
			Made       time.Time  `json:"made"`
			Pipelines  []string   `json:"pipelines"`
			Skipped    []copyView `json:"skipped,omitempty"`
			Moved      string     `json:"moved,omitempty"`
			// Taken has the earlier copy that a pipeline is from which this one lacks.
			Taken map[string]string `json:"taken,omitempty"`
		}{c.State.Dir, got.ID(), got.Created, got.Pipelines, skipped, got.Moved, got.Taken})
		return nil
	}
	if got.Moved != "" {
		out.line("%s: what was in the directory before", got.Moved)
	}
	for _, name := range slices.Sorted(maps.Keys(got.Taken)) {
		out.line("%s: pipeline %s, which the newest copy lacks", got.Taken[name], name)
	}
	out.line("%s: restored the state of %s, with %s", c.State.Dir, got.Created.Format(time.RFC3339), plural(len(got.Pipelines), "pipeline"))
	return nil
}
