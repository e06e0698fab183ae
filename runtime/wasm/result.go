package wasm

import "github.com/cdcd-io/cdcd/sdk"

// Result is what a connector made of a batch. It owns the buffers behind Out,
// which is good until the Result is used again; reusing one keeps its buffers.
type Result struct {
	// Out holds the rows that go on, in order, with the transactions of the
	// input: the input itself when nothing changed. Rows that replace a row have
	// its ordinal.
	Out *sdk.Batch
	// Passed, Edited, Dropped and Replaced count input rows; Dead lists those
	// that the connector refused. Together they are all.
	Passed, Edited, Dropped, Replaced int
	Dead                              []DeadRow
	// Writes are what the connector changed in its kv, in order. They are to be
	// made durable before anything of Out goes out, and before the next batch.
	Writes []Write
	// Calls counts guest calls, and Fuel what all calls for the batch used, in
	// units of InstanceConfig.Fuel.
	Calls int
	Fuel  int64

	verdicts    []byte      // of the rows of the batch that the guest saw
	work        sdk.Batch   // that batch, with the edits
	edited      bool        // work is there
	output      []byte      // one call's output
	outBatch    sdk.Batch   // over output
	given       sdk.Builder // rows in place of others, in the order of those
	sources     []int32     // which row each of them stands for
	merged      sdk.Builder
	view        sdk.Batch // the input with other schemas
	rows        []int32   // those given to the connector in parts
	picking     *picking
	editedParts int // rows edited in a part: given rows in the whole
}

// DeadRow is a row that the connector refused, or crashed on.
type DeadRow struct {
	Row    int // in the input batch
	Reason string
	Trap   bool // it crashed
}

func (r *Result) reset() {
	r.Out = nil
	r.Passed, r.Edited, r.Dropped, r.Replaced, r.Calls, r.Fuel = 0, 0, 0, 0, 0, 0
	r.Dead, r.Writes = r.Dead[:0], r.Writes[:0]
	r.verdicts, r.edited, r.editedParts = r.verdicts[:0], false, 0
	r.shrink()
	r.given.Reset()
	r.given.BeginTx(sdk.TxInfo{})
	r.sources = r.sources[:0]
}

// resultKeptMax is the room of a buffer that is kept for the next batch: that of
// a large row is not.
const resultKeptMax = 1 << 20

func (r *Result) shrink() {
	if r.given.Cap() > resultKeptMax {
		r.given = sdk.Builder{}
	}
	if r.merged.Cap() > resultKeptMax {
		r.merged = sdk.Builder{}
	}
	if cap(r.work.Bytes()) > resultKeptMax {
		r.work = sdk.Batch{}
	}
	if cap(r.output) > resultKeptMax {
		r.output, r.outBatch = nil, sdk.Batch{}
	}
}

// count adds up the verdicts of a whole batch.
func (r *Result) count() {
	for _, v := range r.verdicts {
		switch sdk.Verdict(v) {
		case sdk.VerdictPass:
			r.Passed++
		case sdk.VerdictDrop:
			r.Dropped++
		case sdk.VerdictEdited:
			r.Edited++
		case sdk.VerdictReplaced:
			r.Replaced++
		}
	}
	r.Replaced -= r.editedParts
	r.Edited += r.editedParts
}

// finish makes Out from the verdicts over the whole of in: the input itself
// where nothing changed, a copy with the edits and without the rows that are
// gone, or, where rows were replaced, a new batch row by row. What a connector
// changed is checked here against the schemas that it announced.
func (r *Result) finish(in *sdk.Batch, out []*sdk.Schema, sameSchemas bool) error {
	r.count()
	if !r.edited && r.Passed == in.Rows() {
		if sameSchemas {
			r.Out = in
			return nil
		}
		r.Out = &r.view
		return r.view.Reopen(in.Bytes(), out, in.Large())
	}
	if !r.edited {
		r.work.CopyFrom(in)
	}
	r.work.Keep(func(i int) bool { return stays(r.verdicts[i]) })
	if r.edited || !sameSchemas {
		if err := r.work.Reopen(r.work.Bytes(), out, in.Large()); err != nil {
			return err
		}
	}
	r.markChanged()
	r.Out = &r.work
	if len(r.sources) > 0 {
		return r.merge(in, out)
	}
	return nil
}

func stays(verdict byte) bool {
	return sdk.Verdict(verdict) == sdk.VerdictPass || sdk.Verdict(verdict) == sdk.VerdictEdited
}

// markChanged recomputes which columns the edited rows changed.
func (r *Result) markChanged() {
	for i, at := 0, 0; i < len(r.verdicts); i++ {
		if sdk.Verdict(r.verdicts[i]) == sdk.VerdictEdited {
			r.work.Row(at).MarkChanged()
		}
		if stays(r.verdicts[i]) {
			at++
		}
	}
}

// merge writes Out row by row: the rows of work, which are those that stay,
// and between them the given ones.
func (r *Result) merge(in *sdk.Batch, out []*sdk.Schema) error {
	given := r.given.Seal(out)
	r.merged.Reset()
	stay, g := 0, 0
	for t := range in.Txs() {
		tx := in.Tx(t)
		r.merged.CopyTx(tx)
		for i := tx.FirstRow(); i < tx.FirstRow()+tx.Rows(); i++ {
			if stays(r.verdicts[i]) {
				r.merged.CopyRow(r.work.Row(stay))
				stay++
			}
			for ; g < len(r.sources) && int(r.sources[g]) == i; g++ {
				r.merged.CopyRow(given.Row(g))
			}
		}
	}
	b := r.merged.Seal(out)
	b.SetSeq(in.Seq())
	b.SetTime(in.Time())
	r.Out = b
	return b.Check()
}
