package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/schedule"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// kept is a record in memory.
type kept struct{ record json.RawMessage }

func (k *kept) LoadRuns() (json.RawMessage, bool, error) { return k.record, k.record != nil, nil }

func (k *kept) RecordRuns(r json.RawMessage) error {
	k.record = r
	return nil
}

// rig runs a scheduler whose runs take as long as they are told to, and notes
// them as "number due began", in seconds since the rig was made.
type rig struct {
	t     *testing.T
	zero  time.Time
	kept  kept
	conf  config.Schedule
	takes func(number uint64) time.Duration
	fails func(number uint64) error
	goes  int // runs that go now
	runs  [][3]int
}

func newRig(t *testing.T, at string, takes time.Duration) *rig {
	t.Helper()
	times, err := schedule.Parse(at, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, zero: time.Now(), conf: config.Schedule{Times: times, Overlap: config.OverlapSkip},
		takes: func(uint64) time.Duration { return takes }, fails: func(uint64) error { return nil }}
}

func (r *rig) do(ctx context.Context, spec *pipeline.RunSpec) outcome {
	if r.goes++; r.goes > 1 {
		r.t.Errorf("%d runs at once", r.goes)
	}
	defer func() { r.goes-- }()
	r.runs = append(r.runs, [3]int{int(spec.Number), r.seconds(spec.Due), r.seconds(time.Now())})
	select {
	case <-time.After(r.takes(spec.Number)):
		return outcome{err: r.fails(spec.Number), Status: pipeline.Status{State: pipeline.StateEnded, RunMessages: 7}}
	case <-ctx.Done():
		return outcome{Status: pipeline.Status{State: pipeline.StateStopped}}
	}
}

func (r *rig) seconds(t time.Time) int { return int(t.Sub(r.zero).Round(time.Second) / time.Second) }

// life is one life of the daemon.
func (r *rig) life(d time.Duration) *scheduler {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	s := &scheduler{config: r.conf, keep: &r.kept, log: slog.New(slog.DiscardHandler), now: time.Now}
	if err := s.run(ctx, false, r.do); err != nil {
		r.t.Error(err)
	}
	return s
}

func (r *rig) want(s *scheduler, runs [][3]int, ok, failed, skipped, missed uint64) {
	r.t.Helper()
	if d := cmp.Diff(runs, r.runs); d != "" {
		r.t.Errorf("number, due, began:\n%s", d)
	}
	st := s.status()
	if got, want := [4]uint64{st.OK, st.Failed, st.Skipped, st.Missed}, [4]uint64{ok, failed, skipped, missed}; got != want {
		r.t.Errorf("ok, failed, skipped, missed: %v, want %v", got, want)
	}
}

func TestScheduleEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", 3*time.Second)
		s := r.life(35 * time.Second)
		r.want(s, [][3]int{{1, 0, 0}, {2, 10, 10}, {3, 20, 20}, {4, 30, 30}}, 4, 0, 0, 0)
		if st := s.status(); r.seconds(*st.Next) != 40 || st.Last.Messages != 7 || st.Last.TookSeconds != 3 || st.Last.Result != "ok" || st.Running {
			t.Errorf("%+v, %+v", st, st.Last)
		}
	})
}

func TestScheduleFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at midnight
		r := newRig(t, "2,5 * * * *", time.Second)
		s := r.life(time.Hour)
		r.want(s, [][3]int{{1, 120, 120}, {2, 300, 300}}, 2, 0, 0, 0)
	})
}

// A run that still goes: the due ones are skipped, or the last of them waits.
func TestScheduleOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", 25*time.Second)
		r.want(r.life(65*time.Second), [][3]int{{1, 0, 0}, {2, 30, 30}, {3, 60, 60}}, 2, 0, 4, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", 25*time.Second)
		r.conf.Overlap = config.OverlapWait
		r.want(r.life(65*time.Second), [][3]int{{1, 0, 0}, {2, 20, 25}, {3, 50, 50}}, 2, 0, 3, 0)
	})
}

