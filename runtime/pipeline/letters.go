package pipeline

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// Codes of the faults of replays.
const (
	// CodeReplayNotRunning: dead letters come by again in a pipeline that streams.
	CodeReplayNotRunning = "replay_not_running"
	// CodeReplayInterrupted: the pipeline stopped before it was known what became of it.
	CodeReplayInterrupted = "replay_interrupted"
)

const (
	// replayTogether is how many dead letters come by between two batches of the log.
	replayTogether = 32
	// replayPatience bounds how long an order waits to be begun.
	replayPatience = 30 * time.Second
)

// ReplayOutcome is what became of a dead letter that was to be replayed.
type ReplayOutcome string

// What can become of it. Behind the first two it is gone, otherwise it stays.
const (
	Replayed       ReplayOutcome = "replayed" // its row is in the sink
	ReplayDropped  ReplayOutcome = "dropped"  // a step left its row out
	ReplayRefused  ReplayOutcome = "refused"  // a step refused it again, or the sink can't take it; Reason says why
	ReplayStale    ReplayOutcome = "stale"    // a row of the same key went by since; Reason names it
	ReplayGone     ReplayOutcome = "gone"     // it was not there any more
	ReplayUnplaced ReplayOutcome = "no_step"  // the pipeline has no step of that name any more
)

// ReplayResult is what became of one dead letter.
type ReplayResult struct {
	Letter  state.DeadLetterKey
	Outcome ReplayOutcome
	Reason  string
}

// replayOrder is some dead letters that are to come by again. The processor fills
// results; they may be read once done is closed.
type replayOrder struct {
	letters []state.DeadLetterKey
	force   bool
	results []ReplayResult

	mu      sync.Mutex
	flights int // under way, one more until all letters have been taken up
	err     error
	ended   bool
	done    chan struct{}
}

func newReplayOrder(letters []state.DeadLetterKey, force bool) *replayOrder {
	return &replayOrder{letters: letters, force: force, flights: 1, done: make(chan struct{})}
}

// add counts flights that leave, or one that is confirmed; the last ends the order.
func (o *replayOrder) add(flights int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flights += flights; o.flights == 0 {
		o.end(nil)
	}
}

// interrupt ends an order of which the rest will not be known.
func (o *replayOrder) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end(errInterrupted)
}

func (o *replayOrder) end(err error) {
	if !o.ended {
		o.ended, o.err = true, err
		close(o.done)
	}
}

var errInterrupted = errors.New("the pipeline stopped or started anew meanwhile")

