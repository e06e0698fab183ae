package wasm

import (
	"bytes"
	"log/slog"
	"time"
)

const (
	lineBytesMax       = 1 << 10
	linesPerSecondMax  = 100
	printedHeadBytes   = 2 << 10
	printedLineMessage = "connector"
)

// printed takes what a guest writes: whole lines go to the log within a rate,
// and the first bytes of each call are kept to explain a trap.
type printed struct {
	log     *slog.Logger
	now     func() time.Time
	partial []byte
	head    []byte    // what the call in hand printed first
	second  time.Time // since when lines are counted
	lines   int
	skipped int
}

// write takes bytes of standard output or error.
func (w *printed) write(p []byte) {
	w.head = append(w.head, p[:min(len(p), printedHeadBytes-len(w.head))]...)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		room := lineBytesMax - len(w.partial)
		w.partial = append(w.partial, line[:max(0, min(len(line), room))]...)
		if !whole {
			return
		}
		w.line(slog.LevelInfo, w.partial)
		w.partial = w.partial[:0]
		p = rest
	}
}

// line passes one line on, unless there were too many this second.
func (w *printed) line(level slog.Level, text []byte) {
	if w.log == nil || len(text) == 0 {
		return
	}
	if now := w.now(); now.Sub(w.second) >= time.Second {
		w.report()
		w.second, w.lines = now, 0
	}
	if w.lines++; w.lines > linesPerSecondMax {
		w.skipped++
		return
	}
	attr := slog.String("text", string(text[:min(len(text), lineBytesMax)]))
	switch {
	case level >= slog.LevelError:
		w.log.Error(printedLineMessage, attr)
	case level >= slog.LevelWarn:
		w.log.Warn(printedLineMessage, attr)
	case level >= slog.LevelInfo:
		w.log.Info(printedLineMessage, attr)
	default:
		w.log.Debug(printedLineMessage, attr)
	}
}

// report says how many lines were left out since the last report.
func (w *printed) report() {
	if w.skipped > 0 {
		w.log.Warn("connector lines left out", "lines", w.skipped)
		w.skipped = 0
	}
}

// begin forgets what earlier calls printed, and reports what they had left out.
func (w *printed) begin() {
	w.head = w.head[:0]
	if w.skipped > 0 && w.now().Sub(w.second) >= time.Second {
		w.report()
	}
}

// end reports what is left, when the instance ends.
func (w *printed) end() {
	if w.log != nil {
		w.report()
	}
}

// lastWords returns what the guest printed in the call that ended badly, as one
// line: of a Go guest its panic, without the stack, which is the author's business.
func (w *printed) lastWords() string {
	text := bytes.TrimSpace(w.head)
	for _, start := range []string{"panic: ", "fatal error: "} {
		if i := bytes.Index(text, []byte(start)); i >= 0 {
			text = text[i:]
			break
		}
	}
	if i := bytes.Index(text, []byte("\n\n")); i >= 0 {
		text = text[:i]
	}
	return string(bytes.ReplaceAll(text[:min(len(text), 500)], []byte("\n"), []byte(" | ")))
}
