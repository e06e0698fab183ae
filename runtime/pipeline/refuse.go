package pipeline

import (
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// SinkStep is the step by whose name rows are dead letters that the sink can't
// take; no step of a configuration has it.
const SinkStep = "_sink"

// tooBig is a row whose message is larger than the sink takes, or one that was made
// of the same row as such a one.
type tooBig struct {
	row     int // index in the batch that was rendered
	sibling int // its number among those that a step has made of one
	subject string
	bytes   int
}

// step is that of the dead letter: a row that a step has made of one
// beside others is told apart from them by a number behind it.
func (b *tooBig) step() string {
	if b.sibling == 0 {
		return SinkStep
	}
	return fmt.Sprintf("%s.%d", SinkStep, b.sibling)
}

// reason says whose message it was.
func (b *tooBig) reason(limit int) string {
	return fmt.Sprintf("its message for %s has %d bytes, and the sink takes %d", b.subject, b.bytes, limit)
}

// isSinkStep reports whether a dead letter is of a row that all steps have passed.
func isSinkStep(step string) bool {
	return step == SinkStep || strings.HasPrefix(step, SinkStep+".")
}

// renderMark is where a renderer stands before the messages of a row.
type renderMark struct {
	messages, buf, texts, last, data int
	n                                uint64
}

// mark returns where the renderer stands before the rows, which may be refused.
// Their tables are announced before it: that stays said.
func (r *renderer) mark(out *sdk.Batch, row, end, limit int) renderMark {
	if limit == 0 {
		return renderMark{}
	}
	for ; row < end; row++ {
		r.table(out.Row(row).Schema())
	}
	return renderMark{messages: len(r.g.Messages), buf: len(r.g.Buf), texts: len(r.texts), last: r.last, data: r.data, n: r.n}
}

// tooLarge takes back the messages since the mark if one of them is too large, and
// notes the rows from row to end, all of them: what a step has made of one row
// comes whole or not at all.
func (r *renderer) tooLarge(at renderMark, row, end, limit int) bool {
	for i := at.messages; i < len(r.g.Messages); i++ {
		m := &r.g.Messages[i]
		size := len(m.Body) + len(m.Headers)
		if m.KeyHeader {
			size += len(m.Key)
		}
		if size <= limit {
			continue
		}
		subject := m.Subject
		if s := r.g.routed[i]; s.to > s.from {
			subject = string(r.texts[s.from:s.to])
		}
		for k := range end - row {
			r.refused = append(r.refused, tooBig{row + k, k, subject, size})
		}
		clear(r.g.Messages[at.messages:])
		r.g.Messages, r.g.ids, r.g.routed = r.g.Messages[:at.messages], r.g.ids[:at.messages], r.g.routed[:at.messages]
		r.g.Buf, r.texts = r.g.Buf[:at.buf], r.texts[:at.texts]
		r.last, r.data, r.n = at.last, at.data, at.n
		return true
	}
	return false
}

// refuseLarge makes dead letters of the rows that the sink can't take.
func (a *attempt) refuseLarge(position sdk.Position, out *sdk.Batch, f *flight) {
	for _, b := range a.render.refused {
		row := out.Row(b.row)
		i := a.changes.Refuse(state.DeadLetter{DeadLetterKey: state.DeadLetterKey{Step: b.step()}, Position: position, Time: a.p.spec.Now(),
			Reason: b.reason(a.render.bytesMax)}, row)
		a.written = append(a.written, origin{tx: row.TxIndex(), id: string(row.Tx().ID()), ordinal: row.Ordinal(), letter: i + 1})
		f.dead++
	}
}
