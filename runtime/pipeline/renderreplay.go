package pipeline

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// replayed renders what became of a dead letter's row: a transaction of its own, at
// the place that the stream has come to. What gives no message has a control message
// for one: each replay leaves something behind by which it is known to be done.
// resume is the last message of it that the stream has; nil for none.
func (r *renderer) replayed(out *sdk.Batch, base sdk.Position, d *replayed, resume *sink.Place) (*sink.Group, error) {
	r.begin(base, base)
	r.rebase = true
	id := r.text([]byte(d.tx))
	r.tx = id
	parts, from := 0, 0
	for row := range out.Rows() {
		parts += r.parts(out.Row(row))
	}
	if resume != nil {
		if uint64(parts) != uint64(resume.Parts) {
			return nil, fault.New(fault.Fatal, sink.CodeNotReproducible, r.context.Pipeline,
				"a step or its configuration has changed since the stream's last message was written: run with what they were until the replay is finished",
				"the replay of %s can't be finished: it gives %d messages where the stream has %s", d.key, parts, resume)
		}
		from, r.behind, r.carry = int(resume.Part)+1, true, *resume
	}
	first, part := len(r.g.Messages), 0
	for row := range out.Rows() {
		for k := range r.parts(out.Row(row)) {
			if part >= from {
				r.message(out.Row(row), k, id, sink.Place{Part: uint32(part), Parts: uint32(parts), N: uint64(part)})
			}
			part++
		}
	}
	if parts == 0 {
		at := len(r.g.Buf)
		r.g.Buf = format.AppendReplay(r.g.Buf, d.key.String(), d.reason)
		r.add(sink.Message{Kind: sink.KindReplay, Subject: r.control, Body: r.cut(at), TxLast: true, SubjectLast: true}, id, span{})
		r.last = len(r.g.Messages) - 1
	}
	for i := range r.g.Messages {
		if m := &r.g.Messages[i]; m.Kind == sink.KindData || m.Kind == sink.KindReplay {
			m.Replay, m.Original = d.number, d.original
		}
	}
	r.ranges = append(r.ranges, txRange{first, len(r.g.Messages), 1})
	return r.finish(), nil
}
