package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// dlqCmd looks at rows that steps refused and that are kept: dead letters.
type dlqCmd struct {
	List   dlqListCmd   `cmd:"" help:"List dead letters: rows that a step refused, and why."`
	Show   dlqShowCmd   `cmd:"" help:"Show one dead letter with its row, as the step was given it."`
	Replay dlqReplayCmd `cmd:"" help:"Let dead letters come by again, through the steps as they are now."`
	Purge  dlqPurgeCmd  `cmd:"" help:"Remove dead letters for good."`
}

// dlqFilter chooses dead letters.
type dlqFilter struct {
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
	Step     string `help:"Those that the step refused." placeholder:"NAME"`
	Table    string `help:"Those of a table: db.table, * matches any characters." placeholder:"PATTERN"`
	Reason   string `help:"Those whose reason has the text." placeholder:"TEXT"`
	Since    moment `help:"Those refused since: 2026-01-31, 2026-01-31T12:00:00Z, or 2h for two hours ago." placeholder:"TIME"`
	Before   moment `help:"Those refused before." placeholder:"TIME"`
}

func (f *dlqFilter) filter() telemetry.DeadLetterFilter {
	return telemetry.DeadLetterFilter{Step: f.Step, Table: f.Table, Reason: f.Reason, Since: f.Since.Time, Before: f.Before.Time}
}

// moment is a time, or a duration before now.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) (err error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if m.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	var ago unit.Duration
	if err := ago.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is neither a time such as 2026-01-31T12:00:00Z or 2026-01-31 nor a duration such as 2h", text)
	}
	m.Time = time.Now().Add(-ago.Std())
	return nil
}

// keptBy opens the dead letters of a configuration's pipelines: in the daemon
// that runs, or in the directory of the one that is stopped.
type keptBy struct {
	of    func(p *config.Pipeline) (admin.DeadLetters, error)
	close func() error
}

// openKept finds out which of the two it is. With change the directory is opened
// for writing.
func openKept(ctx context.Context, c *config.Config, change bool) (keptBy, error) {
	a, s, err := reach(c, change)
	switch {
	case err != nil:
		return keptBy{}, err
	case a != nil:
		return keptBy{func(p *config.Pipeline) (admin.DeadLetters, error) { return a.deadLetters(ctx, p.Name), nil }, func() error { return nil }}, nil
	case s == nil:
		return keptBy{func(*config.Pipeline) (admin.DeadLetters, error) { return nothingKept{}, nil }, func() error { return nil }}, nil
	}
	return keptBy{func(p *config.Pipeline) (admin.DeadLetters, error) {
		return runtime.OpenDeadLetters(s, p.Name, p.Source.Kind)
	}, s.Close}, nil
}

// openExisting opens a store for writing, where there is one.
func openExisting(dir string, o state.Options) (*state.Store, error) {
	s, err := state.OpenReadOnly(dir, o)
	if err != nil || s == nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return state.Open(dir, o)
}

// nothingKept are the dead letters of a directory without a store.
type nothingKept struct{}

func (nothingKept) List(telemetry.DeadLetterFilter, string, int) (telemetry.DeadLetterPage, error) {
	return telemetry.DeadLetterPage{}, nil
}

func (nothingKept) Show(id string) (telemetry.DeadLetter, error) {
	return telemetry.DeadLetter{}, fault.New(fault.Config, runtime.CodeNoSuchDeadLetter, id, "cdcd dlq list prints the ids", "nothing is kept there")
}

func (nothingKept) Replay(context.Context, telemetry.ReplayOrder) (telemetry.ReplayReport, error) {
	return telemetry.ReplayReport{}, nil
}

func (nothingKept) Remove([]string) (int, error)                  { return 0, nil }
func (nothingKept) Purge(telemetry.DeadLetterFilter) (int, error) { return 0, nil }

