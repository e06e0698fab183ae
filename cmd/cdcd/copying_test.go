package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

func TestCopyLines(t *testing.T) {
	s := &telemetry.Snapshot{Copied: 1, Left: 3, Waiting: "it is full", Tables: []telemetry.SnapshotTable{
		{Table: "shop.orders", Rows: 12345, RowsEstimated: 20000, RowsPerSecond: 1000.4, LeftSeconds: 7.6},
		{Table: "shop.new", Rows: 5, RowsEstimated: 5},
	}}
	all := []telemetry.Status{{Pipeline: "shop", Source: telemetry.Source{Snapshot: s}}, {Pipeline: "none"}}
	want := "  ############........ 61%  shop.orders  12,345 of about 20,000 rows, 1,000/s, 7s left\n" +
		"  ###################. 99%  shop.new  5 of about 5 rows, 0/s\n" +
		"  snapshot of shop: 1 table copied, 3 waiting, paused: it is full\n"
	if d := cmp.Diff(want, copyLines(all)); d != "" {
		t.Error(d)
	}
	s.Complete, s.Request, s.Waiting, s.Left, s.Tables = true, "mku5a001", "", 0, s.Tables[1:] // asked for
	want = "  ###################. 99%  shop.new  5 of about 5 rows, 0/s\n  snapshot mku5a001 of shop: 1 table copied, 0 waiting\n"
	if d := cmp.Diff(want, copyLines(all)); d != "" {
		t.Error(d)
	}
	next := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	due := []telemetry.Status{{Pipeline: "none"}, {Pipeline: "jobs", Schedule: &telemetry.Schedule{At: "@daily", Next: &next,
		Last: &telemetry.Run{Run: 7, Result: telemetry.RunOK, Messages: 1234}}}}
	if got, want := scheduleLines(due), "  jobs, @daily: run 7 ok, 1,234 rows, next 2026-01-02 03:04:05\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s.Tables = nil; copyLines(all) != "" {
		t.Error("a copy that is complete is shown")
	}
}
