package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

const (
	// batchesQueued are read ahead; the byte budget bounds them further.
	batchesQueued = 4
	// flightsQueued are batches between publish and checkpoint; the sink's window
	// bounds them further.
	flightsQueued = 1024
)

// errDrain ends a stop that took longer than Spec.Drain.
var errDrain = errors.New("what was in flight was not confirmed in time; the next start finds out")

// outcome is what became of an attempt that ended without an error.
type outcome struct {
	progressed bool // the sink confirmed something
	done       bool // all that was asked for is delivered
	reason     string
}

// attempt is one try at running the pipeline, from the sink's claim to the
// first error.
//
//	reader ──batches──► processor ──sent──► waiter ──confirmed──► committer
type attempt struct {
	p         *Pipeline
	steps     []Step
	start     cdc.Start
	batches   chan *cdc.Batch
	sent      chan *flight
	confirmed chan *flight

	stopReading context.CancelFunc
	startDrain  func() // gives what is in flight Spec.Drain to finish

	// The reader's, good after all goroutines have ended.
	logEnded bool
	readErr  error

	// The processor's.
	render  *renderer
	changes state.Changes
	end     sdk.Position // of the last batch
	endLog  string
	named   sdk.Position // the last position that a message carried to the sink
	unnamed int64        // bytes of log since then
	seq     uint64
	data    uint64   // data messages that the sink has when it has all that was given to it
	open    bool     // the last batch that changed connectors' values ended inside a transaction
	written []origin // what connectors changed in the batch in hand

	// The committer's, good after all goroutines have ended.
	done          state.Checkpoint
	dirty         bool // done is not durable
	confirmedOnce bool // a group of this attempt
	caughtUp      bool
}

// attempt runs the pipeline until something ends it.
func (p *Pipeline) attempt(ctx context.Context) (out outcome, err error) {
	if err := p.spec.Source.Preflight(ctx); err != nil {
		return out, err
	}
	a := &attempt{p: p, batches: make(chan *cdc.Batch, batchesQueued),
		sent: make(chan *flight, flightsQueued), confirmed: make(chan *flight, flightsQueued)}
	defer a.closeSteps(ctx)
	if p.spec.Steps != nil {
		if a.steps, err = p.spec.Steps(ctx); err != nil {
			return out, err
		}
	}
	p.cond.mu.Lock()
	p.cond.steps = a.steps
	p.cond.mu.Unlock()
	if done, err := a.claim(ctx); err != nil || done {
		return outcome{done: done, reason: "caught up"}, err
	}
	err = a.run(ctx)
	out = outcome{progressed: a.confirmedOnce, done: a.caughtUp || a.logEnded, reason: "the log ended"}
	if a.caughtUp {
		out.reason = "caught up"
	}
	if errors.Is(err, errDrain) {
		p.log.Warn("stopped early", "detail", errDrain.Error())
		return outcome{progressed: out.progressed}, nil
	}
	return out, err
}

