package runtime

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	jsonformat "github.com/cdcd-io/cdcd/runtime/format/json"
	pipelines "github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// Codes of faults about dead letters that are asked for.
const (
	CodeNoSuchPipeline   = "no_such_pipeline"
	CodeNoSuchDeadLetter = "no_such_dead_letter"
)

const (
	// DeadLettersPageMax is how many dead letters one page has at most.
	DeadLettersPageMax = 1000
	purgeRound         = 5000 // dead letters looked for at a time
)

// DeadLetters are the dead letters of one pipeline, of a running daemon or of
// the state of a stopped one. It is safe for concurrent use.
type DeadLetters struct {
	pipeline string
	source   string // kind of source
	kept     *state.Pipeline
	// running returns the pipeline where there is one; nil for a stopped daemon's state.
	running  func() (*pipelines.Pipeline, bool)
	replayed func() // called behind an order; nil for nobody
}

// OpenDeadLetters returns the dead letters that a pipeline has in a store;
// sourceKind is that of its source, such as "mysql".
func OpenDeadLetters(s *state.Store, pipeline, sourceKind string) (*DeadLetters, error) {
	p, err := s.Pipeline(pipeline)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{pipeline: pipeline, source: sourceKind, kept: p}, nil
}

// DeadLetters returns the dead letters of a pipeline. The error is a fault:
// CodeNoSuchPipeline, or that of the state.
func (d *Daemon) DeadLetters(pipeline string) (*DeadLetters, error) {
	d.mu.Lock()
	store, kind := d.store, ""
	for _, j := range d.jobs {
		if j.config.Name == pipeline {
			kind = j.config.Source.Kind
		}
	}
	d.mu.Unlock()
	if store == nil || kind == "" {
		return nil, fault.New(fault.Config, CodeNoSuchPipeline, pipeline, "GET /v1/pipelines lists them", "there is no pipeline %q", pipeline)
	}
	l, err := OpenDeadLetters(store, pipeline, kind)
	if err == nil {
		l.running = func() (*pipelines.Pipeline, bool) { return d.Pipeline(pipeline) }
		l.replayed = d.copySoon // connectors that keep values can't be brought up over a replay
	}
	return l, err
}

// errEnough ends a look at dead letters.
var errEnough = errors.New("enough")

// List returns at most limit dead letters behind the one with the id after,
// which need not be there; after empty begins at the first.
func (l *DeadLetters) List(f telemetry.DeadLetterFilter, after string, limit int) (telemetry.DeadLetterPage, error) {
	page := telemetry.DeadLetterPage{DeadLetters: []telemetry.DeadLetter{}, Kept: l.kept.DeadLetters()}
	var from state.DeadLetterKey
	if after != "" {
		var err error
		if from, err = parseID(after); err != nil {
			return page, err
		}
	}
	limit = min(max(limit, 1), DeadLettersPageMax)
	last := from
	err := l.kept.DeadLettersBehind(from, func(d state.DeadLetter) error {
		if len(page.DeadLetters) == limit {
			page.Next = last.String()
			return errEnough
		}
		last = d.DeadLetterKey
		if chosen(f, &d) {
			page.DeadLetters = append(page.DeadLetters, l.describe(&d))
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return page, err
}

// Show returns one dead letter with its row. The error is a fault:
// CodeNoSuchDeadLetter, or that of the state.
func (l *DeadLetters) Show(id string) (telemetry.DeadLetter, error) {
	k, err := parseID(id)
	if err != nil {
		return telemetry.DeadLetter{}, err
	}
	d, ok, err := l.kept.DeadLetter(k)
	if err != nil {
		return telemetry.DeadLetter{}, err
	}
	if !ok {
		return telemetry.DeadLetter{}, missing(id, "%s keeps no such dead letter", l.pipeline)
	}
	out := l.describe(&d)
	out.Key, out.Content = l.render(d.Batch.Row(0))
	return out, nil
}

// render gives a row's key and content in the format json.
func (l *DeadLetters) render(row sdk.Row) (key, content json.RawMessage) {
	f := jsonformat.New()
	content = f.AppendRow(nil, row, format.Context{Pipeline: l.pipeline, Source: l.source})
	return f.AppendKey(nil, row), content
}

// Remove removes the dead letters with the ids, and returns how many were there.
func (l *DeadLetters) Remove(ids []string) (int, error) {
	keys := make([]state.DeadLetterKey, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = parseID(id); err != nil {
			return 0, err
		}
	}
	return l.kept.DeleteDeadLetters(keys)
}

// Purge removes the dead letters that the filter chooses, of those that are
// there when it begins, and returns how many they were. With an error some of
// them may be gone.
func (l *DeadLetters) Purge(f telemetry.DeadLetterFilter) (removed int, err error) {
	var last state.DeadLetterKey
	for {
		var keys []state.DeadLetterKey
		err := l.kept.DeadLettersBehind(last, func(d state.DeadLetter) error {
			last = d.DeadLetterKey
			if chosen(f, &d) {
				keys = append(keys, last)
			}
			if len(keys) == purgeRound {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return removed, err
		}
		n, derr := l.kept.DeleteDeadLetters(keys)
		removed += n
		if derr != nil || err == nil {
			return removed, derr
		}
	}
}

func parseID(id string) (state.DeadLetterKey, error) {
	k, err := state.ParseDeadLetterKey(id)
	if err != nil {
		return k, missing(id, "%w", err)
	}
	return k, nil
}

func missing(id, format string, args ...any) error {
	return fault.New(fault.Config, CodeNoSuchDeadLetter, id, "cdcd dlq list prints the ids", format, args...)
}

// chosen reports whether a filter applies to a dead letter.
func chosen(f telemetry.DeadLetterFilter, d *state.DeadLetter) bool {
	return (f.Step == "" || f.Step == d.Step || f.Step == pipelines.SinkStep && strings.HasPrefix(d.Step, pipelines.SinkStep+".")) &&
		(f.Table == "" || matches(f.Table, d.Table)) &&
		(f.Reason == "" || strings.Contains(d.Reason, f.Reason)) &&
		(f.Since.IsZero() || !d.Time.Before(f.Since)) &&
		(f.Before.IsZero() || d.Time.Before(f.Before))
}

func (l *DeadLetters) describe(d *state.DeadLetter) telemetry.DeadLetter {
	return telemetry.DeadLetter{Pipeline: l.pipeline, ID: d.String(), Step: d.Step, Reason: d.Reason, Time: d.Time,
		Committed: d.Committed, Table: d.Table, Op: opWord(d.Op), Tx: d.Tx, Row: d.Row,
		LogPos: d.LogPos, Position: string(d.Position), Bytes: d.Bytes,
		Attempts: d.Attempts, ChangedBy: d.ChangedBy}
}

func opWord(op sdk.Op) string {
	switch op {
	case sdk.OpInsert:
		return "insert"
	case sdk.OpUpdate:
		return "update"
	case sdk.OpDelete:
		return "delete"
	case sdk.OpTruncate:
		return "truncate"
	}
	return "read"
}
