package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// live keeps a few lines at the bottom of a terminal and lets log lines scroll
// above them. On anything but a terminal it draws nothing and passes logs on.
type live struct {
	out  io.Writer
	logs io.Writer
	tty  bool
	// columns returns the terminal's width; nil for no limit.
	columns func() int

	mu    sync.Mutex
	drawn int // lines on the screen
	last  string
}

func newLive(c *console) *live {
	return &live{out: c.out, logs: c.err, tty: c.tty && !c.json, columns: c.width}
}

// draw replaces the lines.
func (l *live) draw(text string) {
	if !l.tty {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
	l.redraw()
}

// redraw writes over what is there, line by line and in one write, so that
// nothing flickers. A line never wraps: it would be two lines to go back over.
func (l *live) redraw() {
	var b bytes.Buffer
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", l.drawn)
	}
	l.drawn = 0
	for line := range strings.Lines(l.last) {
		b.WriteString(l.clip(strings.TrimSuffix(line, "\n")))
		b.WriteString("\x1b[K\n")
		l.drawn++
	}
	b.WriteString("\x1b[J")
	_, _ = l.out.Write(b.Bytes()) // a terminal that is gone ends the process by signal
}

// clip cuts a line to the terminal's width. The last column stays free: some
// terminals wrap when it is written.
func (l *live) clip(line string) string {
	if !l.tty || l.columns == nil {
		return line
	}
	left := l.columns() - 1
	for i := range line { // each character takes one column
		if left--; left < 0 {
			return line[:i]
		}
	}
	return line
}

// erase goes back to the first drawn line and clears to the end.
func (l *live) erase(b *bytes.Buffer) {
	if l.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA", l.drawn)
	}
	b.WriteString("\r\x1b[J")
	l.drawn = 0
}

// keep leaves the last lines where they are; the next draw begins below.
func (l *live) keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drawn, l.last = 0, ""
}

// clear removes the lines.
func (l *live) clear() {
	if l.tty {
		l.draw("")
	}
}

// Write prints log lines above the live ones.
func (l *live) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tty && l.drawn > 0 {
		var b bytes.Buffer
		l.erase(&b)
		_, _ = l.out.Write(b.Bytes())
		defer l.redraw()
	}
	return l.logs.Write(p)
}

// newLog returns the daemon's log: text on a terminal, JSON otherwise.
func newLog(l *live, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if l.tty {
		o.ReplaceAttr = short
		return slog.New(slog.NewTextHandler(l, o))
	}
	return slog.New(slog.NewJSONHandler(l, o))
}

// short leaves out what a person at a terminal knows: the day, and that
// information is information.
func short(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey:
		return slog.String(slog.TimeKey, a.Value.Time().Local().Format("15:04:05.000"))
	case a.Key == slog.LevelKey && a.Value.String() == slog.LevelInfo.String():
		return slog.Attr{}
	}
	return a
}
