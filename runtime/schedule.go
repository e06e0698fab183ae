package runtime

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

const (
	// timesMax is how many times are counted at most: a schedule of every minute has
	// half a million in a year.
	timesMax = 100_000
	// clockEvery is how often the clock is looked at: it may be set, and a machine may
	// sleep.
	clockEvery = time.Minute
)

// ledger is what is kept of a pipeline's runs: one record, whatever their number.
type ledger struct {
	// Anchor is where the times of "@every" are counted from: the pipeline's first start.
	Anchor time.Time `json:"anchor"`
	// Seen is behind all times that are dealt with: run, skipped or missed.
	Seen time.Time `json:"seen"`
	Last *lastRun  `json:"last,omitempty"`

	OK      uint64 `json:"ok"`
	Failed  uint64 `json:"failed"`
	Skipped uint64 `json:"skipped"` // the run before still went
	Missed  uint64 `json:"missed"`  // cdcd was not there
}

// lastRun is the run that goes, or went last.
type lastRun struct {
	Number   uint64    `json:"run"`
	Due      time.Time `json:"due"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"` // zero while it goes, also where cdcd died in it
	Rows     uint64    `json:"rows"`           // read of tables, by the process that ended it
	Messages uint64    `json:"messages"`       // of rows, that the sink has
	Code     string    `json:"code,omitempty"` // of the fault that ended it
	Reason   string    `json:"reason,omitempty"`
}

// runKeeper keeps a record in the state: *state.Pipeline.
type runKeeper interface {
	LoadRuns() (json.RawMessage, bool, error)
	RecordRuns(json.RawMessage) error
}

// outcome is how a run was when it came to rest.
type outcome struct {
	pipeline.Status
	err error
}

// scheduler has a pipeline run when it is due: one run at a time.
type scheduler struct {
	config config.Schedule
	keep   runKeeper
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	ledger  ledger
	forced  time.Time // a time of which the run is to be done without waiting; zero for none
	running bool
	since   time.Time // when running changed
}

// run does what is due until ctx ends; with once, one run at once, and returns
// its error. A run that is stopped with ctx is gone on with at the next start.
func (s *scheduler) run(ctx context.Context, once bool, do func(context.Context, *pipeline.RunSpec) outcome) error {
	resume, err := s.load(once)
	if err != nil {
		return err
	}
	for ; ; resume = false {
		if !resume {
			due, ok := s.wait(ctx)
			if !ok {
				return nil
			}
			if err := s.begin(due); err != nil {
				return err
			}
		}
		o, err := s.watch(ctx, do)
		switch {
		case err != nil:
			return err
		case o.err == nil && o.State != pipeline.StateEnded: // stopped
			return nil
		}
		if err := s.end(o); err != nil {
			return err
		}
		if once {
			return o.err
		}
	}
}

// load reads the ledger, and deals with what was due since. resume says that the
// last run was begun and has not ended.
func (s *scheduler) load(once bool) (resume bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, now := &s.ledger, s.now().UTC()
	s.since = now
	record, ok, err := s.keep.LoadRuns()
	if err != nil {
		return false, err
	}
	if ok {
		if err := json.Unmarshal(record, l); err != nil {
			return false, err
		}
	}
	missed, last := 0, time.Time{}
	switch {
	case ok:
		if missed, last = s.config.Times.Between(l.Anchor, l.Seen, now, timesMax); missed > 0 {
			l.Seen = last
		}
	default:
		l.Anchor, l.Seen = now, now
		if s.config.Times.Every() > 0 {
			s.forced = now // the run itself is noted at once
		} else if err := s.save(); err != nil { // from here on times can be missed
			return false, err
		}
	}
	resume = l.Last != nil && l.Last.Ended.IsZero()
	switch {
	case once && !resume:
		s.forced = now
	case s.config.CatchUp && missed > 0:
		missed, s.forced = missed-1, last
	}
	if l.Missed += uint64(missed); missed > 0 {
		s.log.Warn("runs were missed while cdcd was not there", "missed", missed, "next", s.next())
	}
	return resume, nil
}

// next returns when the next run is due. The caller holds mu.
func (s *scheduler) next() time.Time {
	if !s.forced.IsZero() {
		return s.forced
	}
	return s.config.Times.Next(s.ledger.Anchor, s.ledger.Seen)
}

// left returns how long it is until the next time that is not dealt with, but
// not more than clockEvery.
func (s *scheduler) left() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.config.Times.Next(s.ledger.Anchor, s.ledger.Seen)
	if next.IsZero() { // a calendar without one
		return clockEvery
	}
	return min(max(0, next.Sub(s.now())), clockEvery)
}

