package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// Codes of the faults that pipelines make themselves.
const (
	CodeRowRefused    = "row_refused"
	CodeStepBroken    = "step_broken"
	CodeConfigChanged = "config_changed_mid_transaction"
	CodeSourceStopped = "source_stopped"
	CodeSinkBroken    = "sink_broken"
	CodeStateMissing  = "kv_missing"
	CodeNotRerun      = "schedule_unsupported"

	CodeHistoryUnreadable = "history_unreadable"
)

const (
	retryMin     = 100 * time.Millisecond
	retryMax     = 10 * time.Second
	retryFullMax = 2 * time.Second // of a sink that is full: it answers, and may have room at any time
	standbyWait  = 15 * time.Second
	commitEvery  = 200 * time.Millisecond
	heartbeatGap = 10 * time.Second
	heartbeatLog = 64 << 20 // bytes of log

	// retryDeniedMin is of a sink that refuses the user: each try leaves a marker
	// there, and somebody has to act.
	retryDeniedMin = 2 * time.Second

	// DrainDefault bounds how long a stop waits for what is in flight.
	DrainDefault = 10 * time.Second
)

// Until says when a pipeline ends by itself.
type Until string

// When a pipeline ends by itself. A source whose log ends always ends it.
const (
	Forever  Until = ""
	CaughtUp Until = "caught-up" // delivered all that the log held when Run began
	EOF      Until = "eof"       // the log ended; for sources whose log ends
	// Finished: the transaction inside which delivery stopped is delivered, and
	// nothing behind it begun.
	Finished Until = "finished"
)

// Spec is what a pipeline is made of. The pipeline closes Source and Sink.
type Spec struct {
	Name       string
	Source     cdc.Source
	SourceKind string // "mysql"
	Sink       sink.Sink
	Format     format.Format
	Subject    *subject.Template
	// Steps opens the steps anew for each attempt; nil for none.
	Steps func(ctx context.Context) ([]Step, error)
	// Stateful says that steps keep values in the state, which must then be that
	// of what the sink has.
	Stateful bool
	// Config identifies table filter, step configuration and modules.
	Config state.Steps
	State  *state.Pipeline
	Share  *budget.Share // for the status; nil for none
	Chunks *budget.Share // for the status: cdc.Env.Chunks; nil for none
	Log    *slog.Logger
	Now    func() time.Time
	Until  Until
	Run    *RunSpec      // for a source that is run again and again; nil for others
	Drain  time.Duration // 0 for DrainDefault
}

// Pipeline is one source, its steps and one sink. See Run.
type Pipeline struct {
	spec  Spec
	log   *slog.Logger
	gaps  gaps // nil outside tests
	count counters
	cond  condition

	mu      sync.Mutex
	paused  bool
	changed chan struct{} // closed and replaced when paused changes
	orders  chan *replayOrder
	head    *sdk.Position // for CaughtUp, taken by the first attempt
	loaded  bool          // counters have been taken from the checkpoint
}

// New returns a Pipeline. It starts nothing.
func New(s Spec) *Pipeline {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Drain == 0 {
		s.Drain = DrainDefault
	}
	p := &Pipeline{spec: s, log: s.Log.With("pipeline", s.Name), changed: make(chan struct{}), orders: make(chan *replayOrder)}
	p.cond.state, p.cond.since = StateStarting, s.Now()
	return p
}

// Name returns the pipeline's name.
func (p *Pipeline) Name() string { return p.spec.Name }

// Pause lets what is in flight finish and stops reading until Resume.
func (p *Pipeline) Pause() { p.setPaused(true) }

// Resume ends a pause.
func (p *Pipeline) Resume() { p.setPaused(false) }

func (p *Pipeline) setPaused(v bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != v {
		p.paused = v
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *Pipeline) pausedNow() (paused bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused, p.changed
}

// Run moves rows until ctx ends, the pipeline is done (Spec.Until, a log that
// ends) or a fault needs a person. It returns nil in the first two cases, after
// what was in flight is delivered and checkpointed, or Spec.Drain has passed.
// Retryable faults and a fenced sink start over from Claim. Run may be called
// once; source and sink are closed when it returns.
func (p *Pipeline) Run(ctx context.Context) error {
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.spec.Drain)
		defer cancel()
		if cerr := errors.Join(p.spec.Source.Close(), p.spec.Sink.Close(end)); cerr != nil {
			p.log.Warn("closing source and sink", "error", cerr)
		}
	}()
	wait := retryMin
	for {
		if !p.awaitUnpaused(ctx) {
			p.set(StateStopped, "asked to stop", nil)
			return nil
		}
		p.set(StateStarting, "", nil)
		outcome, err := p.attempt(ctx)
		if outcome.progressed {
			wait = retryMin
		}
		class := fault.Of(err).Class
		switch {
		case err == nil && outcome.done:
			p.set(StateEnded, outcome.reason, nil)
			return nil
		case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)): // stopped on the way: the loop's head says so
		case err != nil && class != fault.Retryable && !sink.IsFenced(err):
			p.set(StateHalted, err.Error(), err)
			return err
		case ctx.Err() != nil, err == nil: // stopped or paused: the loop's head decides
		case sink.IsFenced(err):
			p.set(StateStandby, err.Error(), err)
			p.count.restarts.Add(1)
			p.sleep(ctx, standbyWait)
		default:
			p.set(StateRetrying, err.Error(), err)
			p.count.restarts.Add(1)
			if fault.HasCode(err, sink.CodeStreamFull) {
				wait = min(wait, retryFullMax)
			}
			if fault.HasCode(err, sink.CodeDenied) {
				wait = max(wait, retryDeniedMin)
			}
			p.sleep(ctx, wait)
			wait = min(2*wait, retryMax)
		}
	}
}

// awaitUnpaused returns false when ctx ended.
func (p *Pipeline) awaitUnpaused(ctx context.Context) bool {
	for {
		paused, changed := p.pausedNow()
		if ctx.Err() != nil || !paused {
			return ctx.Err() == nil
		}
		p.set(StatePaused, "somebody paused it", nil)
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// sleep waits; less when ctx ends or somebody pauses the pipeline.
func (p *Pipeline) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	_, changed := p.pausedNow()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
	}
}
