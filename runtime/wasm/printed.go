package wasm

import (
	"bytes"
	"log/slog"
	"time"
)

const (
	lineBytesMax       = 1 << 10
	linesPerSecondMax  = 100
	printedTailBytes   = 2 << 10
	printedLineMessage = "connector"
)

// printed takes what a guest writes: whole lines go to the log within a rate,
// and the last bytes are kept to explain a trap.
type printed struct {
	log     *slog.Logger
	now     func() time.Time
	partial []byte
	tail    []byte
	second  time.Time // since when lines are counted
	lines   int
	skipped int
}

// write takes bytes of standard output or error.
func (w *printed) write(p []byte) {
	w.tail = append(w.tail, p[max(0, len(p)-printedTailBytes):]...)
	if over := len(w.tail) - printedTailBytes; over > 0 {
		w.tail = w.tail[:copy(w.tail, w.tail[over:])]
	}
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
	now := w.now()
	if now.Sub(w.second) >= time.Second {
		if w.skipped > 0 {
			w.log.Warn("connector lines left out", "lines", w.skipped)
		}
		w.second, w.lines, w.skipped = now, 0, 0
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

// lastWords returns what the guest wrote last, as one line, and forgets it.
func (w *printed) lastWords() string {
	text := bytes.TrimSpace(w.tail)
	if i := bytes.Index(text, []byte("\n\ngoroutine ")); i >= 0 {
		text = text[:i] // a Go guest's panic; the stack is the author's business
	}
	s := string(bytes.ReplaceAll(text[max(0, len(text)-500):], []byte("\n"), []byte(" | ")))
	w.tail = w.tail[:0]
	return s
}
