package natsd

import (
	"errors"
	"fmt"
	"log/slog"
)

// logger carries the server's lines to slog. A fatal line is also handed over,
// since the server would end the process after it.
type logger struct {
	log   *slog.Logger
	fatal chan error // holds the first one
}

func newLogger(l *slog.Logger) *logger {
	return &logger{log: l.With("component", "nats-server"), fatal: make(chan error, 1)}
}

// Noticef implements server.Logger; the server's notices are details to us.
func (l *logger) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }

// Warnf implements server.Logger.
func (l *logger) Warnf(f string, v ...any) { l.log.Warn(fmt.Sprintf(f, v...)) }

// Errorf implements server.Logger.
func (l *logger) Errorf(f string, v ...any) { l.log.Error(fmt.Sprintf(f, v...)) }

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
}
