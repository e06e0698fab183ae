package pipeline

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// renderer turns batches into groups of messages. What it gives for a
// transaction depends on the transaction alone: not on the batches that it came
// in, nor on where an earlier run was interrupted.
type renderer struct {
	format   format.Format
	keyer    format.Keyer     // nil when the format has none
	parted   format.Parted    // nil when a row is one message
	subject  format.Addressed // nil when a table's messages have one subject
	refuser  format.Refuser   // nil when every row can be said
	sendsKey bool             // the key goes out beside the body
	context  format.Context
	subjects subjects
	control  string
	pool     pool
	number   uint64 // of the last group
	memory   int    // that it takes

	tables    []*table // by schema id
	announced map[string]string

	// Of the transaction that began in an earlier batch and has not ended:
	open  string     // its id; empty between transactions
	n     uint64     // messages that it gave so far
	carry sink.Place // of its last message; meaningful when n > 0
	// counts are of the transaction in parts; inParts says that one is rendered.
	counts  counts
	inParts bool
	// resume is the anchor's message until its row has come by again.
	resume *sink.Place
	// done is the anchor's transaction when the sink has all of it, until it has
	// come by again without its rows; with other tables it may not come at all.
	done string

	run     uint64 // that all messages belong to; 0 for none
	runText string // likewise, in digits

	// rebase says that the next message must carry its own base: rows of tables
	// went out since the last one that did, or may have.
	rebase bool

	g      *group
	texts  []byte         // transaction ids and routed subjects of the open group
	ranges []txRange      // transactions that are whole in the open group
	last   int            // index of the last message that has a place, -1 without
	behind bool           // the sink has messages behind the group's base: carry is the last
	tx     span           // id of the transaction that is being rendered
	seen   map[string]int // for SubjectLast

	bytesMax int      // of a message whose row is not refused; 0 for no limit
	refused  []tooBig // rows of the batch that were
	data     int      // data messages in the open group
	ahead    []int    // for each row of the batch: data before it
}

// textsKeptMax bounds the scratch that is kept from one group to the next.
const textsKeptMax = 256 << 10

// table is what the rows of one schema have in common.
type table struct {
	schema      *sdk.Schema
	subject     string
	fingerprint string
}

// span is a piece of renderer.texts.
type span struct{ from, to int }

// txRange is the messages of one whole transaction.
type txRange struct {
	from, to int
	rows     uint64
}

// newRenderer returns a renderer of what follows an anchor; run is the number of
// the run that it belongs to, 0 for none.
func newRenderer(s *Spec, anchor sink.Anchor, run uint64) *renderer {
	r := &renderer{format: s.Format, context: format.Context{Pipeline: s.Name, Source: s.SourceKind},
		subjects: newSubjects(s.Subject, s.Name), announced: map[string]string{}, seen: map[string]int{}, rebase: true}
	r.control = r.subjects.control
	if run > 0 {
		r.run, r.runText = run, strconv.FormatUint(run, 10)
	}
	r.keyer, _ = s.Format.(format.Keyer)
	r.parted, _ = s.Format.(format.Parted)
	r.subject, _ = s.Format.(format.Addressed)
	r.refuser, _ = s.Format.(format.Refuser)
	if k, ok := s.Format.(format.KeySender); ok {
		r.sendsKey = k.SendsKey()
	}
	if anchor.At.Tx != "" {
		at := anchor.At
		r.open, r.n, r.carry = at.Tx, at.N, at
		if at.Parts > 0 { // and not the transaction's end, whose number is that of all
			r.n++
		}
		if anchor.Complete {
			r.done = at.Tx
		} else {
			r.resume = &at
		}
	}
	return r
}

// sent reports whether messages of an unfinished transaction went out: between
// them no position is exact.
func (r *renderer) sent() bool { return r.open != "" && r.n > 0 }

// pending is how many messages of an unfinished transaction there are.
func (r *renderer) pending() uint64 {
	if r.open == "" {
		return 0
	}
	return r.n
}

// inside reports whether the anchor's transaction, or another one, has not ended
// yet.
func (r *renderer) inside() bool { return r.resume != nil || r.done != "" || r.sent() }

