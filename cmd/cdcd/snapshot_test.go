package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// All that a snapshot may be, for people and for programs.
func TestSnapshotStatusLines(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	end := at.Add(90 * time.Second)
	table := func(name, state string, rows, of uint64, rate, left float64) telemetry.SnapshotRequestTable {
		return telemetry.SnapshotRequestTable{State: state, SnapshotTable: telemetry.SnapshotTable{Table: name, Rows: rows, RowsEstimated: of,
			Chunks: rows / 1000, RowsPerSecond: rate, LeftSeconds: left}}
	}
	all := []telemetry.SnapshotRequest{
		{Pipeline: "shop", ID: "mku5a001", State: telemetry.SnapshotDone, Asked: at, Ended: &end, Rows: 1234, RowsEstimated: 1234,
			Tables: []telemetry.SnapshotRequestTable{table("shop.names", "copied", 1234, 1234, 0, 0)}},
		{Pipeline: "shop", ID: "mku5a002", State: telemetry.SnapshotFailed, Asked: at, Ended: &end, Code: "snapshot_where", Reason: "shop.old: no column \"x\x1b[2J\"", Hint: "correct the predicate",
			Where: "x > 1", Tables: []telemetry.SnapshotRequestTable{table("shop.old", "waiting", 0, 70, 0, 0)}},
		{Pipeline: "shop", ID: "mku5a003", State: telemetry.SnapshotRunning, Asked: at, Columns: []string{"v", "note"}, Rows: 13345, RowsEstimated: 41234, Chunks: 13, RowsPerSecond: 1500.2, LeftSeconds: 18.6,
			Tables: []telemetry.SnapshotRequestTable{table("shop.a", "copied", 1000, 1000, 0, 0), table("shop.b", "copying", 12345, 20000, 1500.2, 5.1), table("shop.c", "waiting", 0, 20234, 0, 0)}},
		{Pipeline: "shop", ID: "mku5a004", State: telemetry.SnapshotPaused, Asked: at, Adopted: true, Rows: 500, RowsEstimated: 2000,
			Tables: []telemetry.SnapshotRequestTable{table("shop.d", "copying", 500, 2000, 90, 7)}},
		{Pipeline: "shop", ID: "mku5a005", State: telemetry.SnapshotQueued, Asked: at, Where: "id > 100", RowsEstimated: 9,
			Tables: []telemetry.SnapshotRequestTable{table("shop.e", "waiting", 0, 9, 0, 0)}},
	}
	for name, asJSON := range map[string]bool{"snapshot_status.golden": false, "snapshot_status.json.golden": true} {
		var text strings.Builder
		for i := range all {
			showSnapshot(&console{out: &text, err: &text, json: asJSON}, &all[i])
		}
		goldenText(t, name, text.String())
	}
}

// A running pipeline refuses what it can't copy, at once, with the place and the
// way out, and nothing of it is on record.
func TestSnapshotRefused(t *testing.T) {
	db := testserver.MySQL(t)
	c := newCopier(t, db, 24_000)
	rewrite(t, c.config, "rows_per_second: 5000", "rows_per_second: 50") // until restsWhileStopped is through
	db.Exec(t, "CREATE TABLE shop.more (id INT PRIMARY KEY)")
	c.start()
	c.eventually("the daemon", func() error {
		if _, err := c.snapshot("start", "--table", "shop.nothing"); !fault.HasCode(err, "unknown_table") {
			return err
		}
		return nil
	})
	for _, r := range []struct {
		args       []string
		code, says string
	}{
		{[]string{"--table", "shop.nothing"}, "unknown_table", "tables[0]: the server has no table shop.nothing"},
		{[]string{"--table", "shop.orders", "--table", "shop.nothing"}, "unknown_table", "tables[1]"},
		{[]string{"--table", "shop.ORDERS"}, "unknown_table", "shop.ORDERS"},
		{[]string{"--table", "orders"}, "tables_invalid", "orders"},
		{[]string{"--table", "shop.other"}, "snapshot_not_followed", "shop.other"},
		{[]string{"--table", "shop.mo*"}, "snapshot_not_followed", "shop.mo*"},
		{[]string{"--table", "shop.orders", "--where", "nosuch > 1"}, "snapshot_where", "nosuch"},
		{[]string{"--table", "shop.orders", "--where", "id > "}, "snapshot_where", "shop.orders"},
		{[]string{"--table", "shop.orders", "--where", "id > 1) OR (1 = 1"}, "snapshot_where", "parenthesis"},
		{[]string{"--table", "shop.orders", "--column", "nosuch"}, "snapshot_columns", "nosuch"},
		{[]string{"--table", "shop.orders", "--where", "note <> '" + strings.Repeat("x", 5000) + "'"}, "snapshot_request_large", "4096"},
		{[]string{"--table", "shop.orders", "--pipeline", "x"}, "no_such_pipeline", "x"},
	} {
		_, err := c.snapshot(append([]string{"start"}, r.args...)...)
		f := fault.Of(err)
		if f.Code != r.code || !strings.Contains(err.Error(), r.says) || f.Hint == "" {
			t.Errorf("%q: %v\n\t%s", r.args, err, f.Hint)
		}
	}
	if all, err := c.snapshot("status"); err != nil || len(all) > 0 {
		t.Errorf("on record: %v, %v", all, err)
	}
	for _, verb := range []string{"pause", "resume", "cancel", "status"} {
		for _, id := range []string{"mku5a001", "initial"} {
			if _, err := c.snapshot(verb, id); !fault.HasCode(err, "no_such_snapshot") {
				t.Errorf("%s %s: %v", verb, id, err)
			}
		}
	}
	c.restsWhileStopped()
}