// chosenPipelines returns the named pipeline, or all where none is named.
func chosenPipelines(c *config.Config, name string) ([]*config.Pipeline, error) {
	var found []*config.Pipeline
	var names []string
	for i := range c.Pipelines {
		if name == "" || c.Pipelines[i].Name == name {
			found = append(found, &c.Pipelines[i])
		}
		names = append(names, c.Pipelines[i].Name)
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Config, runtime.CodeNoSuchPipeline, name, "the configuration has: "+strings.Join(names, ", "), "there is no pipeline %q", name)
	}
	return found, nil
}

// onePipeline returns the named pipeline, or the only one.
func onePipeline(c *config.Config, name string) (*config.Pipeline, error) {
	found, err := chosenPipelines(c, name)
	if err == nil && len(found) > 1 {
		return nil, fault.New(fault.Config, "usage", "", "add --pipeline NAME", "the configuration has %d pipelines", len(found))
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

type dlqListCmd struct {
	Config string `arg:"" help:"The configuration file."`
	dlqFilter
	Limit int    `default:"100" help:"How many to print of each pipeline."`
	After string `help:"Go on behind the one with the id." placeholder:"ID"`
}

// Run lists dead letters, of all pipelines or of one.
func (l *dlqListCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(l.Config, configOptions())
	if err != nil {
		return err
	}
	chosen, err := chosenPipelines(c, l.Pipeline)
	if err != nil {
		return err
	}
	if l.Limit < 1 {
		return fault.New(fault.Config, "usage", "--limit", "write a number from 1", "%d is no limit", l.Limit)
	}
	kept, err := openKept(sig.drain, c, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	for _, p := range chosen {
		letters, err := kept.of(p)
		if err != nil {
			return err
		}
		if err := l.list(out, p.Name, letters); err != nil {
			return err
		}
	}
	return nil
}

func (l *dlqListCmd) list(out *console, pipeline string, letters admin.DeadLetters) error {
	shown, after := 0, l.After
	for {
		page, err := letters.List(l.filter(), after, min(l.Limit-shown, runtime.DeadLettersPageMax))
		if err != nil {
			return err
		}
		for i := range page.DeadLetters {
			listed(out, &page.DeadLetters[i])
		}
		shown += len(page.DeadLetters)
		after = page.Next
		if shown == l.Limit || after == "" {
			more := ""
			if after != "" {
				more = "; there may be more: --after '" + after + "'"
			}
			out.line("%s: %d shown of %s kept%s", pipeline, shown, plural(page.Kept, "dead letter"), more)
			return nil
		}
	}
}

// listed prints one dead letter of a list.
func listed(out *console, d *telemetry.DeadLetter) {
	if out.json {
		out.object(d)
		return
	}
	more := ""
	if d.Attempts > 1 {
		more = fmt.Sprintf(", refused %d times", d.Attempts)
	}
	if d.ChangedBy != "" {
		more += ", changed since by " + printable(d.ChangedBy)
	}
	out.line("%s\n    %s  %s %s, %s%s\n    %s", printable(d.ID), d.Time.Format(time.RFC3339), d.Op, printable(d.Table), printable(d.LogPos), more, printable(d.Reason))
}

type dlqShowCmd struct {
	Config   string `arg:"" help:"The configuration file."`
	ID       string `arg:"" name:"id" help:"The dead letter, as cdcd dlq list prints it: step/transaction#row."`
	Pipeline string `help:"The pipeline; it may be left out where the configuration has one." placeholder:"NAME"`
}

// Run shows one dead letter.
func (s *dlqShowCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(s.Config, configOptions())
	if err != nil {
		return err
	}
	p, err := onePipeline(c, s.Pipeline)
	if err != nil {
		return err
	}
	kept, err := openKept(sig.drain, c, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	letters, err := kept.of(p)
	if err != nil {
		return err
	}
	d, err := letters.Show(s.ID)
	if err != nil {
		return err
	}
	if out.json {
		out.object(d)
		return nil
	}
	return showDeadLetter(out, &d)
}

// showDeadLetter prints a dead letter and its row, column by column.
func showDeadLetter(out *console, d *telemetry.DeadLetter) error {
	for _, f := range [][2]string{
		{"dead letter", d.ID}, {"pipeline", d.Pipeline}, {"step", d.Step}, {"reason", d.Reason}, {"refused", d.Time.Format(time.RFC3339Nano)},
		{"table", d.Table}, {"attempts", attempts(d.Attempts)}, {"changed by", d.ChangedBy},
		{"operation", d.Op}, {"key", string(d.Key)}, {"transaction", fmt.Sprintf("%s, row %d", d.Tx, d.Row)},
		{"committed", d.Committed.Format(time.RFC3339Nano)}, {"log", d.LogPos}, {"position", d.Position}, {"size", size(int64(d.Bytes))},
	} {
		if f[1] != "" {
			out.line("%-12s %s", f[0], printable(f[1]))
		}
	}
	var body struct{ Before, After json.RawMessage }
	if err := json.Unmarshal(d.Content, &body); err != nil {
		return fmt.Errorf("the row is not understood: %w", err)
	}
	before, err := columnsOf(body.Before)
	if err != nil {
		return err
	}
	after, err := columnsOf(body.After)
	if err != nil {
		return err
	}
	rows, head := after, [2]string{"after", "before"}
	if len(after) == 0 {
		rows, before, head = before, nil, [2]string{"before", ""}
	}
	was := map[string]string{}
	for _, c := range before {
		was[c[0]] = c[1]
	}
	width := 12
	for _, c := range rows {
		width = max(width, len(c[0]))
	}
	out.line("\n%-*s %s", width, "column", head[0])
	for _, c := range rows {
		line := fmt.Sprintf("%-*s %s", width, c[0], c[1])
		if old, known := was[c[0]]; known && old != c[1] {
			line += "    (" + head[1] + ": " + old + ")"
		}
		out.line("%s", printable(line))
	}
	return nil
}

// columnsOf returns the names and values of a JSON object, in its order.
func columnsOf(image json.RawMessage) (columns [][2]string, err error) {
	if len(image) == 0 || string(image) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(image))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		columns = append(columns, [2]string{fmt.Sprint(name), string(value)})
	}
	return columns, nil
}

// printable shows characters that a terminal would act on as escapes: a row's
// content is not the operator's own text.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

type dlqPurgeCmd struct {
	Config string   `arg:"" help:"The configuration file."`
	IDs    []string `arg:"" optional:"" name:"id" help:"Dead letters, as cdcd dlq list prints them."`
	dlqFilter
	All bool `help:"All dead letters of the pipeline."`
}

// Run removes dead letters.
func (p *dlqPurgeCmd) Run(out *console, sig *signals) (err error) {
	c, err := config.Load(p.Config, configOptions())
	if err != nil {
		return err
	}
	pipeline, err := onePipeline(c, p.Pipeline)
	if err != nil {
		return err
	}
	ways := 0
	for _, used := range []bool{len(p.IDs) > 0, !p.filter().All(), p.All} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return fault.New(fault.Config, "usage", "", "name dead letters, or use --step, --table, --reason, --since, --before, or --all",
			"say in one way what to purge")
	}
	kept, err := openKept(sig.drain, c, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	letters, err := kept.of(pipeline)
	if err != nil {
		return err
	}
	var n int
	if len(p.IDs) > 0 {
		n, err = letters.Remove(p.IDs)
	} else {
		n, err = letters.Purge(p.filter())
	}
	if out.json {
		out.object(struct {
			Pipeline string `json:"pipeline"`
			Purged   int    `json:"purged"`
		}{pipeline.Name, n})
	}
	out.line("%s: purged %s", pipeline.Name, plural(n, "dead letter"))
	return cmp.Or(err, missed(p.IDs, n))
}

// missed tells that not all that were named were there.
func missed(ids []string, removed int) error {
	if removed >= len(ids) {
		return nil
	}
	return fault.New(fault.Config, runtime.CodeNoSuchDeadLetter, "", "cdcd dlq list prints the ids", "%d of the %d dead letters are not there", len(ids)-removed, len(ids))
}
