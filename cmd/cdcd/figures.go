package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// thousands prints 1234567 as "1,234,567".
func thousands[T uint64 | int64 | int](n T) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size prints bytes with a unit and three digits or so.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	if f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

// span prints a duration with three digits at most.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// lag is how far a pipeline is behind, as a person expects it: for a server, how
// old the last change is that was delivered or waits for delivery; for files,
// whose changes are as old as they are, how long delivery takes from the moment
// of reading.
func lag(s *telemetry.Status) time.Duration {
	seconds := s.LagSeconds
	if s.Source.Kind == "binlog_files" {
		seconds = s.Delivery.P50
	}
	return max(0, time.Duration(seconds*float64(time.Second))) // clocks differ
}

// lagText prints the lag; a dash before anything was delivered.
func lagText(s *telemetry.Status) string {
	if s.Delivery.Batches == 0 {
		return "-"
	}
	return span(lag(s))
}

// milliseconds is a duration as JSON has it.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
