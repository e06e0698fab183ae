package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

func TestLiveKeepsLogsAbove(t *testing.T) {
	var term bytes.Buffer
	l := &live{out: &term, logs: &term, tty: true}
	l.draw("one\ntwo\n")
	term.Reset()
	if _, err := l.Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := term.String(), "\x1b[2A\r\x1b[Jlog\none\x1b[K\ntwo\x1b[K\n\x1b[J"; got != want {
		t.Errorf("a log line above two drawn ones:\n got %q\nwant %q", got, want)
	}
}

func TestLiveIsQuietElsewhere(t *testing.T) {
	var out, logs bytes.Buffer
	l := &live{out: &out, logs: &logs}
	l.draw("x\n")
	l.clear()
	_, _ = l.Write([]byte("log\n"))
	if out.Len() != 0 || logs.String() != "log\n" {
		t.Errorf("out %q, logs %q; want nothing and the log line", out.String(), logs.String())
	}
}

// Lines are drawn over those before, and none is as wide as the terminal.
func TestLiveNeverWraps(t *testing.T) {
	var term bytes.Buffer
	l := &live{out: &term, tty: true, columns: func() int { return 8 }}
	l.draw("four µs and more\nshort\n")
	term.Reset()
	l.draw("1234567\n")
	l.draw("12345678\n")
	if got, want := term.String(), "\x1b[2A\r1234567\x1b[K\n\x1b[J\x1b[1A\r1234567\x1b[K\n\x1b[J"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := l.clip("four µs and more"); got != "four µs" {
		t.Errorf("clip = %q", got)
	}
}

func TestRate(t *testing.T) {
	var r rate
	at := time.Unix(0, 0)
	if n := r.add(at, 100); n != 0 {
		t.Errorf("%d per second from one look", n)
	}
	if n := r.add(at.Add(500*time.Millisecond), 150); n != 100 {
		t.Errorf("50 in half a second are %d per second", n)
	}
	for i := range 100 {
		at = at.Add(100 * time.Millisecond)
		r.add(at, 150+uint64(i)*3)
	}
	if n := r.add(at, 150+99*3); n != 30 || len(r.marks) > 30 {
		t.Errorf("%d per second of %d looks, want 30 of few", n, len(r.marks))
	}
	if n := r.add(at.Add(time.Second), 5); n != 0 {
		t.Errorf("counted anew: %d", n)
	}
}

// The lag is of the log for a server, and of the delivery for files, whose rows
// are as old as they are.
func TestLag(t *testing.T) {
	s := telemetry.Status{LagSeconds: 86400, Delivery: telemetry.Delivery{Batches: 1, P50: 0.003}, Source: telemetry.Source{Kind: "binlog_files"}}
	if got := lagText(&s); got != "3 ms" {
		t.Errorf("files: %s", got)
	}
	s.Source.Kind = "mysql"
	if got := lagText(&s); got != "24h0m0s" {
		t.Errorf("a server: %s", got)
	}
	s.LagSeconds = -1
	if got := lag(&s); got != 0 {
		t.Errorf("a server whose clock is ahead: %v", got)
	}
	if got := lagText(&telemetry.Status{}); got != "-" {
		t.Errorf("nothing delivered: %s", got)
	}
}

// The demo's table and the line of cdcd run fit 80 columns.
func TestWidth(t *testing.T) {
	s := telemetry.Status{Pipeline: "shop-mariadb", State: "streaming", Ready: true, RowsIn: 999_999, RowsOut: 999_999, RowsDropped: 99_999,
		LagSeconds: 0.999, GuestBytes: 999 << 20, Delivery: telemetry.Delivery{Batches: 1}}
	v := demoView{rates: map[string]*[2]rate{}}
	text := v.table([]telemetry.Status{s}, time.Now())
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 79 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	r := runView{began: time.Now()}
	if line := r.line([]telemetry.Status{s}); utf8.RuneCountInString(line) > 79 {
		t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(uint64(1234567)): "1,234,567",
		size(12): "12 B", size(1536): "1.5 KiB", size(64 << 20): "64.0 MiB",
		span(40 * time.Microsecond): "40 µs", span(12 * time.Millisecond): "12 ms", span(1500 * time.Millisecond): "1.5 s",
		span(95 * time.Second): "1m35s", span(72 * time.Hour): "3 days",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
