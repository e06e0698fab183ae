package file

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/lines"
	"github.com/cdcd-io/cdcd/sdk"
)

// keepEvery is how often closed files are looked over, beside each time that one
// is closed.
const keepEvery = time.Minute

// Sink writes one pipeline's messages to files. It implements sink.Sink and
// sink.Audited.
type Sink struct {
	*lines.Sink
	t *target

	mu    sync.Mutex // guards what follows
	stop  func()     // ends the housekeeping and waits for it; nil when there is none
	fault *fault.Fault
}

// Open returns a Sink; the file is opened by Claim.
func Open(cfg Config, env sink.Env) *Sink { return open(cfg, env, osDisk{}) }

func open(cfg Config, env sink.Env, d disk) *Sink {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	t := &target{cfg: cfg, env: env, disk: d, closed: make(chan struct{}, 1)}
	return &Sink{t: t, Sink: lines.NewBatched(t, lines.Batching{Every: cfg.Sync.Every.Std(), Bytes: int(cfg.Sync.Bytes)})}
}

// Claim implements sink.Sink. It starts the housekeeping, which ends with the
// next Claim or Close.
func (s *Sink) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	s.endHousekeeping()
	a, err := s.Sink.Claim(ctx, hint, initial)
	if err != nil || s.t.cfg.Rotate == (Rotate{}) {
		return a, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.keepHouse(run)
	}()
	s.mu.Lock()
	s.stop = func() { cancel(); <-done }
	s.mu.Unlock()
	return a, nil
}

// Close implements sink.Sink.
func (s *Sink) Close(ctx context.Context) error {
	s.endHousekeeping()
	return s.Sink.Close(ctx)
}

func (s *Sink) endHousekeeping() {
	s.mu.Lock()
	stop := s.stop
	s.stop = nil
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// keepHouse closes the file when it is old, packs closed files and removes those
// that need not be kept, until ctx ends.
func (s *Sink) keepHouse(ctx context.Context) {
	every := keepEvery
	if age := s.t.cfg.Rotate.Age.Std(); age > 0 {
		every = min(every, max(age/4, 100*time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); ctx.Err() == nil {
			s.note(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.t.closed:
		case <-tick.C:
			if err := s.Do(s.t.rotateOld); err != nil {
				s.t.env.Log.Warn("the file could not be closed; the pipeline says why", "file", s.t.cfg.Path, "error", err)
			}
		}
	}
}

// tidy packs and removes closed files. The open one and the journal it leaves
// alone.
func (s *Sink) tidy(ctx context.Context) error {
	t := s.t
	if err := t.removeParts(); err != nil {
		return err
	}
	files, err := t.closedFiles()
	if err != nil {
		return err
	}
	err = t.removeSurplus(files) // first: packing takes room
	if packEnd(t.cfg.Compress) == "" {
		return err
	}
	if files, err2 := t.closedFiles(); err2 == nil {
		for _, f := range files {
			if !f.packed {
				err = errors.Join(err, t.pack(ctx, f))
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return err
}

// note keeps what went wrong with closed files for Audit, and says it once.
func (s *Sink) note(err error) {
	var f *fault.Fault
	if err != nil {
		f = fault.New(fault.Environment, CodeHousekeeping, s.t.cfg.Path,
			"let the user that runs cdcd write to the folder, and give its disk room; delivery goes on meanwhile", "closed files can't be packed or removed: %w", err)
	}
	s.mu.Lock()
	s.fault = f
	s.mu.Unlock()
}

// Audit implements sink.Audited: how much there is in files, and how much there
// may be.
func (s *Sink) Audit(context.Context) (sink.Health, error) {
	t := s.t
	closed, err := t.closedFiles()
	if err != nil {
		return sink.Health{}, t.explain(err)
	}
	h := sink.Health{Name: t.cfg.Path, Current: 1, Replicas: 1}
	if info, err := t.disk.Stat(t.cfg.Path); err == nil {
		h.Bytes = uint64(info.Size())
	}
	for _, f := range closed {
		h.Bytes += uint64(f.bytes)
	}
	if free, err := room(t.dir()); err == nil {
		h.BytesMax = h.Bytes + free
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		h.Alarms = []*fault.Fault{s.fault}
	}
	return h, nil
}
