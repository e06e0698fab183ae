package pipeline

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// The order of writes, for every batch. Nothing else in the daemon calls
// Persist, Publish, Commit, Confirm or Release.
//
//	            send                              settle              checkpoint
//	┌──────────────────────────────┐        ┌───────────────┐  ┌──────────────────────┐
//	(1) Persist ──► (2) Publish ─ ─ ─ ack ─► (3) Release ─ ─ ─► (4) Commit ──► (5) Confirm
//	local changes    messages, in   in order   memory and        position,       the source may
//	on disk          order, async              budget go back    token: synced   forget the log
//
// Behind (1) nothing needs the rows any more: their buffers go back to the source,
// and the batch's reservation becomes what the messages take (Become).
//
// A crash after any of them is repaired by the next start: docs/design/order-of-writes.md.

// gap is a place between two writes, where a crash is tried in tests.
type gap string

const (
	gapProcessed gap = "processed" // before (1)
	gapPersisted gap = "persisted" // between (1) and (2)
	gapPublished gap = "published" // behind (2)
	gapConfirmed gap = "confirmed" // behind the acknowledgement, before (4)
	gapCommitted gap = "committed" // between (4) and (5)
	gapTold      gap = "told"      // behind (5)
)

// gaps is told of each gap that is reached; tests only.
type gaps interface{ reached(gap) }

func (p *Pipeline) reached(g gap) {
	if p.gaps != nil {
		p.gaps.reached(g)
	}
}

// flight is a batch under way, from the source to the checkpoint.
type flight struct {
	batch      *cdc.Batch  // nil for a heartbeat
	group      *sink.Group // nil without messages
	token      string      // the sink's, once confirmed
	end        sdk.Position
	exact      bool // the batch ends between transactions
	logPos     string
	commitTime int64     // microseconds; 0 without a transaction
	read       time.Time // off the log; zero without rows
	messages   int
	bytes      int
	memory     int // that the group takes

	rowsIn, rowsOut, dropped, dead uint64
	data, before, changes, replays uint64       // the attempt's, behind the batch
	replayed                       bool         // the sink has had all that it gives
	order                          *replayOrder // that it is the last of; nil for none
}

// release gives memory and budget back, once.
func (f *flight) release() {
	if f.batch != nil {
		f.batch.Release()
		f.batch = nil
	}
}

// send makes a batch's local changes durable and hands its messages to the
// sink.
func (a *attempt) send(ctx context.Context, f *flight, changes *state.Changes) error {
	p := a.p
	p.reached(gapProcessed)
	if err := p.spec.State.Persist(changes); err != nil { // (1)
		return err
	}
	f.data, f.before, f.replays = a.data, a.data-a.render.pending(), a.replays
	f.changes, a.open = p.spec.State.Changed()
	p.reached(gapPersisted)
	if f.batch != nil {
		f.batch.Become(f.batch.Overhead() + int64(f.memory))
	}
	if f.group != nil {
		if err := p.spec.Sink.Publish(ctx, f.group); err != nil { // (2)
			return err
		}
		p.reached(gapPublished)
	}
	return nil
}

// settle takes note of a batch that the sink confirmed, with all before it.
func (a *attempt) settle(f *flight) {
	a.p.reached(gapConfirmed)
	f.release() // (3)
	c := &a.done
	c.Position, c.Exact, c.LogPos = f.end, f.exact, f.logPos
	c.RowsIn += f.rowsIn
	c.RowsOut += f.rowsOut
	c.Dropped += f.dropped
	c.Dead += f.dead
	c.Messages, c.Before, c.Changes, c.Replays = f.data, f.before, f.changes, f.replays
	c.At, c.Complete, c.Forgot = "", false, false
	if c.Restored = f.replayed; f.replayed {
		c.Exact = false // the token names an earlier message
	}
	if f.group != nil {
		c.Token = f.token
		c.Number++
		a.confirmedOnce = true
	}
	now := a.p.spec.Now()
	cond := &a.p.cond
	cond.mu.Lock()
	if f.commitTime != 0 {
		c.CommitTime = f.commitTime
		cond.lag = now.Sub(time.UnixMicro(f.commitTime))
	}
	if !f.read.IsZero() {
		cond.delivered.note(now.Sub(f.read))
	}
	cond.done = *c
	cond.mu.Unlock()
	a.dirty = true
	if f.order != nil {
		f.order.add(-1)
	}
}

// checkpoint makes the confirmed position durable, then tells the source.
//
// A checkpoint pairs a message of the sink with a position behind it, between
// which nothing was published. This run's first confirmed group makes such a
// pair; until then the pair on disk stays, because what this run has read
// without publishing anything may lie behind messages that it doesn't name. What
// is replayed makes no pair.
func (a *attempt) checkpoint() error {
	if !a.dirty || !a.confirmedOnce && !a.done.Restored {
		return nil
	}
	p := a.p
	a.done.Time = p.spec.Now()
	if err := p.spec.State.Commit(a.done); err != nil { // (4)
		return err
	}
	p.reached(gapCommitted)
	p.spec.Source.Confirm(a.done.Position) // (5)
	p.reached(gapTold)
	a.dirty = false
	p.cond.mu.Lock()
	p.cond.checkpoint = a.done.Time
	p.cond.mu.Unlock()
	return nil
}