// claim makes this the one writer and finds out where to begin. done says that
// there is nothing to do.
func (a *attempt) claim(ctx context.Context) (done bool, err error) {
	p := a.p
	if err := p.takeHead(ctx); err != nil {
		return false, err
	}
	last, known, err := p.spec.State.Load()
	if err != nil {
		return false, err
	}
	hint := sink.Hint{Token: last.Token, Position: last.Position, Exact: last.Exact, Messages: last.Messages,
		Claiming: p.spec.State.Claiming}
	anchor, err := p.spec.Sink.Claim(ctx, hint, p.spec.Source.Initial)
	if err != nil {
		return false, err
	}
	if err := a.checkConfig(anchor); err != nil {
		return false, err
	}
	if err := a.rollBack(anchor, last, known); err != nil {
		return false, err
	}
	if err := a.learn(ctx, last.Token); err != nil {
		return false, err
	}
	if !known && !anchor.Found { // a sink that writes no marker knows nothing of where it began
		if err := p.spec.State.Commit(state.Checkpoint{Position: anchor.Base, Exact: true, Time: p.spec.Now()}); err != nil {
			return false, err
		}
	}
	a.start = cdc.Start{Base: anchor.Base, Tx: anchor.At.Tx, Rows: anchor.At.Row}
	a.render = newRenderer(&p.spec, anchor)
	a.end, a.named = anchor.Base, anchor.Base
	a.done = last
	a.done.Position = anchor.Base
	a.done.Messages = a.data
	a.done.Changes, a.open = p.spec.State.Changed()
	if known && !p.loaded {
		p.count.rowsIn.Add(last.RowsIn)
		p.count.rowsOut.Add(last.RowsOut)
		p.count.dropped.Add(last.Dropped)
		p.count.dead.Add(last.Dead)
	}
	p.loaded = true
	p.cond.mu.Lock()
	p.cond.done = a.done
	p.cond.mu.Unlock()
	if anchor.Lost > 0 {
		p.log.Warn("the sink lost messages that were confirmed; they are sent again", "code", sink.CodeStreamRollback, "messages", anchor.Lost)
	}
	p.log.Info("claimed", "epoch", anchor.Epoch, "base", anchor.Base, "at", anchor.At.String(), "found", anchor.Found)
	if p.head != nil && anchor.At.Tx == "" {
		return p.spec.Source.Covers(anchor.Base, *p.head)
	}
	return false, nil
}

// takeHead notes, once, how far the log reaches for CaughtUp.
func (p *Pipeline) takeHead(ctx context.Context) error {
	if p.spec.Until != CaughtUp || p.head != nil {
		return nil
	}
	head, err := p.spec.Source.Head(ctx)
	if err == nil {
		p.head = &head
	}
	return err
}

// checkConfig refuses to finish a transaction with other steps than it was
// begun with, and records those that are used from here on.
func (a *attempt) checkConfig(anchor sink.Anchor) error {
	p := a.p
	last, known, err := p.spec.State.LoadSteps()
	if err != nil {
		return err
	}
	before := last.Fingerprint
	if anchor.Fingerprint != "" { // the sink was there when the message was written
		before, known = anchor.Fingerprint, true
	}
	now := p.spec.Config.Fingerprint
	if known && before != now && anchor.At.Tx != "" && !anchor.Complete {
		return fault.New(fault.Config, CodeConfigChanged, p.spec.Name,
			"run with the tables, steps and modules of the last run until it has stopped in order, then change them",
			"delivery stopped at %s, and the configuration has changed since", anchor.At)
	}
	if last.Fingerprint == now {
		return nil
	}
	return p.spec.State.RecordSteps(p.spec.Config)
}

// run moves rows until ctx ends, the work is done, or something fails; then it
// lets what is in flight finish, within Spec.Drain.
func (a *attempt) run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	g, work := errgroup.WithContext(work)
	reading, stop := context.WithCancel(work)
	defer stop()
	a.stopReading = stop

	ended := make(chan struct{})
	drain := make(chan struct{}, 1)
	a.startDrain = func() {
		select {
		case drain <- struct{}{}:
		default:
		}
	}
	watched := make(chan struct{})
	go func() { // ends with run
		defer close(watched)
		a.watch(ctx, ended, drain, cancel)
	}()
	a.p.set(StateStreaming, "", nil)
	g.Go(func() error { return a.read(reading) })
	g.Go(func() error { return a.process(work) })
	g.Go(func() error { return a.wait(work) })
	g.Go(func() error { return a.commit(work) })
	err := g.Wait()
	close(ended)
	<-watched
	a.abandon()
	if err == nil {
		err = a.readErr
	}
	return err
}

// watch stops the reader when ctx ends or somebody pauses the pipeline, and
// bounds the draining.
func (a *attempt) watch(ctx context.Context, ended, drain <-chan struct{}, cancel context.CancelCauseFunc) {
	paused, changed := a.p.pausedNow()
	for !paused {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			paused = true
		case <-drain:
			paused = true
		case <-changed:
			paused, changed = a.p.pausedNow()
		}
	}
	a.stopReading()
	t := time.NewTimer(a.p.spec.Drain)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		cancel(errDrain)
	}
}

