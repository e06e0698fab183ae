package pipeline

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// process runs batches through the steps and hands them to the sink, and sends
// heartbeats when nothing else goes out.
func (a *attempt) process(ctx context.Context) error {
	defer close(a.sent)
	if err := a.finishReplayed(ctx); err != nil {
		return a.cause(ctx, err)
	}
	quiet := time.NewTimer(heartbeatGap)
	defer quiet.Stop()
	for {
		var published bool
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-quiet.C:
			err = a.heartbeat(ctx)
			published = true
		case o := <-a.orders():
			published, err = true, a.carryOut(ctx, o)
		case b, ok := <-a.batches:
			if !ok && a.logEnded && a.replay != nil && a.replay.need > 0 {
				return a.otherMessages()
			}
			if !ok { // the position that a stop leaves behind is the sink's too
				return a.cause(ctx, a.last(ctx))
			}
			if a.over { // what was read ahead is read again by whoever follows
				b.Release()
				continue
			}
			published, err = a.batch(ctx, b)
			if err == nil && a.unnamed >= heartbeatLog {
				err = a.heartbeat(ctx)
			}
		}
		if err != nil {
			return a.cause(ctx, err)
		}
		if published {
			quiet.Reset(heartbeatGap)
		}
	}
}

// batch takes one batch as far as the sink.
func (a *attempt) batch(ctx context.Context, b *cdc.Batch) (published bool, err error) {
	f := &flight{batch: b, end: b.End, logPos: b.LogPos, exact: true, replayed: a.replay != nil}
	if b.Batch == nil {
		b.Batch = &sdk.Batch{}
	}
	if b.News != nil {
		a.render.between()
	}
	if n := b.Txs(); n > 0 {
		last := b.Tx(n - 1)
		f.exact, f.commitTime = last.Ends(), last.Time()
	} else {
		f.exact = !a.render.sent()
	}
	if err = a.fill(ctx, b, f); err == nil {
		err = a.leaveOut(b, f)
	}
	if err == nil {
		err = a.send(ctx, f, &a.changes)
	}
	a.changes.Reset()
	a.written = a.written[:0]
	if err != nil {
		f.release()
		return false, err
	}
	a.end, a.endLog = b.End, b.LogPos
	a.unnamed += b.LogBytes
	if a.p.spec.Until == Finished && f.exact && !a.render.inside() && a.replay == nil {
		a.over = true
		a.stopReading()
	}
	return f.group != nil, a.launched(ctx, f)
}

// fill makes the batch's messages and local changes.
func (a *attempt) fill(ctx context.Context, b *cdc.Batch, f *flight) error {
	if b.News != nil {
		f.group = a.render.newsMessage(b)
		f.messages, f.bytes, f.memory = len(f.group.Messages), f.group.Bytes, a.render.memory
		return nil
	}
	if b.Txs() == 0 {
		if len(b.Definitions) > 0 {
			return a.renderInto(f, b, b.Batch)
		}
		return nil
	}
	a.dropDone(b)
	a.seq++
	b.SetSeq(a.seq)
	f.rowsIn = uint64(b.Rows())
	if f.rowsIn > 0 {
		f.read = b.Read
	}
	out, err := a.runSteps(ctx, a.steps, b.Batch, f, func(s Step, row sdk.Row, reason string) error {
		return a.refused(s, b, row, reason, f)
	})
	if err != nil {
		return err
	}
	f.rowsOut = uint64(out.Rows())
	return a.renderInto(f, b, out)
}

// renderInto makes the messages of what the steps made of a batch.
func (a *attempt) renderInto(f *flight, b *cdc.Batch, out *sdk.Batch) (err error) {
	f.group, err = a.render.group(b, out)
	if err == nil {
		a.refuseLarge(b.Begin, out, f)
		a.compare(b.Batch)
		a.stage(b, out, f)
	}
	if f.group != nil {
		f.messages, f.bytes, f.memory = len(f.group.Messages), f.group.Bytes, a.render.memory
	}
	return err
}

