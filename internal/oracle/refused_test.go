package oracle

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusedTable is a table of which a step refuses each row: nothing of it is in
// the stream, so the Checker need not know of it, and all of it are dead letters.
const refusedTable = DB + ".refused"

// keepAndRefuse are a step that keeps a value for each key, and one that makes
// dead letters.
func keepAndRefuse(t *testing.T) string {
	t.Helper()
	upper, err := filepath.Abs(filepath.Join("..", "..", "sdk", "golden", "c.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return numberAll + fmt.Sprintf(`
        only: [%s]
      - wasm: %s
        name: short
        only: [%s]
        limits: {time: 1m}
        with: {column: note, bytes_max: 1}
        on_error: dead_letter`, strings.Join(Tables(), ", "), upper, refusedTable)
}

// refuse inserts rows that are refused, until ctx ends.
func (r *rig) refuse(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.db.Try(fmt.Sprintf("INSERT INTO %s (note) VALUES ('this is refused')", refusedTable)); err != nil {
			r.t.Errorf("a row to be refused: %v", err)
			return
		}
		select {
		case <-time.After(15 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// kept judges what the state has at the end: each refused row as one dead letter,
// and one value for each key that was numbered.
func (r *rig) kept(d *daemon, report *Report, keys int) {
	r.t.Helper()
	found := func(format string, args ...any) {
		report.Findings = append(report.Findings, fmt.Sprintf(format, args...))
	}
	text, err := d.ask("dlq", "list", d.config, "--json", "--limit", "1000000")
	if err != nil {
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		var letter struct{ Step, Table, Transaction, Reason string }
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			r.t.Fatalf("%v in %q", err, line)
		}
		switch {
		case letter.Step != "short" || letter.Table != refusedTable:
			report.Changed++
			found("a dead letter that should be none: %s", line)
		case seen[letter.Transaction]:
			report.Doubled++
			found("a dead letter twice: %s", line)
		}
		seen[letter.Transaction] = true
	}
	var rows int
	if _, err := fmt.Sscan(r.db.Value(r.t, "SELECT COUNT(*) FROM "+refusedTable), &rows); err != nil {
		r.t.Fatal(err)
	}
	if rows != len(seen) || rows == 0 {
		report.Lost += max(0, rows-len(seen))
		found("%d rows were refused, and %d are dead letters", rows, len(seen))
	}
	survey, err := d.survey()
	if err != nil || len(survey.Pipelines) != 1 || survey.Pipelines[0].Values != keys {
		report.Changed++
		found("values are kept of %d keys, and the state is %+v, %v", keys, survey, err)
	}
	r.note("%d dead letters, values of %d keys", rows, keys)
}

// survey is what `checkpoint verify` says.
type survey struct {
	OK        bool
	Damage    []string
	Pipelines []struct{ Values int }
}

// survey reads all of a stopped daemon's state.
func (d *daemon) survey() (s survey, err error) {
	text, err := d.ask("checkpoint", "verify", d.config, "--json")
	if jerr := json.Unmarshal([]byte(text), &s); jerr != nil && err == nil {
		err = jerr
	}
	return s, err
}

// ask runs a verb, and returns what it prints.
func (d *daemon) ask(args ...string) (string, error) {
	ctx, cancel := contextFor(d.r.t, time.Minute)
	defer cancel()
	cmd := d.command(ctx, args...)
	cmd.Stdout = nil
	text, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cdcd %s: %w", strings.Join(args, " "), err)
	}
	fmt.Fprintf(d.output, "%.4000s\n", text)
	return string(text), err
}