// Runs that were due while cdcd was not there are missed, or one is caught up with.
func TestScheduleMissed(t *testing.T) {
	for _, catchUp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, "@every 10s", time.Second)
			r.conf.CatchUp = catchUp
			r.life(5 * time.Second)
			time.Sleep(40 * time.Second) // 45
			runs, ok, missed := [][3]int{{1, 0, 0}, {2, 50, 50}}, uint64(2), uint64(4)
			if catchUp {
				runs, ok, missed = [][3]int{{1, 0, 0}, {2, 40, 45}, {3, 50, 50}}, 3, 3
			}
			r.want(r.life(10*time.Second), runs, ok, 0, 0, missed)
		})
	}
}

// So is the first of all, where cdcd was started and stopped before it was due.
func TestScheduleMissedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at midnight
		r := newRig(t, "2 * * * *", time.Second)
		r.conf.CatchUp = true
		r.life(time.Minute)
		time.Sleep(2 * time.Minute)
		r.want(r.life(time.Minute), [][3]int{{1, 120, 180}}, 1, 0, 0, 0)
	})
}

// A run that was stopped is gone on with at once, under its number, and then the
// schedule goes on.
func TestScheduleResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", 6*time.Second)
		r.life(13 * time.Second)
		time.Sleep(4 * time.Second)
		s := r.life(20 * time.Second)
		r.want(s, [][3]int{{1, 0, 0}, {2, 10, 10}, {2, 10, 17}, {3, 30, 30}}, 3, 0, 1, 0)
		if st := s.status(); st.Last.TookSeconds != 6 {
			t.Errorf("%+v", st.Last)
		}
	})
}

// A run that fails is on record; the next one comes.
func TestScheduleFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", time.Second)
		r.fails = func(n uint64) error {
			if n == 2 {
				return fault.New(fault.Poison, "row_refused", "shop", "mend it", "a row")
			}
			return nil
		}
		s := r.life(15 * time.Second)
		r.want(s, [][3]int{{1, 0, 0}, {2, 10, 10}}, 1, 1, 0, 0)
		if last := s.status().Last; last.Result != "failed" || last.Code != "row_refused" || last.Reason == "" {
			t.Errorf("%+v", last)
		}
		s = r.life(10 * time.Second)
		r.want(s, [][3]int{{1, 0, 0}, {2, 10, 10}, {3, 20, 20}}, 2, 1, 0, 0)
		if last := s.status().Last; last.Result != "ok" || last.Code != "" {
			t.Errorf("%+v", last)
		}
	})
}

// A ledger that is behind takes over the number of the run that the sink has.
func TestScheduleTakesOverTheNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", time.Second)
		s := &scheduler{config: r.conf, keep: &r.kept, log: slog.New(slog.DiscardHandler), now: time.Now}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := s.run(ctx, false, func(ctx context.Context, spec *pipeline.RunSpec) outcome {
			return outcome{err: spec.Began(cdc.Run{Number: spec.Number + 40, Due: spec.Due.UnixMilli()}), Status: pipeline.Status{State: pipeline.StateEnded}}
		}); err != nil {
			t.Fatal(err)
		}
		if last := s.status().Last; last.Run != 82 || s.status().OK != 2 {
			t.Errorf("%+v", last)
		}
	})
}

// With once there is one run, at once, and its error.
func TestScheduleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "0 0 1 1 *", time.Second)
		broken := errors.New("broken")
		r.fails = func(uint64) error { return broken }
		s := &scheduler{config: r.conf, keep: &r.kept, log: slog.New(slog.DiscardHandler), now: time.Now}
		if err := s.run(t.Context(), true, r.do); !errors.Is(err, broken) {
			t.Error(err)
		}
		r.want(s, [][3]int{{1, 0, 0}}, 0, 1, 0, 0)
	})
}

// A machine that sleeps over several times does the last of them, late.
func TestScheduleAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "@every 10s", time.Second)
		slept := time.Duration(0)
		s := &scheduler{config: r.conf, keep: &r.kept, log: slog.New(slog.DiscardHandler), now: func() time.Time { return time.Now().Add(slept) }}
		time.AfterFunc(5*time.Second, func() { slept = 30 * time.Second }) // 35 by the clock
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := s.run(ctx, false, r.do); err != nil {
			t.Error(err)
		}
		r.want(s, [][3]int{{1, 0, 0}, {2, 40, 10}}, 2, 0, 0, 3)
	})
}