// restsWhileStopped pauses, resumes and cancels while no daemon runs.
func (c *copier) restsWhileStopped() {
	t := c.t
	t.Helper()
	paused := c.asked("start", "--table", "shop.orders")
	cancelled := c.asked("start", "--table", "shop.names")
	c.asked("pause", paused.ID)
	c.kill()
	for _, step := range []struct{ verb, id, state string }{
		{"status", paused.ID, "paused"}, {"resume", paused.ID, "queued"}, {"pause", paused.ID, "paused"}, {"cancel", cancelled.ID, "cancelling"},
	} {
		if all, err := c.snapshot(step.verb, step.id); err != nil || len(all) != 1 || all[0].State != step.state && all[0].State != "done" {
			t.Errorf("%s: %+v, %v", step.verb, all, err)
		}
	}
	if _, err := c.snapshot("start", "--table", "shop.orders"); !fault.HasCode(err, "pipeline_not_running") {
		t.Errorf("without a daemon: %v", err)
	}
	rewrite(t, c.config, "rows_per_second: 50", "rows_per_second: 5000")
	c.start()
	c.eventually("the cancellation", func() error {
		if r := c.asked("status", cancelled.ID); r.State != telemetry.SnapshotCancelled && r.State != telemetry.SnapshotDone {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	c.asked("resume", paused.ID)
	c.done(paused.ID)
}

// The copy that the configuration asks for is shown, and is paused and resumed,
// whether a daemon runs or not. It can't be cancelled.
func TestSnapshotInitial(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server and copies tables")
	}
	db := testserver.MariaDB(t)
	c := newCopier(t, db, 24_000)
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	c.keeper.write(filepath.Base(c.config), []byte(strings.Replace(string(text), "start: latest", "snapshot: initial", 1)))
	c.start()
	initial := func(what string, is func(telemetry.SnapshotRequest) bool) (r telemetry.SnapshotRequest) {
		t.Helper()
		c.eventually(what, func() (err error) {
			var ok bool
			if r, ok = c.state("initial"); !ok || !is(r) {
				err = fmt.Errorf("%+v", r)
			}
			return err
		})
		return r
	}
	begun := func(r telemetry.SnapshotRequest) bool { return r.Rows > 500 }
	if r := initial("the copy", begun); r.State != telemetry.SnapshotRunning || len(r.Tables) == 0 || r.Tables[0].State != "copying" || r.RowsEstimated <= r.Rows {
		t.Errorf("%+v", r)
	}
	if r := c.asked("pause", "initial"); r.State != telemetry.SnapshotPaused {
		t.Errorf("paused: %+v", r)
	}
	c.killNow()
	rests := initial("the rest", begun)
	if _, err := c.snapshot("cancel", "initial"); !fault.HasCode(err, "snapshot_unsupported") || !strings.Contains(fault.Of(err).Hint, "snapshot: never") {
		t.Errorf("cancelled: %v", err)
	}
	time.Sleep(500 * time.Millisecond) // in which it would read 2,500 rows
	if now, _ := c.state("initial"); now.State != telemetry.SnapshotPaused || now.Rows != rests.Rows {
		t.Errorf("at %d rows: %+v", rests.Rows, now)
	}
	c.kill()
	for _, verb := range []string{"status", "pause"} {
		if all, err := c.snapshot(verb, "initial"); err != nil || len(all) != 1 || all[0].State != telemetry.SnapshotPaused {
			t.Errorf("%s of a stopped one: %+v, %v", verb, all, err)
		}
	}
	if _, err := c.snapshot("resume", "initial"); err != nil {
		t.Error(err)
	}
	c.start()
	initial("its end", func(r telemetry.SnapshotRequest) bool { return r.State == telemetry.SnapshotDone })
	if _, err := c.snapshot("pause", "initial"); !fault.HasCode(err, "snapshot_over") {
		t.Errorf("paused when all is copied: %v", err)
	}
	c.asks["initial"] = &ask{tables: []string{"orders", "names"}, mod: 1}
	r := c.told()
	if d := cmp.Diff([]string{"snapshot_begin initial", "snapshot_end initial"}, r.news); d != "" || len(r.wrong) > 0 || r.reads["initial"] != 30_000 {
		t.Errorf("%d rows, %q\n%s", r.reads["initial"], r.wrong, d)
	}
}

// A source without tables says so; without state nothing is on record.
func TestSnapshotWithoutTables(t *testing.T) {
	file := refusing(t, "")
	if text, err := verb(t, false, &snapshotStatusCmd{Config: file}); err != nil || text != "no snapshot was asked for\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "cdcd-data")); err == nil {
		t.Error("looking has made a state")
	}
	daemon(t, file)
	if _, err := verb(t, false, &snapshotStartCmd{Config: file, Table: []string{"shop.orders"}}); !fault.HasCode(err, "snapshot_unsupported") || fault.ExitCode(err) != 2 {
		t.Errorf("%v, exit code %d", err, fault.ExitCode(err))
	}
}