// Replay lets dead letters come by again, in this order, through their steps as they
// are now, behind what the sink has, and tells done of each whose outcome is safe in
// the sink. Those of whose key a newer row has gone by are left unless forced. It
// waits while the pipeline starts or retries. The error is a fault: CodeReplayNotRunning,
// CodeReplayInterrupted (what it was in the middle of is done or is a dead letter as before), or the cause of ctx's end.
func (p *Pipeline) Replay(ctx context.Context, letters []state.DeadLetterKey, force bool, done func(ReplayResult)) error {
	for some := range slices.Chunk(letters, replayTogether) {
		o := newReplayOrder(some, force)
		if err := p.order(ctx, o); err != nil {
			return err
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if o.err != nil {
			return fault.New(fault.Retryable, CodeReplayInterrupted, p.spec.Name,
				"replay the rest once it streams: what was replayed is no dead letter any more", "%d dead letters were in hand: %w", len(some), o.err)
		}
		for _, r := range o.results {
			done(r)
		}
	}
	return nil
}

// order hands an order to the processor.
func (p *Pipeline) order(ctx context.Context, o *replayOrder) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for begun := time.Now(); ; {
		select {
		case p.orders <- o:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
		p.cond.mu.Lock()
		now, reason := p.cond.state, p.cond.reason
		p.cond.mu.Unlock()
		waiting := now == StateStreaming || now == StateStarting || now == StateRetrying
		if waiting && time.Since(begun) < replayPatience {
			continue
		}
		if now == StateStreaming {
			reason = "it is inside a large transaction"
		}
		return fault.New(fault.Environment, CodeReplayNotRunning, p.spec.Name,
			"let the pipeline run: resume it, or mend what its state says; then replay again",
			"dead letters come by again while the pipeline streams, between two transactions; it is %s: %s", now, reason)
	}
}

// orders returns where orders come from when one can be carried out: between
// transactions.
func (a *attempt) orders() <-chan *replayOrder {
	if a.render.open != "" || a.render.inside() || a.replay != nil || a.over {
		return nil
	}
	return a.p.orders
}

// replayed is a dead letter that comes by again.
type replayed struct {
	key      state.DeadLetterKey
	number   uint64      // of the replay
	tx       string      // that stands for its transaction
	original string      // its place in the log
	reason   string      // why it was refused again
	resume   *sink.Place // the last of its messages that the sink has; nil for none
}

func newReplayed(k state.DeadLetterKey, number uint64) *replayed {
	return &replayed{key: k, number: number, tx: state.ReplayTx(number, k), original: k.Tx + "#" + strconv.FormatUint(k.Row, 10)}
}

// carryOut takes the letters of an order through the steps. The order is finished
// when the sink has confirmed the last of them.
func (a *attempt) carryOut(ctx context.Context, o *replayOrder) error {
	a.order = o
	for _, k := range o.letters {
		r, f, err := a.replayLetter(ctx, k, o.force)
		if err != nil {
			return err
		}
		o.results = append(o.results, r)
		if f == nil {
			continue
		}
		f.order = o
		o.add(1)
		if err := a.launched(ctx, f); err != nil {
			return err
		}
	}
	o.add(-1)
	return nil
}

// mayReplay loads the letter of a result and finds the step that refused it, which
// is behind all others for the sink. ok is false, and the outcome is set, where it
// is not to come by.
func (a *attempt) mayReplay(r *ReplayResult, force bool) (d state.DeadLetter, from int, ok bool, err error) {
	d, ok, err = a.p.spec.State.DeadLetter(r.Letter)
	if from = len(a.steps); !isSinkStep(r.Letter.Step) {
		from = slices.IndexFunc(a.steps, func(s Step) bool { return s.Name() == r.Letter.Step })
	}
	switch {
	case err != nil:
	case !ok:
		r.Outcome = ReplayGone
	case from < 0:
		r.Outcome, r.Reason, ok = ReplayUnplaced, "the pipeline has no step of that name", false
	case d.ChangedBy != "" && !force:
		r.Outcome, r.Reason, ok = ReplayStale, "changed since by "+d.ChangedBy, false
	}
	return d, from, ok, err
}

// replayLetter takes one letter as far as the sink; without a flight nothing is on
// its way there.
func (a *attempt) replayLetter(ctx context.Context, k state.DeadLetterKey, force bool) (ReplayResult, *flight, error) {
	result := ReplayResult{Letter: k}
	d, from, ok, err := a.mayReplay(&result, force)
	if err != nil || !ok {
		return result, nil, err
	}
	r := newReplayed(k, max(a.replays, a.p.spec.State.Replays())+1)
	f, outcome, err := a.again(ctx, r, &d, a.steps[from:])
	result.Outcome, result.Reason = outcome, r.reason
	return result, f, err
}

// again runs a letter's row through the step that refused it and those behind, and
// gives what comes of it to the sink. One write makes durable what the steps changed,
// that the letter is gone or why it was refused again, and what takes all of it back
// where the sink turns out not to have the replay.
func (a *attempt) again(ctx context.Context, r *replayed, d *state.DeadLetter, steps []Step) (*flight, ReplayOutcome, error) {
	defer func() {
		a.changes.Reset()
		a.written = a.written[:0]
	}()
	f := &flight{end: a.end, exact: true, logPos: a.endLog}
	at := state.Origin{Tx: r.tx, Messages: a.data, Replay: r.number}
	a.seq++
	d.Batch.SetSeq(a.seq)
	refused := false
	out, err := a.runSteps(ctx, steps, d.Batch, f, func(s Step, row sdk.Row, reason string) error {
		refused, r.reason = true, reason
		a.refusedAgain(s, d, row, reason, at)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if !refused {
		a.changes.Passed(d.Keys(), d.Batch.Row(0).Op() == sdk.OpTruncate, d.Tx, d.Row, max(d.Number, 1))
	}
	a.changes.Replayed(r.key, at)
	for i := range a.written {
		a.put(&a.written[i], at)
	}
	a.changes.End(a.end, true, false)
	if f.group, err = a.render.replayed(out, a.end, r, r.resume); err != nil {
		return nil, "", err
	}
	f.messages, f.bytes, f.memory = len(f.group.Messages), f.group.Bytes, a.render.memory
	before := a.replays
	a.replays = r.number
	if err := a.send(ctx, f, &a.changes); err != nil {
		f.group.Done()
		a.replays = before
		outcome, err := a.notTaken(r, err)
		return nil, outcome, err
	}
	switch {
	case refused:
		return f, ReplayRefused, nil
	case out.Rows() == 0:
		return f, ReplayDropped, nil
	}
	return f, Replayed, nil
}

// refusedAgain keeps a row that a step refuses in place of the letter that it was.
func (a *attempt) refusedAgain(s Step, d *state.DeadLetter, row sdk.Row, reason string, at state.Origin) {
	again := state.DeadLetter{DeadLetterKey: state.DeadLetterKey{Step: s.Name()}, Position: d.Position, Reason: reason,
		Time: a.p.spec.Now(), Attempts: 1, Number: d.Number, ChangedBy: d.ChangedBy}
	if s.Name() == d.Step {
		again.Attempts = d.Attempts + 1
	}
	i := a.changes.Refuse(again, row)
	a.changes.RefusedAt(i, at)
	a.changes.Keyed(i, d.Keys())
}

// notTaken deals with a replay that could not be kept or given to the sink. What is
// wrong with the row alone leaves it the dead letter that it was.
func (a *attempt) notTaken(r *replayed, err error) (ReplayOutcome, error) {
	switch {
	case fault.HasCode(err, state.CodeDeadLettersFull), fault.HasCode(err, state.CodeDeadLettersMany):
	case fault.Of(err).Class == fault.Poison && r.resume == nil:
		cut := state.Cut{Base: a.end, Messages: a.data, Replays: r.number - 1}
		if _, err := a.p.spec.State.RollBack(cut, func(sdk.Position) (bool, error) { return true, nil }); err != nil {
			return "", err
		}
	default:
		return "", err
	}
	r.reason = err.Error()
	return ReplayRefused, nil
}

// behindReplayed makes an anchor exact that is a replayed row: it stands where the
// log was then. One of which messages are missing is finished first of all.
func (a *attempt) behindReplayed(anchor *sink.Anchor) {
	a.replays = anchor.Replays
	if _, _, ok := state.ParseReplayTx(anchor.At.Tx); !ok {
		return
	}
	if !anchor.Complete {
		at := anchor.At
		a.unfinished = &at
	}
	anchor.At, anchor.Complete = sink.Place{}, false
}

// unknownReplays deals with a state that was restored from a copy, where the sink
// has replays from after it: what was replayed may be among its dead letters.
func (a *attempt) unknownReplays(anchor sink.Anchor, last state.Checkpoint) error {
	if !last.Restored && !last.Forgot || anchor.Replays <= last.Replays {
		return nil
	}
	if a.p.spec.Stateful && last.Restored {
		return fault.New(fault.Fatal, sink.CodeNotReproducible, a.p.spec.Name,
			"restore a newer copy of the state, if there is one from behind the last replay; otherwise "+forgetHint,
			"dead letters were replayed after the copy of the state was made, and what the steps kept of their rows can't be made again")
	}
	a.p.log.Warn("dead letters were replayed after the copy of the state was made: those that it has may be among them, and are not replayed unless forced")
	return a.p.spec.State.MarkAll("a replay that the restored state does not know")
}

// finishReplayed sends the messages that are missing of a replayed row.
func (a *attempt) finishReplayed(ctx context.Context) error {
	if a.unfinished == nil {
		return nil
	}
	number, k, _ := state.ParseReplayTx(a.unfinished.Tx)
	r := newReplayed(k, number)
	r.resume = a.unfinished
	d, from, ok, err := a.mayReplay(&ReplayResult{Letter: k}, true)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Environment, sink.CodeNotReproducible, a.p.spec.Name,
			"restore the state that the pipeline was last run with; or begin anew: give the pipeline and its sink new names",
			"the sink has a part of the replay of %s, and this state has not that dead letter, or the step is gone", k)
	}
	f, _, err := a.again(ctx, r, &d, a.steps[from:])
	if err == nil && f != nil {
		err = a.launched(ctx, f)
	}
	if err != nil {
		return err
	}
	a.unfinished = nil
	if a.p.spec.Until == Finished {
		a.over = true
		a.stopReading()
	}
	return nil
}

// compare marks the dead letters of whose key a row of the batch goes by, and says
// by what its own are to be compared. It costs nothing while there are none.
func (a *attempt) compare(b *sdk.Batch) {
	var refused []*origin
	for i := range a.written {
		if o := &a.written[i]; o.letter > 0 {
			refused = append(refused, o)
		}
	}
	if len(refused) == 0 && !a.p.spec.State.Compared() {
		return
	}
	slices.SortStableFunc(refused, func(x, y *origin) int {
		return cmpRows(x.tx, x.ordinal, y.tx, y.ordinal)
	})
	tx, lastTx := "", -1
	for i := range b.Rows() {
		row := b.Row(i)
		if t := row.TxIndex(); t != lastTx {
			tx, lastTx = string(row.Tx().ID()), t
		}
		a.keys = state.RowKeys(a.keys[:0], row)
		passed := true
		for len(refused) > 0 && cmpRows(refused[0].tx, refused[0].ordinal, lastTx, row.Ordinal()) <= 0 {
			passed = passed && cmpRows(refused[0].tx, refused[0].ordinal, lastTx, row.Ordinal()) != 0
			a.changes.Keyed(refused[0].letter-1, a.keys)
			refused = refused[1:]
		}
		if passed {
			a.changes.Passed(a.keys, row.Op() == sdk.OpTruncate, tx, row.Ordinal(), 0)
		}
	}
}

func cmpRows(tx int, row uint64, tx2 int, row2 uint64) int {
	return cmp.Or(cmp.Compare(tx, tx2), cmp.Compare(row, row2))
}
