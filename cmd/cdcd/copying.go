package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

const (
	barWidth   = 20
	barsMax    = 8 // tables of which a bar is shown
	percentMax = 99
)

// copyLines shows how far the copies of tables have come: a bar for each table
// that is being read, and what is to come.
func copyLines(all []telemetry.Status) string {
	var b strings.Builder
	bars := 0
	for i := range all {
		s := all[i].Source.Snapshot
		if s == nil || s.Complete && len(s.Tables) == 0 {
			continue
		}
		for _, t := range s.Tables {
			if bars++; bars <= barsMax {
				b.WriteString(bar(t))
			}
		}
		name := "snapshot"
		if s.Request != "" {
			name += " " + s.Request
		}
		fmt.Fprintf(&b, "  %s of %s: %s copied, %s waiting", name, all[i].Pipeline, plural(s.Copied, "table"), thousands(uint64(max(0, s.Left))))
		if s.Waiting != "" {
			b.WriteString(", paused: " + s.Waiting)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// scheduleLines shows how the last runs of pipelines with a schedule went, and
// when the next are due.
func scheduleLines(all []telemetry.Status) string {
	var b strings.Builder
	shown := 0
	for i := range all {
		s := all[i].Schedule
		if s == nil {
			continue
		}
		if shown++; shown > barsMax {
			continue
		}
		fmt.Fprintf(&b, "  %s, %s", all[i].Pipeline, s.At)
		if last := s.Last; last != nil {
			fmt.Fprintf(&b, ": run %d %s, %s rows", last.Run, last.Result, thousands(last.Messages))
		}
		if s.Next != nil {
			fmt.Fprintf(&b, ", next %s", s.Next.Local().Format("2006-01-02 15:04:05"))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// bar is the line of one table. It is never full: a table that is done has no
// line, and until then the server's guess of its size may be too low.
func bar(t telemetry.SnapshotTable) string {
	percent := 0
	if t.RowsEstimated > 0 {
		percent = min(int(100*t.Rows/t.RowsEstimated), percentMax)
	}
	full := percent * barWidth / 100
	line := fmt.Sprintf("  %s%s %2d%%  %s  %s of about %s rows, %s/s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent,
		t.Table, thousands(t.Rows), thousands(t.RowsEstimated), thousands(uint64(t.RowsPerSecond)))
	if t.LeftSeconds > 0 {
		line += ", " + (time.Duration(t.LeftSeconds) * time.Second).String() + " left"
	}
	return line + "\n"
}
