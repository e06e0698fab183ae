package wasm

import (
	"context"
	"slices"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// crashesMax bounds the rows of one batch that a connector may crash on, and
// with them the instances that a batch can cost.
const crashesMax = 32

// picking is a batch processed in parts: the chosen rows only, and ever fewer
// of them after a crash. part is the result of one part, total of all.
type picking struct {
	step    *Step
	in      *sdk.Batch
	part    Result
	total   *Result
	builder sdk.Builder
	crashes int
}

// pick processes the chosen rows of a batch, or all of them.
func (s *Step) pick(ctx context.Context, in *sdk.Batch, res *Result, all bool) error {
	res.reset()
	if res.picking == nil {
		res.picking = &picking{}
	}
	p := res.picking
	p.step, p.in, p.total, p.crashes = s, in, res, 0
	defer func() { p.step, p.in, p.total = nil, nil, nil }()
	res.rows = res.rows[:0]
	for i := range in.Rows() {
		res.verdicts = append(res.verdicts, byte(sdk.VerdictPass))
		if all || s.chooses(in.Row(i).Schema()) {
			res.rows = append(res.rows, int32(i))
		}
	}
	rows := res.rows
	if all { // the whole has crashed already
		if err := p.split(ctx, rows); err != nil {
			return err
		}
	} else if err := p.rows(ctx, rows); err != nil {
		return err
	}
	for _, row := range rows { // a new instance may not have seen them all
		if _, err := s.inst.Load().Schema(ctx, in.Row(int(row)).Schema()); err != nil {
			return err
		}
	}
	out := s.inst.Load().schemas.outOf(in.Schemas())
	same := len(out) == len(in.Schemas()) && &out[0] == &in.Schemas()[0]
	if err := res.finish(in, out, same); err != nil {
		return s.inst.Load().violation(err.Error())
	}
	res.Writes = s.config.Instance.overlay.appendTo(res.Writes)
	return nil
}

// rows gives some rows to the connector; after a crash, smaller parts of them.
func (p *picking) rows(ctx context.Context, rows []int32) error {
	batch := p.extract(rows)
	if o := p.step.config.Instance.overlay; o != nil {
		o.rows = rows
	}
	err := p.step.attempt(ctx, batch, &p.part)
	p.total.Calls += p.part.Calls
	p.total.Fuel += p.part.Fuel
	if err == nil {
		p.collect(rows)
		return nil
	}
	if !blamesRows(err) {
		return err
	}
	if len(rows) == 1 {
		if p.crashes++; p.crashes > crashesMax {
			return fault.New(fault.Fatal, "step_crashes", p.step.config.Instance.path(),
				"report it to the connector's author and take the step out meanwhile",
				"the connector crashed on more than %d rows of one batch: %w", crashesMax, err)
		}
		row := int(rows[0])
		p.total.verdicts[row] = byte(sdk.VerdictDeadLetter)
		p.total.Dead = append(p.total.Dead, DeadRow{Row: row, Reason: fault.Of(err).Err.Error(), Trap: true})
	}
	if err := p.step.restart(ctx); err != nil {
		return err
	}
	if len(rows) == 1 {
		return nil
	}
	return p.split(ctx, rows)
}

// split gives rows to the connector in two parts, or the one row that is left.
func (p *picking) split(ctx context.Context, rows []int32) error {
	if len(rows) < 2 {
		return p.rows(ctx, rows)
	}
	half := len(rows) / 2
	if err := p.rows(ctx, rows[:half]); err != nil {
		return err
	}
	return p.rows(ctx, rows[half:])
}

// extract makes a batch of some rows, with their transactions.
func (p *picking) extract(rows []int32) *sdk.Batch {
	b := &p.builder
	b.Reset()
	at := 0
	for t := range p.in.Txs() {
		tx := p.in.Tx(t)
		b.CopyTx(tx)
		for ; at < len(rows) && int(rows[at]) < tx.FirstRow()+tx.Rows(); at++ {
			b.CopyRow(p.in.Row(int(rows[at])))
		}
	}
	batch := b.Seal(p.in.Schemas())
	batch.SetSeq(p.in.Seq())
	batch.SetTime(p.in.Time())
	return batch
}

// collect files what came of a part under the rows of the whole. Edited rows
// are given rows there: the part's batch is gone with the next part.
func (p *picking) collect(rows []int32) {
	part, total := &p.part, p.total
	out, dead := 0, 0
	for k, v := range part.verdicts {
		row := int(rows[k])
		verdict := sdk.Verdict(v)
		switch verdict {
		case sdk.VerdictPass:
			out++
		case sdk.VerdictEdited:
			p.give(part.Out.Row(out), row)
			verdict = sdk.VerdictReplaced
			total.editedParts++
			out++
		case sdk.VerdictReplaced:
			for n := part.replacements(k); n > 0; n-- {
				p.give(part.Out.Row(out), row)
				out++
			}
		case sdk.VerdictDeadLetter:
			d := part.Dead[dead]
			dead++
			total.Dead = append(total.Dead, DeadRow{Row: row, Reason: d.Reason, Trap: d.Trap})
		}
		total.verdicts[row] = byte(verdict)
	}
}

func (p *picking) give(r sdk.Row, row int) {
	p.total.given.CopyRow(r)
	p.total.given.SetSource(row)
	p.total.sources = append(p.total.sources, int32(row))
}

// replacements returns how many rows stand for row k.
func (r *Result) replacements(k int) int {
	from, _ := slices.BinarySearch(r.sources, int32(k))
	to, _ := slices.BinarySearch(r.sources, int32(k)+1)
	return to - from
}