// group renders what the steps made of a batch; nil when it gives no message.
func (r *renderer) group(b *cdc.Batch, out *sdk.Batch) (*sink.Group, error) {
	r.begin(b.Begin, b.End)
	r.rebase = r.rebase || b.Snapshot
	for _, d := range b.Definitions {
		from := len(r.g.Buf)
		r.g.Buf = format.AppendHistory(r.g.Buf, d.Behind, d.DB, d.Table, d.Record, r.run)
		r.controlMessage(sink.KindHistory, r.cut(from))
	}
	r.refused, r.data, r.ahead = r.refused[:0], 0, r.ahead[:0]
	row := 0
	for i := range b.Txs() {
		tx := b.Tx(i)
		if r.done != "" && string(tx.ID()) != r.done { // the group's base is behind it
			r.done, r.open, r.behind = "", "", false
		}
		if r.open != "" && string(tx.ID()) != r.open {
			return nil, r.notReproducible(tx, "the source went on with transaction %s inside %s", tx.ID(), r.open)
		}
		next, err := r.transaction(i, tx, out, row)
		if err != nil {
			return nil, err
		}
		row = next
	}
	if row != out.Rows() {
		return nil, fault.New(fault.Fatal, CodeStepBroken, r.context.Pipeline, "update or remove the step",
			"a step gave rows that belong to no transaction of its input, or out of order")
	}
	g := r.finish()
	r.rebase = r.rebase || b.Snapshot // the next group's base has these rows behind it
	return g, nil
}

// transaction renders the rows of transaction i, which begin at row.
func (r *renderer) transaction(i int, tx sdk.Tx, out *sdk.Batch, row int) (next int, err error) {
	if r.done != "" {
		if tx.Ends() {
			r.done, r.open = "", ""
		}
		return row, nil
	}
	if r.open == "" {
		r.n = 0
		r.counts.reset()
	}
	r.inParts = !tx.Whole()
	first, id := len(r.g.Messages), r.text(tx.ID())
	r.tx = id
	for row < out.Rows() && out.Row(row).TxIndex() == i {
		ordinal, end, parts := out.Row(row).Ordinal(), row, 0
		for end < out.Rows() && out.Row(end).TxIndex() == i && out.Row(end).Ordinal() == ordinal {
			if err := r.refuse(out.Row(end)); err != nil {
				return 0, err
			}
			parts += r.parts(out.Row(end))
			end++
		}
		from, limit := 0, r.bytesMax
		if r.resume != nil {
			if ordinal != r.resume.Row || uint64(parts) != uint64(r.resume.Parts) {
				return 0, r.notReproducible(tx, "row %d gave %d messages where the stream has %s", ordinal, parts, r.resume)
			}
			from, r.resume = int(r.resume.Part)+1, nil
			limit = 0 // it was taken, in part at least
		}
		r.rows(out, row, end, sink.Place{Row: ordinal, Part: uint32(from), Parts: uint32(parts)}, id, limit)
		row = end
	}
	if !tx.Ends() {
		r.open = string(tx.ID())
		return row, nil
	}
	return row, r.endTx(tx, id, first)
}

// endTx ends a transaction: one that came whole has marked messages, one that
// came in parts a message behind it.
func (r *renderer) endTx(tx sdk.Tx, id span, first int) error {
	if at := r.resume; at != nil {
		return r.notReproducible(tx, "its %d rows gave nothing where the stream has %s", tx.RowsTotal(), at)
	}
	switch {
	case tx.Whole():
		if len(r.g.Messages) > first {
			r.ranges = append(r.ranges, txRange{first, len(r.g.Messages), tx.RowsTotal()})
		}
	case r.n > 0:
		from := len(r.g.Buf)
		r.g.Buf = format.AppendTxEnd(r.g.Buf, format.TxEndBody{Tx: string(tx.ID()), Rows: tx.RowsTotal(), Messages: r.n,
			Subjects: r.counts.by, SubjectsLeftOut: r.counts.leftOut})
		r.add(sink.Message{Kind: sink.KindTxEnd, Subject: r.control, Body: r.cut(from), TxRows: tx.RowsTotal(), TxLast: true,
			SubjectLast: true, Place: sink.Place{Row: tx.RowsTotal(), N: r.n}}, id, span{})
		r.last = len(r.g.Messages) - 1
	}
	r.open = ""
	return nil
}

