package runtime

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

const (
	// auditEvery is how often a pipeline's stream is looked over.
	auditEvery = 30 * time.Second
	// auditFirst is when, of a pipeline that has just started.
	auditFirst = 2 * time.Second
)

// audit looks a pipeline's sink over while the pipeline runs, and keeps what it
// found for the status.
type audit struct {
	sink  sink.Audited
	every time.Duration
	log   *slog.Logger

	mu    sync.Mutex
	last  sink.Health
	since map[string]time.Time // of alarms, by code
	now   func() time.Time
}

// run looks until ctx ends. A sink that can't be asked keeps what was found
// last: the pipeline itself says what is wrong with the connection.
func (a *audit) run(ctx context.Context) {
	timer := time.NewTimer(min(auditFirst, a.every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		h, err := a.sink.Audit(ctx)
		switch {
		case err == nil:
			a.note(h)
		case ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded):
			a.log.Debug("the stream could not be looked over", "error", err)
		}
		timer.Reset(a.every)
	}
}

// note keeps what was found, and says each alarm once, when it begins and ends.
func (a *audit) note(h sink.Health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since := map[string]time.Time{}
	for _, f := range h.Alarms {
		at, known := a.since[f.Code]
		if !known {
			at = a.now()
			a.log.Warn("the stream is not as it should be", "stream", h.Name, "code", f.Code, "detail", f.Err, "hint", f.Hint)
		}
		since[f.Code] = at
	}
	for code := range a.since {
		if _, still := since[code]; !still {
			a.log.Info("the stream is as it should be again", "stream", h.Name, "code", code)
		}
	}
	a.last, a.since = h, since
}

// status returns what was found last; nil before the first time.
func (a *audit) status() *telemetry.Stream {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.last
	if h.Name == "" {
		return nil
	}
	s := &telemetry.Stream{Name: h.Name, Messages: h.Messages, Bytes: h.Bytes, BytesMax: h.BytesMax, Deleted: h.Deleted,
		Replicas: h.Replicas, ReplicasCurrent: h.Current, ReplicaLag: h.Behind}
	if h.Full != nil {
		seconds := h.Full.Seconds()
		s.UntilFullSeconds = &seconds
	}
	for _, f := range h.Alarms {
		s.Alarms = append(s.Alarms, telemetry.Alarm{Code: f.Code, Reason: f.Error(), Hint: f.Hint, Since: a.since[f.Code]})
	}
	return s
}

// alarmCodes are the words that an alarm's code may be.
func alarmCodes() []string {
	return []string{sink.CodeStreamFilling, sink.CodeStreamGaps, sink.CodeStreamGone, sink.CodeStreamPurged,
		sink.CodeStreamRecreated, sink.CodeStreamReplicas, sink.CodeStreamRollback}
}

// audited makes the audit of a pipeline's sink, if that has anything to look over.
func (d *Daemon) audited(pipeline string, s sink.Sink) {
	looked, ok := s.(sink.Audited)
	if !ok {
		return
	}
	a := &audit{sink: looked, every: d.o.AuditEvery, log: d.log.With("pipeline", pipeline), now: d.o.Now}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.jobs, func(j *job) bool { return j.config.Name == pipeline }); i >= 0 {
		d.jobs[i].audit = a
	}
}

// brokerCodes are of faults behind which the embedded server's state may be.
func brokerCodes() []string {
	return []string{sink.CodeStreamFull, sink.CodeSinkUnreachable, natsd.CodeUnreachable}
}