// launched hands a batch that the sink has on to the waiter.
func (a *attempt) launched(ctx context.Context, f *flight) error {
	c := &a.p.count
	c.batches.Add(1)
	c.rowsIn.Add(f.rowsIn)
	c.rowsOut.Add(f.rowsOut)
	c.dropped.Add(f.dropped)
	c.dead.Add(f.dead)
	if f.group != nil {
		c.messages.Add(uint64(f.messages))
		c.bytes.Add(uint64(f.bytes))
		a.named, a.unnamed = f.end, 0
	}
	select {
	case a.sent <- f:
		return nil
	case <-ctx.Done():
		f.release()
		return context.Cause(ctx)
	}
}

// dropDone takes out the rows of the anchor's transaction that the sink has:
// no step sees them again. Of a transaction that is not complete there, the
// anchor's own row stays, to be compared.
func (a *attempt) dropDone(b *cdc.Batch) {
	if done := a.render.done; done != "" {
		b.Keep(func(i int) bool { return string(b.Row(i).Tx().ID()) != done })
	}
	at := a.render.resume
	if at == nil {
		return
	}
	b.Keep(func(i int) bool {
		row := b.Row(i)
		return row.Ordinal() >= at.Row || string(row.Tx().ID()) != at.Tx
	})
}

// heartbeat sends the reading position when it is exact and the sink doesn't
// have it.
func (a *attempt) heartbeat(ctx context.Context) error {
	if a.end == a.named || a.render.sent() || a.replay != nil {
		return nil
	}
	return a.told(ctx, a.render.heartbeat(a.end, a.endLog), a.end)
}

// last sends what stands behind all that was read.
func (a *attempt) last(ctx context.Context) error {
	if a.logEnded && a.rerun.Number > 0 {
		return a.endRun(ctx)
	}
	return a.heartbeat(ctx)
}

// told sends a group that says where delivery stands, and nothing else.
func (a *attempt) told(ctx context.Context, g *sink.Group, end sdk.Position) error {
	f := &flight{group: g, end: end, exact: true, logPos: a.endLog}
	f.messages, f.bytes = len(g.Messages), g.Bytes
	if err := a.send(ctx, f, &a.changes); err != nil {
		return err
	}
	return a.launched(ctx, f)
}

// runSteps runs a batch through steps, and tells refuse of the rows that one of
// them refuses.
func (a *attempt) runSteps(ctx context.Context, steps []Step, rows *sdk.Batch, f *flight, refuse func(s Step, row sdk.Row, reason string) error) (*sdk.Batch, error) {
	for _, s := range steps {
		if rows.Rows() == 0 {
			break
		}
		out, err := s.Process(ctx, rows)
		if err != nil {
			return nil, err
		}
		if out.Batch == nil || out.Batch.Txs() != rows.Txs() {
			return nil, fault.New(fault.Fatal, CodeStepBroken, a.p.spec.Name+"/"+s.Name(), "update or remove the step",
				"the step did not keep the transactions of its input")
		}
		for _, failure := range out.Failed {
			if err := refuse(s, rows.Row(failure.Row), failure.Reason); err != nil {
				return nil, err
			}
		}
		a.collect(s, rows, out.Writes)
		f.dropped += uint64(out.Dropped)
		rows = out.Batch
	}
	return rows, nil
}

// refused does with a row that a step refused what its policy says.
func (a *attempt) refused(s Step, b *cdc.Batch, row sdk.Row, reason string, f *flight) error {
	switch s.OnError() {
	case DeadLetter:
		i := a.changes.Refuse(state.DeadLetter{DeadLetterKey: state.DeadLetterKey{Step: s.Name()}, Position: b.Begin, Reason: reason, Time: a.p.spec.Now()}, row)
		a.written = append(a.written, origin{tx: row.TxIndex(), id: string(row.Tx().ID()), ordinal: row.Ordinal(), letter: i + 1})
		f.dead++
		return nil
	case Skip:
		a.p.count.skipped.Add(1)
		return nil
	}
	return fault.New(fault.Poison, CodeRowRefused, a.p.spec.Name+"/"+s.Name(),
		"mend the row or the step, or set on_error: dead_letter for the step",
		"row %d of transaction %s, table %s: %s", row.Ordinal(), row.Tx().ID(), row.Schema().FullName(), reason)
}