// wait returns the time of the run that is due, once one is. Where the machine
// slept over several, it is the last of them. ok is false when ctx ended.
func (s *scheduler) wait(ctx context.Context) (due time.Time, ok bool) {
	for {
		if due, ok := s.take(); ok {
			return due, ctx.Err() == nil
		}
		t := time.NewTimer(s.left())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return time.Time{}, false
		}
	}
}

func (s *scheduler) take() (due time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due = s.forced; !due.IsZero() {
		s.forced = time.Time{}
		return due, true
	}
	l := &s.ledger
	n, due := s.config.Times.Between(l.Anchor, l.Seen, s.now().UTC(), timesMax)
	if n == 0 {
		return due, false
	}
	l.Seen = due
	l.Missed += uint64(n - 1)
	return due, true
}

// begin notes a new run.
func (s *scheduler) begin(due time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &lastRun{Number: 1, Due: due.UTC(), Began: s.now().UTC()}
	if before := s.ledger.Last; before != nil {
		last.Number = before.Number + 1
	}
	s.ledger.Last = last
	return s.save()
}

// save makes the ledger durable. The caller holds mu.
func (s *scheduler) save() error {
	record, err := json.Marshal(&s.ledger)
	if err != nil {
		return err
	}
	return s.keep.RecordRuns(record)
}

// watch has the run done, and deals with what is due meanwhile.
func (s *scheduler) watch(ctx context.Context, do func(context.Context, *pipeline.RunSpec) outcome) (o outcome, err error) {
	s.mu.Lock()
	spec := &pipeline.RunSpec{Number: s.ledger.Last.Number, Due: s.ledger.Last.Due, Began: s.claimed}
	s.running, s.since = true, s.now()
	s.mu.Unlock()
	done := make(chan outcome, 1)
	go func() { done <- do(ctx, spec) }()
	for {
		t := time.NewTimer(s.left())
		select {
		case o = <-done:
			t.Stop()
			return o, err
		case <-t.C:
			if serr := s.overlap(); serr != nil {
				err = serr // the state is broken, which ends the run, too
			}
		}
	}
}

// claimed notes which run it is by what the sink has.
func (s *scheduler) claimed(r cdc.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.ledger.Last
	if last.Number == r.Number {
		return nil
	}
	last.Number, last.Due, last.Began = r.Number, r.DueAt(), r.BeganAt()
	return s.save()
}

// overlap deals with times that are due while a run goes.
func (s *scheduler) overlap() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.ledger
	n, last := s.config.Times.Between(l.Anchor, l.Seen, s.now().UTC(), timesMax)
	if n == 0 {
		return nil
	}
	skipped := n
	if s.config.Overlap == config.OverlapWait {
		if s.forced.IsZero() {
			skipped--
		}
		s.forced = last
	}
	l.Seen, l.Skipped = last, l.Skipped+uint64(skipped)
	s.log.Warn("a run is due while the one before still goes", "run", l.Last.Number, "due", last, "overlap", string(s.config.Overlap), "skipped", l.Skipped)
	return s.save()
}

// end notes how a run ended, and tells it.
func (s *scheduler) end(o outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, last := &s.ledger, s.ledger.Last
	s.running, s.since = false, s.now()
	last.Ended, last.Messages = s.now().UTC(), o.RunMessages
	if o.Source.Snapshot != nil {
		last.Rows = o.Source.Snapshot.Rows
	}
	about := []any{"run", last.Number, "due", last.Due, "began", last.Began, "took", last.Ended.Sub(last.Began), "rows", last.Rows,
		"messages", last.Messages, "next", s.next()}
	if o.err == nil {
		l.OK++
		s.log.Info("run ended", about...)
		return s.save()
	}
	f := fault.Of(o.err)
	l.Failed++
	last.Code, last.Reason = f.Code, o.err.Error()
	s.log.Error("run failed", append(about, "error", o.err, "hint", f.Hint)...)
	return s.save()
}

// began returns since when a run goes, or none.
func (s *scheduler) began() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since
}

// status returns what is known of the runs.
func (s *scheduler) status() *telemetry.Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.ledger
	t := &telemetry.Schedule{At: s.config.Times.String(), Timezone: s.config.Timezone, Running: s.running,
		OK: l.OK, Failed: l.Failed, Skipped: l.Skipped, Missed: l.Missed}
	if !l.Anchor.IsZero() {
		next := s.next()
		t.Next = &next
	}
	if last := l.Last; last != nil {
		t.Last = &telemetry.Run{Run: last.Number, Due: last.Due, Began: last.Began, Result: telemetry.RunGoes, Rows: last.Rows, Messages: last.Messages,
			Code: last.Code, Reason: last.Reason}
		if !last.Ended.IsZero() {
			ended := last.Ended
			t.Last.Ended, t.Last.TookSeconds = &ended, ended.Sub(last.Began).Seconds()
			if t.Last.Result = telemetry.RunOK; last.Code != "" {
				t.Last.Result = telemetry.RunFailed
			}
		}
	}
	return t
}
