package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// logger carries the server's lines to slog. A fatal line is also handed over,
// since the server would end the process after it; so is one after which a
// stream, or all of JetStream, writes nothing more until the server starts
// again. Nothing else tells: such a stream gives publishers no answer. Each server
// has its own, since one that was given up may still say something.
type logger struct {
	log     *slog.Logger
	fatal   chan error // holds the first one
	trouble chan error // holds the first one
}

func newLogger(l *slog.Logger) *logger {
	return &logger{log: l.With("component", "nats-server"), fatal: make(chan error, 1), trouble: make(chan error, 1)}
}

// troubles are parts of such lines: of setWriteErr in filestore.go, of
// setWriteErrLocked in stream.go, of handleOutOfSpace in jetstream.go.
var troubles = [...]string{"critical write error", "Critical write error", "will be DISABLED", "disabling JetStream"}

func (l *logger) note(text string) {
	for _, t := range troubles {
		if strings.Contains(text, t) {
			select {
			case l.trouble <- errors.New(text):
			default:
			}
			return
		}
	}
}

// Noticef implements server.Logger; the server's notices are details to us.
func (l *logger) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }

// Warnf implements server.Logger.
func (l *logger) Warnf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.log.Warn(text)
	l.note(text)
}

// Errorf implements server.Logger.
func (l *logger) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.log.Error(text)
	l.note(text)
}

// Debugf implements server.Logger.
func (l *logger) Debugf(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }

// Tracef implements server.Logger.
func (l *logger) Tracef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }

// Fatalf implements server.Logger.
func (l *logger) Fatalf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.log.Error(text)
	select {
	case l.fatal <- errors.New(text):
	default:
	}
	select {
	case l.trouble <- errors.New(text):
	default:
	}
}