func (r *renderer) notReproducible(tx sdk.Tx, what string, args ...any) error {
	return fault.New(fault.Fatal, sink.CodeNotReproducible, r.context.Pipeline,
		"a step, its configuration or the followed tables have changed since the stream's last message was written: run with what they were until the transaction is delivered",
		"transaction %s can't be resumed: %s", tx.ID(), fmt.Sprintf(what, args...))
}

// refuse returns why the format can't say the row; nil where it can.
func (r *renderer) refuse(row sdk.Row) error {
	if r.refuser == nil {
		return nil
	}
	return r.refuser.Refuse(row)
}

// parts returns how many messages the format gives for a row.
func (r *renderer) parts(row sdk.Row) int {
	if r.parted == nil {
		return 1
	}
	return r.parted.Parts(row)
}

// rows adds the messages of the rows from row to end, which have one ordinal,
// from a part on.
func (r *renderer) rows(out *sdk.Batch, row, end int, place sink.Place, id span, limit int) {
	at := r.mark(out, row, end, limit)
	first, from, begin := len(r.g.Messages), place.Part, row
	place.Part = 0
	for ; row < end; row++ {
		r.ahead = append(r.ahead, r.data)
		for k := range r.parts(out.Row(row)) {
			if place.Part >= from {
				place.N = r.n
				r.message(out.Row(row), k, id, place)
				r.n++
				r.data++
			}
			place.Part++
		}
	}
	if limit > 0 && r.tooLarge(at, begin, end, limit) {
		for k := range end - begin { // nothing lies before any of them
			r.ahead[len(r.ahead)-1-k] = r.data
		}
		return
	}
	if r.inParts {
		r.countSince(first)
	}
}

// message adds message k of one row.
func (r *renderer) message(row sdk.Row, k int, id span, place sink.Place) {
	r.context.Part = place.Part
	t := r.table(row.Schema())
	m := sink.Message{Kind: sink.KindData, Subject: t.subject, Place: place}
	subject, key, headers := row.Dest()
	var routed span
	switch {
	case r.subject != nil:
		routed.from = len(r.texts)
		r.texts = r.subject.AppendPartSubject(r.texts, row, k)
		routed.to = len(r.texts)
	case len(subject) > 0:
		routed.from = len(r.texts)
		r.texts = r.subjects.appendRouted(r.texts, subject)
		routed.to = len(r.texts)
	}
	from := len(r.g.Buf)
	r.appendBody(row, k)
	m.Body = r.cut(from)
	if from = len(r.g.Buf); len(key) > 0 {
		r.g.Buf = append(r.g.Buf, key...)
	} else {
		r.appendKey(row, k)
	}
	m.Key = r.cut(from)
	m.KeyHeader = r.sendsKey && len(m.Key) > 0
	from = len(r.g.Buf)
	r.g.Buf = append(r.g.Buf, headers...)
	if r.parted != nil {
		r.g.Buf = r.parted.AppendPartHeaders(r.g.Buf, row, r.context, k)
	}
	if len(r.g.Buf) > from {
		m.Headers = r.cut(from)
	}
	r.add(m, id, routed)
	r.last = len(r.g.Messages) - 1
}

func (r *renderer) appendBody(row sdk.Row, k int) {
	if r.parted != nil {
		r.g.Buf = r.parted.AppendPart(r.g.Buf, row, r.context, k)
	} else {
		r.g.Buf = r.format.AppendRow(r.g.Buf, row, r.context)
	}
}

func (r *renderer) appendKey(row sdk.Row, k int) {
	if r.parted != nil {
		r.g.Buf = r.parted.AppendPartKey(r.g.Buf, row, r.context, k)
	} else if r.keyer != nil {
		r.g.Buf = r.keyer.AppendKey(r.g.Buf, row)
	}
}

// table returns what rows of the schema have in common. The first time in a
// run, and whenever it is another definition than the table's last, the
// definition goes out first.
func (r *renderer) table(s *sdk.Schema) *table {
	for int(s.ID) >= len(r.tables) {
		r.tables = append(r.tables, nil)
	}
	t := r.tables[s.ID]
	if t == nil || t.schema != s {
		t = &table{schema: s, subject: r.subjects.table(s), fingerprint: s.Fingerprint()}
		r.tables[s.ID] = t
	}
	if r.announced[t.subject] != t.fingerprint {
		r.announced[t.subject] = t.fingerprint
		from := len(r.g.Buf)
		r.g.Buf = format.AppendSchema(r.g.Buf, s, t.fingerprint)
		r.controlMessage(sink.KindSchema, r.cut(from))
	}
	return t
}

