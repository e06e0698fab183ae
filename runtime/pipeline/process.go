package pipeline

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// process runs batches through the steps and hands them to the sink, and sends
// heartbeats when nothing else goes out.
func (a *attempt) process(ctx context.Context) error {
	defer close(a.sent)
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
		case b, ok := <-a.batches:
			if !ok { // the position that a stop leaves behind is the sink's too
				return a.cause(ctx, a.heartbeat(ctx))
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
	f := &flight{batch: b, end: b.End, logPos: b.LogPos, exact: true}
	if b.Batch == nil {
		b.Batch = &sdk.Batch{}
	}
	if n := b.Txs(); n > 0 {
		last := b.Tx(n - 1)
		f.exact, f.commitTime = last.Ends(), last.Time()
	} else {
		f.exact = !a.render.sent()
	}
	err = a.fill(ctx, b, f)
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
	return f.group != nil, a.launched(ctx, f)
}

// fill makes the batch's messages and local changes.
func (a *attempt) fill(ctx context.Context, b *cdc.Batch, f *flight) error {
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
	out, err := a.runSteps(ctx, b, f)
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
		a.stage(b, out, f)
	}
	if f.group != nil {
		f.messages, f.bytes = len(f.group.Messages), f.group.Bytes
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
	if a.end == a.named || a.render.sent() {
		return nil
	}
	f := &flight{group: a.render.heartbeat(a.end, a.endLog), end: a.end, exact: true, logPos: a.endLog}
	f.messages, f.bytes = len(f.group.Messages), f.group.Bytes
	if err := a.send(ctx, f, &a.changes); err != nil {
		return err
	}
	return a.launched(ctx, f)
}

// runSteps runs a batch through all steps.
func (a *attempt) runSteps(ctx context.Context, b *cdc.Batch, f *flight) (*sdk.Batch, error) {
	rows := b.Batch
	for _, s := range a.steps {
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
			if err := a.refused(s, b, rows.Row(failure.Row), failure.Reason, f); err != nil {
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
		a.changes.Refuse(state.DeadLetter{Step: s.Name(), Position: b.Begin, Reason: reason, Time: a.p.spec.Now()}, row)
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
