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
	rerun     rerun // zero without Spec.Run
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
	data    uint64       // data messages that the sink has when it has all that was given to it
	open    bool         // the last batch that changed connectors' values ended inside a transaction
	written []origin     // what connectors changed in the batch in hand, and the rows that they refused
	order   *replayOrder // in hand, or the last one
	replays uint64       // number of the last replay that the sink has when it has all that was given to it
	keys    []uint64     // scratch of compare
	// unfinished is the place of a replayed row of which the sink has some of the
	// messages; nil for none.
	unfinished *sink.Place
	replay     *replay // nil unless the state is an earlier one than the sink's
	over       bool    // the transaction is delivered that Finished asks for

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
	out = outcome{progressed: a.confirmedOnce, done: a.caughtUp || a.logEnded || a.over, reason: "the log ended"}
	switch {
	case a.over:
		out.reason = "the transaction is delivered"
	case a.caughtUp:
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
	anchor, err := a.askSink(ctx, last)
	if err != nil {
		return false, err
	}
	if err := a.unknownReplays(anchor, last); err != nil {
		return false, err
	}
	delivered, err := a.behindCopied(&anchor)
	if err != nil {
		return false, err
	}
	if over, err := a.whichRun(anchor); err != nil || over {
		return over, err
	}
	again, err := a.restored(anchor, last)
	if err != nil {
		return false, err
	}
	if err := a.checkConfig(anchor, again); err != nil {
		return false, err
	}
	if err := a.learn(ctx, last.Token); err != nil {
		return false, err
	}
	if !again {
		err = a.rollBack(anchor, delivered, last, known)
	}
	if err != nil {
		return false, err
	}
	if anchor, last, err = a.move(ctx, anchor, last, again); err != nil {
		return false, err
	}
	if anchor, last, err = a.beginRun(ctx, anchor, last); err != nil {
		return false, err
	}
	if again {
		err = a.beginReplay(ctx, anchor, last)
	} else {
		err = a.begin(ctx, anchor, last)
	}
	if err != nil {
		return false, err
	}
	if !known && !anchor.Found { // a sink that writes no marker knows nothing of where it began
		if err := p.spec.State.Commit(state.Checkpoint{Position: anchor.Base, Exact: true, Time: p.spec.Now()}); err != nil {
			return false, err
		}
	}
	a.counted(last, known)
	if anchor.Lost > 0 {
		p.log.Warn("the sink lost messages that were confirmed; they are sent again", "code", sink.CodeStreamRollback, "messages", anchor.Lost)
	}
	p.log.Info("claimed", "epoch", anchor.Epoch, "base", anchor.Base, "at", anchor.At.String(), "found", anchor.Found)
	return a.nothingLeft(anchor, again)
}

// nothingLeft reports whether the sink has all that this run is for.
func (a *attempt) nothingLeft(anchor sink.Anchor, again bool) (bool, error) {
	p := a.p
	if again || a.unfinished != nil {
		return false, nil
	}
	if p.spec.Until == Finished && (anchor.At.Tx == "" || anchor.Complete) {
		return true, nil
	}
	if p.head != nil && anchor.At.Tx == "" {
		return p.spec.Source.Covers(anchor.Base, *p.head)
	}
	return false, nil
}

// counted takes over, once, what earlier runs counted.
func (a *attempt) counted(last state.Checkpoint, known bool) {
	p := a.p
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
}

// behindCopied makes an anchor exact that is a row of a table which the source
// has read: it can't be read again as it was, so reading goes on behind it. A row
// of which messages are missing is read again, and given whole. It returns what
// is delivered.
func (a *attempt) behindCopied(anchor *sink.Anchor) (delivered state.Cut, err error) {
	delivered = cutOf(*anchor)
	s, ok := a.p.spec.Source.(cdc.Snapshotter)
	if !ok || anchor.At.Tx == "" {
		return delivered, nil
	}
	pos, ok, err := s.Behind(anchor.Base, anchor.At.Tx, anchor.Complete)
	if ok && err == nil {
		anchor.Base, anchor.At, anchor.Complete = pos, sink.Place{}, false
		delivered.Base, delivered.Exact = pos, true
	}
	return delivered, err
}

// begin makes ready to read from the anchor on.
func (a *attempt) begin(ctx context.Context, anchor sink.Anchor, last state.Checkpoint) error {
	a.start = cdc.Start{Base: anchor.Base, Tx: anchor.At.Tx, Rows: anchor.At.Row, Lost: anchor.Lost > 0}
	a.render = a.renderer(anchor)
	a.end, a.named = anchor.Base, anchor.Base
	a.done = last
	a.done.Position = anchor.Base
	a.done.Messages, a.done.Replays = a.data, a.replays
	a.done.Changes, a.open = a.p.spec.State.Changed()
	return a.recount(ctx, anchor)
}

// renderer returns what makes the messages behind an anchor.
func (a *attempt) renderer(anchor sink.Anchor) *renderer {
	r := newRenderer(&a.p.spec, anchor, a.rerun.Number)
	if s, ok := a.p.spec.Sink.(sink.Bounded); ok {
		r.bytesMax = s.RefusedBytes()
	}
	return r
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
// begun with, and records those that are used from here on. again says that what
// the sink has is made again, which takes the same steps.
func (a *attempt) checkConfig(anchor sink.Anchor, again bool) error {
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
	at, inside := anchor.At, anchor.At.Tx != "" && !anchor.Complete
	if a.unfinished != nil {
		at, inside = *a.unfinished, true
	}
	if known && before != now && inside && !a.rerun.fresh {
		return fault.New(fault.Config, CodeConfigChanged, p.spec.Name,
			"run with the tables, steps and modules of the last run until it has stopped in order, then change them",
			"delivery stopped at %s, and the configuration has changed since", at)
	}
	if last.Fingerprint == now && (len(last.Config) > 0 || len(p.spec.Config.Config) == 0) {
		return nil
	}
	if again && last.Fingerprint != now {
		return fault.New(fault.Config, CodeConfigChanged, p.spec.Name,
			"run with the tables, steps and modules of the copy until it has caught up with the sink, then change them",
			"the state was restored from a copy, and the configuration is another one than the copy's")
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
	if a.order != nil {
		a.order.interrupt()
	}
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
			since := time.Since(last)
			if len(a.confirmed) == 0 || since >= commitEvery { // otherwise the next one covers as much
				if err := a.checkHead(); err != nil {
					return err
				}
			}
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