// controlMessage adds a message that is no step forward: it has the place of
// the message before it, or none where the group's Base is exact.
func (r *renderer) controlMessage(kind sink.MessageKind, body []byte) {
	m := sink.Message{Kind: kind, Subject: r.control, Body: body}
	var id span
	switch {
	case r.last >= 0:
		m.Place, id = r.g.Messages[r.last].Place, r.g.ids[r.last]
	case r.behind:
		m.Place = r.carry
		id = r.text([]byte(r.carry.Tx))
	}
	m.TxLast = id.to > id.from && !bytes.Equal(r.texts[id.from:id.to], r.texts[r.tx.from:r.tx.to])
	r.add(m, id, span{})
}

// heartbeat returns a group that only says how far reading has come.
func (r *renderer) heartbeat(pos sdk.Position, logPos string) *sink.Group {
	r.begin(pos, pos)
	r.g.Buf = format.AppendHeartbeat(r.g.Buf, pos, logPos)
	r.controlMessage(sink.KindHeartbeat, r.cut(0))
	return r.finish()
}

// runMessage returns a group that says that a run begins or ends at a position;
// messages is nil for the begin.
func (r *renderer) runMessage(pos sdk.Position, run cdc.Run, messages *uint64) *sink.Group {
	r.begin(pos, pos)
	r.g.Buf = format.AppendRun(r.g.Buf, format.RunBody{Run: run.Number, Due: run.Due, Began: run.Began, Position: pos, Messages: messages})
	kind := sink.KindRunBegin
	if messages != nil {
		kind = sink.KindRunEnd
	}
	r.controlMessage(kind, r.cut(0))
	return r.finish()
}

func (r *renderer) begin(base, end sdk.Position) {
	r.g = r.pool.get()
	r.g.Base, r.g.End, r.g.Run = base, end, r.runText
	r.texts, r.ranges, r.last, r.tx = r.texts[:0], r.ranges[:0], -1, span{}
	r.behind = r.sent()
}

func (r *renderer) text(v []byte) span {
	from := len(r.texts)
	r.texts = append(r.texts, v...)
	return span{from, len(r.texts)}
}

// cut returns what was appended to the buffer: a view that stays good when the
// buffer grows.
func (r *renderer) cut(from int) []byte { return r.g.Buf[from:len(r.g.Buf):len(r.g.Buf)] }

func (r *renderer) add(m sink.Message, id, subject span) {
	r.g.Messages = append(r.g.Messages, m)
	r.g.ids = append(r.g.ids, id)
	r.g.routed = append(r.g.routed, subject)
}

// finish resolves the texts, with one allocation for all, and sets the flags
// that depend on what follows.
func (r *renderer) finish() *sink.Group {
	g := r.g
	r.g = nil
	if len(g.Messages) == 0 {
		r.pool.put(g)
		return nil
	}
	g.Messages[0].Rebase, r.rebase = r.rebase, false
	all := string(r.texts)
	g.text = all
	if cap(r.texts) > textsKeptMax {
		r.texts = nil
	}
	for i := range g.Messages {
		m := &g.Messages[i]
		m.Place.Tx = all[g.ids[i].from:g.ids[i].to]
		if s := g.routed[i]; s.to > s.from {
			m.Subject = all[s.from:s.to]
		}
		g.Bytes += len(m.Subject) + len(m.Key) + len(m.Body) + len(m.Headers)
	}
	for _, t := range r.ranges {
		r.flag(g.Messages[t.from:t.to], t.rows)
	}
	if r.open != "" && r.last >= 0 {
		r.carry = g.Messages[r.last].Place
	}
	r.number++
	g.Number, r.memory = r.number, g.memory()
	return &g.Group
}

// flag sets the flags of a whole transaction's messages.
func (r *renderer) flag(messages []sink.Message, rows uint64) {
	clear(r.seen)
	last := true
	for i := len(messages) - 1; i >= 0; i-- {
		m := &messages[i]
		if m.Kind != sink.KindData {
			continue
		}
		m.TxRows, m.TxLast = rows, last
		last = false
		if _, known := r.seen[m.Subject]; !known {
			r.seen[m.Subject] = i
			m.SubjectLast = true
		}
	}
}
