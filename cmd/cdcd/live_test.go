package main

import (
	"bytes"
	"testing"
	"time"
)

func TestLiveKeepsLogsAbove(t *testing.T) {
	var term bytes.Buffer
	l := &live{out: &term, logs: &term, tty: true}
	l.draw("one\ntwo\n")
	term.Reset()
	if _, err := l.Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := term.String(), "\x1b[2A\r\x1b[Jlog\n\r\x1b[Jone\ntwo\n"; got != want {
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
