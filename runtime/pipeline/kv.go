package pipeline

import (
	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// What connectors keep in kv goes the way of dead letters: durable before the
// batch's messages are published. It differs in that a row which is run again
// must find it as it was the first time. So each change is kept with the row
// that it was made for, and a claim takes back those whose row the sink does not
// have: state.Pipeline.RollBack.

// origin is a change that waits for the messages of its batch to be counted.
type origin struct {
	step    string
	write   Write
	tx      int // index in the batch's directory
	id      string
	ordinal uint64
}

// collect takes what a step's connector changed. rows is the step's input.
func (a *attempt) collect(s Step, rows *sdk.Batch, writes []Write) {
	lastTx, id := -1, ""
	for _, w := range writes {
		row := rows.Row(w.Row)
		if tx := row.TxIndex(); tx != lastTx {
			lastTx, id = tx, string(row.Tx().ID())
		}
		a.written = append(a.written, origin{s.Name(), w, lastTx, id, row.Ordinal()})
	}
}

// stage hands the batch's changes over, each with the number of messages that
// lie before its row's. out is what the batch's messages were made of.
func (a *attempt) stage(b *cdc.Batch, out *sdk.Batch, f *flight) {
	data := uint64(0)
	if f.group != nil {
		for i := range f.group.Messages {
			if f.group.Messages[i].Kind == sink.KindData {
				data++
			}
		}
	}
	had := uint64(out.Rows()) - data // rows at the front whose messages the sink has had before
	at, step := 0, ""
	for _, o := range a.written {
		if o.step != step { // each step's changes are in the order of the rows
			at, step = 0, o.step
		}
		for at < out.Rows() && before(out.Row(at), o.tx, o.ordinal) {
			at++
		}
		from := state.Origin{Tx: o.id, Row: o.ordinal, Messages: a.data + max(uint64(at), had) - had}
		if o.write.Gone {
			a.changes.Delete(o.step, o.write.Key, from)
		} else {
			a.changes.Put(o.step, o.write.Key, o.write.Value, from)
		}
	}
	a.data += data
	a.changes.End(b.End, f.exact, a.open && f.exact)
}

// before reports whether a row lies before the one with the ordinal in
// transaction tx of the batch.
func before(row sdk.Row, tx int, ordinal uint64) bool {
	return row.TxIndex() < tx || row.TxIndex() == tx && row.Ordinal() < ordinal
}

// checkOwn refuses to go on where steps keep values and the sink has messages
// that were made with another state: this one was lost, or another cdcd had the
// sink meanwhile.
func (a *attempt) checkOwn(anchor sink.Anchor, last state.Checkpoint, known bool) error {
	p := a.p
	own, any, err := p.spec.State.Wrote(anchor.Writer)
	if err != nil {
		return err
	}
	foreign := anchor.Writer != 0 && any && !own && anchor.Messages != last.Messages
	if p.spec.Stateful && anchor.Found && anchor.Messages > 0 && (!known || foreign) {
		return fault.New(fault.Environment, CodeStateMissing, p.spec.Name,
			"run it with the state directory that it was last run with, or restore that; or begin anew: give the pipeline and its sink new names",
			"the sink has %d messages of this pipeline, and this state has not what its steps kept for all of them", anchor.Messages)
	}
	return nil
}

// rollBack takes connectors' values back to what they were at the anchor.
func (a *attempt) rollBack(anchor sink.Anchor, last state.Checkpoint, known bool) error {
	p := a.p
	a.data = anchor.Messages
	if err := a.checkOwn(anchor, last, known); err != nil {
		return err
	}
	cut := state.Cut{Base: anchor.Base, Tx: anchor.At.Tx, Row: anchor.At.Row, Complete: anchor.Complete, Messages: anchor.Messages}
	undone, err := p.spec.State.RollBack(cut, func(end sdk.Position) (bool, error) { return p.spec.Source.Covers(anchor.Base, end) })
	if undone > 0 {
		p.log.Info("took back what steps had kept for rows that were not delivered", "changes", undone)
	}
	return err
}
