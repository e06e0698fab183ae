package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// State is what a pipeline is doing.
type State string

// The states of a pipeline.
const (
	StateStarting  State = "starting"
	StateStreaming State = "streaming"
	StatePaused    State = "paused"   // until somebody resumes it
	StateStandby   State = "standby"  // another writer has the stream
	StateRetrying  State = "retrying" // Reason says what it waits for
	StateHalted    State = "halted"   // Fault says why; a person must act
	StateStopped   State = "stopped"  // asked to, everything in flight is settled
	StateEnded     State = "ended"    // all that was asked for is delivered
)

// Status is a pipeline's account of itself.
type Status struct {
	Pipeline string
	State    State
	Reason   string // of a state that is not StateStreaming
	Since    time.Time
	Fault    *fault.Fault // the last one, also when it has passed

	RowsIn, RowsOut, RowsDropped, RowsDead, RowsSkipped uint64 // over all runs, but for RowsSkipped
	Messages, Bytes, Batches                            uint64 // published since the process started
	Restarts                                            uint64 // retries since the process started

	Position   sdk.Position // exact, delivered up to here
	LogPos     string       // the same for people
	CommitTime time.Time    // of the last transaction that was confirmed
	// Lag is how old the oldest change is that the sink was given and has not
	// confirmed; without one, how long after its commit the last was confirmed.
	// A server whose clock is ahead makes it negative.
	Lag        time.Duration
	Delivery   Delivery
	Checkpoint time.Time // when the last checkpoint became durable

	GuestBytes  int64 // linear memory of the steps
	BudgetBytes int64 // held by batches in flight
	DeadLetters int   // kept
	// Replays is how many replays of dead letters the sink has confirmed, over all runs.
	Replays uint64
	// Gaps are what the source could not deliver, over all runs, oldest first.
	Gaps     []cdc.Gap
	Receipts []Receipt
	Source   cdc.Status
	// Run is the run that is done, as it began, and RunMessages the messages of rows
	// that the sink has confirmed of it; zero without Spec.Run, and before the claim.
	Run         cdc.Run
	RunMessages uint64
}

// counters are written by one goroutine each and read by any.
type counters struct {
	rowsIn, rowsOut, dropped, dead, skipped atomic.Uint64
	messages, bytes, batches, restarts      atomic.Uint64
	waiting                                 atomic.Int64 // commit time, in microseconds, of the oldest change that the sink has not confirmed; 0 for none
}

// condition is the part of the status that changes as a whole.
type condition struct {
	mu         sync.Mutex
	state      State
	reason     string
	since      time.Time
	fault      *fault.Fault
	done       state.Checkpoint // confirmed, durable or not
	lag        time.Duration    // of the last that was confirmed
	delivered  deliveries
	checkpoint time.Time
	receipts   []Receipt
	steps      []Step
	run        cdc.Run
}

func (p *Pipeline) set(s State, reason string, err error) {
	now := p.spec.Now()
	c := &p.cond
	c.mu.Lock()
	if c.state != s || c.reason != reason {
		c.state, c.reason, c.since = s, reason, now
	}
	if err != nil {
		c.fault = fault.Of(err)
	}
	c.mu.Unlock()
	attrs := []any{"state", string(s)}
	if reason != "" {
		attrs = append(attrs, "reason", reason)
	}
	if err != nil && fault.Of(err).Hint != "" {
		attrs = append(attrs, "hint", fault.Of(err).Hint)
	}
	p.log.Info("pipeline", attrs...)
}

// Status returns the pipeline's account of itself; at any time, from any
// goroutine.
func (p *Pipeline) Status() Status {
	s := Status{Pipeline: p.spec.Name,
		RowsIn: p.count.rowsIn.Load(), RowsOut: p.count.rowsOut.Load(), RowsDropped: p.count.dropped.Load(),
		RowsDead: p.count.dead.Load(), RowsSkipped: p.count.skipped.Load(), Messages: p.count.messages.Load(),
		Bytes: p.count.bytes.Load(), Batches: p.count.batches.Load(), Restarts: p.count.restarts.Load(),
		DeadLetters: p.spec.State.DeadLetters(), Source: p.spec.Source.Status()}
	s.Gaps = p.gapsKept()
	if p.spec.Share != nil {
		s.BudgetBytes = p.spec.Share.Used()
	}
	if p.spec.Chunks != nil {
		s.BudgetBytes += p.spec.Chunks.Used()
	}
	c := &p.cond
	c.mu.Lock()
	defer c.mu.Unlock()
	s.State, s.Reason, s.Since, s.Fault, s.Lag = c.state, c.reason, c.since, c.fault, c.lag
	s.Replays = c.done.Replays
	s.Position, s.LogPos, s.Checkpoint, s.Receipts = c.done.Position, c.done.LogPos, c.checkpoint, c.receipts
	if s.Run = c.run; s.Run.Number > 0 {
		s.RunMessages = max(c.done.Messages, s.Run.Messages) - s.Run.Messages
	}
	s.Delivery = c.delivered.delivery()
	if at := p.count.waiting.Load(); at != 0 {
		s.Lag = p.spec.Now().Sub(time.UnixMicro(at))
	}
	if c.done.CommitTime != 0 {
		s.CommitTime = time.UnixMicro(c.done.CommitTime).UTC()
	}
	for _, st := range c.steps {
		s.GuestBytes += st.Memory()
	}
	return s
}

// gapsKept reads the ledger. A record that can't be read is shown as it is.
func (p *Pipeline) gapsKept() (all []cdc.Gap) {
	for _, record := range p.spec.State.Gaps().List() {
		g, err := cdc.DecodeGap(record)
		if err != nil {
			g = cdc.Gap{Cause: "unreadable", Detail: string(record)}
		}
		all = append(all, g)
	}
	slices.SortStableFunc(all, func(a, b cdc.Gap) int { return a.Time.Compare(b.Time) })
	return all
}