// abandon gives back what an attempt that failed still held.
func (a *attempt) abandon() {
	for b := range a.batches {
		b.Release()
	}
	for f := range a.sent {
		f.release()
	}
	for f := range a.confirmed {
		f.release()
	}
}

// read runs the source. What it returns is kept for later, so that what was
// read before is delivered first.
func (a *attempt) read(ctx context.Context) error {
	defer close(a.batches)
	err := a.p.spec.Source.Run(ctx, a.start, func(ectx context.Context, b *cdc.Batch) error {
		select {
		case a.batches <- b:
			return nil
		case <-ctx.Done():
			b.Release()
			return context.Cause(ctx)
		case <-ectx.Done():
			b.Release()
			return context.Cause(ectx)
		}
	})
	switch {
	case errors.Is(err, io.EOF):
		a.logEnded = true
	case ctx.Err() != nil:
	case err == nil:
		err = fault.New(fault.Fatal, CodeSourceStopped, a.p.spec.Name, "this is a mistake in cdcd: please report it",
			"the source stopped without a reason")
		fallthrough
	default:
		a.readErr = err
		a.startDrain()
	}
	return nil
}

// wait receives the sink's confirmations, in order.
func (a *attempt) wait(ctx context.Context) error {
	defer close(a.confirmed)
	var pending []sink.Confirmed
	for f := range a.sent {
		if f.group != nil {
			a.p.count.waiting.Store(f.commitTime) // stays when this attempt fails: it is not confirmed
			for len(pending) == 0 {
				var err error
				if pending, err = a.p.spec.Sink.Wait(ctx); err != nil {
					f.release()
					return a.cause(ctx, err)
				}
			}
			if pending[0].Group != f.group {
				f.release()
				return fault.New(fault.Fatal, CodeSinkBroken, a.p.spec.Name, "this is a mistake in cdcd: please report it",
					"the sink confirmed another group than the next")
			}
			f.token = pending[0].Token
			pending = pending[1:]
			a.p.count.waiting.Store(0)
		}
		select {
		case a.confirmed <- f:
		case <-ctx.Done():
			f.release()
			return context.Cause(ctx)
		}
	}
	return nil
}

// commit writes checkpoints: at once after a pause, else a few per second, and
// at the end.
func (a *attempt) commit(ctx context.Context) error {
	var last time.Time
	timer := time.NewTimer(commitEvery)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case f, ok := <-a.confirmed:
			if !ok {
				return a.checkpoint()
			}
			a.settle(f)
			if err := a.checkHead(); err != nil {
				return err
			}
			since := time.Since(last)
			if since < commitEvery {
				timer.Reset(commitEvery - since)
				continue
			}
		case <-timer.C:
		}
		last = time.Now()
		timer.Stop()
		if err := a.checkpoint(); err != nil {
			return err
		}
	}
}

// checkHead ends reading once all that CaughtUp asks for is confirmed.
func (a *attempt) checkHead() error {
	if a.p.head == nil || a.caughtUp {
		return nil
	}
	ok, err := a.p.spec.Source.Covers(a.done.Position, *a.p.head)
	if ok {
		a.caughtUp = true
		a.stopReading()
	}
	return err
}

// cause prefers why the attempt was ended to what that did to a call.
func (a *attempt) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (a *attempt) closeSteps(ctx context.Context) {
	if len(a.steps) == 0 {
		return
	}
	p := a.p
	p.cond.mu.Lock()
	p.cond.steps = nil
	p.cond.mu.Unlock()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.spec.Drain)
	defer cancel()
	var receipts []Receipt
	for _, s := range a.steps {
		r, err := s.Close(end)
		receipt := Receipt{Step: s.Name(), Receipt: r}
		if err != nil {
			receipt.Error = err.Error()
			p.log.Error("a step did not end as it should", "step", s.Name(), "error", err)
		}
		p.log.Info("step ended", "step", s.Name(), "receipt", fmt.Sprint(r))
		receipts = append(receipts, receipt)
	}
	p.cond.mu.Lock()
	p.cond.receipts = receipts
	p.cond.mu.Unlock()
}
