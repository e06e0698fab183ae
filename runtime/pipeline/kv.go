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
	letter  int // number from 1 of the dead letter that the row became, in place of step and write
}

// collect takes what a step's connector changed. rows is the step's input.
func (a *attempt) collect(s Step, rows *sdk.Batch, writes []Write) {
	lastTx, id := -1, ""
	for _, w := range writes {
		row := rows.Row(w.Row)
		if tx := row.TxIndex(); tx != lastTx {
			lastTx, id = tx, string(row.Tx().ID())
		}
		a.written = append(a.written, origin{step: s.Name(), write: w, tx: lastTx, id: id, ordinal: row.Ordinal()})
	}
}

// stage hands the batch's changes over, each with the number of messages that
// lie before its row's. out is what the batch's messages were made of.
func (a *attempt) stage(b *cdc.Batch, out *sdk.Batch, f *flight) {
	data, ahead := a.render.data, a.render.ahead
	at, tx, row := 0, 0, uint64(0)
	for i := range a.written {
		o := &a.written[i]
		if cmpRows(o.tx, o.ordinal, tx, row) < 0 { // each step's are in the order of the rows
			at = 0
		}
		tx, row = o.tx, o.ordinal
		for at < out.Rows() && before(out.Row(at), tx, row) {
			at++
		}
		lie := data // before the row
		if at < len(ahead) {
			lie = ahead[at]
		}
		a.put(o, state.Origin{Tx: o.id, Row: o.ordinal, Messages: a.data + uint64(lie)})
	}
	a.data += uint64(data)
	a.changes.End(b.End, f.exact, a.open && f.exact)
}

// put hands one change over.
func (a *attempt) put(o *origin, from state.Origin) {
	switch {
	case o.letter > 0:
		a.changes.RefusedAt(o.letter-1, from)
	case o.write.Gone:
		a.changes.Delete(o.step, o.write.Key, from)
	default:
		a.changes.Put(o.step, o.write.Key, o.write.Value, from)
	}
}

// before reports whether a row lies before the one with the ordinal in
// transaction tx of the batch.
func before(row sdk.Row, tx int, ordinal uint64) bool {
	return cmpRows(row.TxIndex(), row.Ordinal(), tx, ordinal) < 0
}

// forgetHint is the way out where what steps kept is lost for good.
const forgetHint = "cdcd checkpoint forget lets the steps go on with nothing kept, from where the sink stands; where that would be wrong, begin anew: give the pipeline and its sink new names"

// checkOwn refuses to go on where steps keep values and the sink has messages
// that were made with another state: this one was lost, or another cdcd had the
// sink meanwhile.
func (a *attempt) checkOwn(anchor sink.Anchor, last state.Checkpoint, known bool) error {
	p := a.p
	own, any, err := p.spec.State.Wrote(anchor.Writer)
	if err != nil {
		return err
	}
	if last.Forgot {
		return nil
	}
	foreign := anchor.Writer != 0 && any && !own && anchor.Messages != last.Messages && !last.Restored
	if p.spec.Stateful && anchor.Found && anchor.Messages > 0 && (!known || foreign) {
		return fault.New(fault.Environment, CodeStateMissing, p.spec.Name,
			"run it with the state directory that it was last run with; or restore a copy of that: cdcd checkpoint restore --remote where copies are made, or cdcd checkpoint restore of an export; or "+forgetHint,
			"the sink has %d messages of this pipeline, and this state has not what its steps kept for all of them", anchor.Messages)
	}
	return nil
}

// rollBack takes connectors' values back to what they were where delivery stands;
// the anchor is where reading goes on.
func (a *attempt) rollBack(anchor sink.Anchor, delivered state.Cut, last state.Checkpoint, known bool) error {
	p := a.p
	a.data = anchor.Messages
	if a.unfinished != nil {
		delivered.Replays = anchor.Replays - 1
	}
	if err := a.checkOwn(anchor, last, known); err != nil {
		return err
	}
	if from, err := begunAt(last); err != nil {
		return err
	} else if known && anchor.Messages <= from.Messages && (anchor.At != from.At || anchor.Base != from.Base) {
		if err := a.takeBack(anchor, last); err != nil {
			return err
		}
	}
	undone, err := p.spec.State.RollBack(delivered, func(end sdk.Position) (bool, error) { return p.spec.Source.Covers(anchor.Base, end) })
	if undone > 0 {
		p.log.Info("took back what steps had kept for rows that were not delivered", "changes", undone)
	}
	return err
}

// cutOf is what is delivered where the anchor is the last message.
func cutOf(a sink.Anchor) state.Cut {
	return state.Cut{Base: a.Base, Tx: a.At.Tx, Row: a.At.Row, Complete: a.Complete, Messages: a.Messages, Replays: a.Replays}
}

// takeBack moves the checkpoint back to the anchor: a copy of the state must not
// have values that are behind it.
func (a *attempt) takeBack(anchor sink.Anchor, c state.Checkpoint) error {
	c.Position, c.Exact, c.Changes = anchor.Base, false, 0
	c.Messages, c.Before, c.At, c.Complete, c.Replays = anchor.Messages, anchor.Messages, "", false, anchor.Replays
	if anchor.At.Tx != "" {
		c.At, c.Complete = anchor.At.String(), anchor.Complete
	}
	return a.p.spec.State.Commit(c)
}
