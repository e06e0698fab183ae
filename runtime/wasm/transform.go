package wasm

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// room is what a batch may grow by in the guest before it has to ask: a masked
// column's worth.
const room = 32 << 10

// Transform gives the batch to the connector and puts what it decided into res.
// in is not changed. The error is a fault: step_trap when the connector crashed,
// step_fuel when it used up the fuel of a batch, step_timeout, step_abi when what it gave back is not what the ABI allows,
// step_failed with its own words, step_output when the batch became too large;
// or the cause of ctx's end.
func (i *Instance) Transform(ctx context.Context, in *sdk.Batch, res *Result) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	res.reset()
	if in.Rows() == 0 {
		res.Out = in
		return i.broken
	}
	before, mark := i.fuel, i.beginBatch()
	err := i.run(ctx, in, res)
	res.Fuel = i.fuel - before
	if err != nil {
		i.dropBatch(mark)
		return err
	}
	if i.config.overlay == nil {
		res.Writes = i.kv.appendTo(res.Writes)
	}
	out := i.schemas.outOf(in.Schemas())
	same := len(out) == len(in.Schemas()) && &out[0] == &in.Schemas()[0]
	if err := res.finish(in, out, same); err != nil {
		i.dropBatch(mark)
		return i.violation(err.Error())
	}
	i.changes.count(i.config.Metrics)
	return nil
}

// run takes the batch through the guest, in as many calls as it asks for, and
// leaves verdicts, edits, given rows and dead rows in res.
func (i *Instance) run(ctx context.Context, in *sdk.Batch, res *Result) error {
	i.allow(i.config.Time, i.config.Fuel)
	if err := i.announce(ctx, in); err != nil {
		return err
	}
	i.clock.wall = in.Time() * int64(time.Microsecond)
	i.seedFrom(in)
	i.large = in.Large()
	defer func() { i.large = nil }()
	now, capacity := in, len(in.Bytes())+room
	for first := 0; first < in.Rows(); {
		done, want, err := i.transformFrom(ctx, now, first, capacity, res)
		if err != nil {
			return err
		}
		if res.edited {
			now = &res.work
		}
		if done == first || want > 0 {
			capacity = max(int(want), capacity) + len(now.Bytes())
		}
		if capacity > len(in.Bytes())+i.config.OutputBytesMax {
			return i.tooMuch(fmt.Sprintf("asks for %d bytes of room for a batch of %d", capacity, len(in.Bytes())))
		}
		if res.given.Size() > i.config.OutputBytesMax {
			return i.tooMuch(fmt.Sprintf("replaces a batch of %d bytes by more than %d", in.Size(), i.config.OutputBytesMax))
		}
		first = done
	}
	return nil
}

func (i *Instance) tooMuch(what string) error {
	return fault.New(fault.Fatal, codeOutput, i.config.path(), "have the connector give less per row, or make batches smaller",
		"the connector %s %s", i.code.manifest.Name, what)
}

// transformFrom makes one call, from row first on.
func (i *Instance) transformFrom(ctx context.Context, now *sdk.Batch, first, capacity int, res *Result) (done int, want uint32, err error) {
	size := len(now.Bytes())
	view, err := i.buffer(ctx, sdk.BufBatch, max(capacity, size))
	if err != nil {
		return 0, 0, err
	}
	copy(view, now.Bytes())
	sdk.SetCapacity(view, len(view))
	sdk.SetFirstRow(view, first)
	i.rowsFrom, i.rowsEnd, i.kvMark = first, now.Rows(), i.kv.mark()
	v, err := i.call(ctx, exportTransform, uint64(size), 0)
	i.rowsEnd = 0
	if err != nil {
		return 0, 0, err
	}
	res.Calls++
	if int64(v) < 0 {
		return 0, 0, i.refusal(ctx, int64(v), fault.Fatal, "step_failed", "the connector stopped on purpose: do as its message says")
	}
	addr, length := sdk.Unpack(int64(v))
	block, ok := i.guest.view(addr, length)
	if !ok || length < sdk.ResultSize {
		return 0, 0, i.violation("its result block lies outside its memory or is too short")
	}
	result := sdk.ParseResult(block)
	if int(result.RowsDone) < first || int(result.RowsDone) > now.Rows() {
		return 0, 0, i.violation(fmt.Sprintf("it says that %d rows are done, of %d to %d", result.RowsDone, first, now.Rows()))
	}
	if int(result.RowsDone) == first && result.Want <= uint32(len(view)) {
		return 0, 0, i.violation("it did no row and asks for no more room than it had")
	}
	i.kv.keepRows(i.kvMark, int(result.RowsDone))
	if err := i.take(now, first, result, res); err != nil {
		return 0, 0, err
	}
	return int(result.RowsDone), result.Want, nil
}

// take checks one call's result and copies it out of the guest's memory.
func (i *Instance) take(now *sdk.Batch, first int, result sdk.Result, res *Result) error {
	verdicts, ok := i.guest.view(result.VerdictsAddr, result.VerdictsLen)
	if !ok || len(verdicts) != int(result.RowsDone)-first {
		return i.violation(fmt.Sprintf("it gives %d verdicts for rows %d to %d, or keeps them outside its memory",
			result.VerdictsLen, first, result.RowsDone))
	}
	edited, replaced := false, false
	for k, v := range verdicts {
		switch sdk.Verdict(v) {
		case sdk.VerdictPass, sdk.VerdictDrop, sdk.VerdictDeadLetter:
		case sdk.VerdictEdited:
			edited = true
		case sdk.VerdictReplaced:
			replaced = true
		default:
			return i.violation(fmt.Sprintf("row %d has the unknown verdict %d", first+k, v))
		}
	}
	res.verdicts = append(res.verdicts, verdicts...)
	if edited {
		if err := i.takeEdits(now, first, verdicts, res); err != nil {
			return err
		}
	}
	if replaced && result.OutputLen > 0 {
		if err := i.takeOutput(now, first, result, res); err != nil {
			return err
		}
	}
	return i.takeReasons(first, result, res)
}

// takeEdits takes the images of edited rows and the values appended: all that a
// connector can change in place.
func (i *Instance) takeEdits(now *sdk.Batch, first int, verdicts []byte, res *Result) error {
	if !res.edited {
		res.work.CopyFrom(now)
		res.edited = true
	}
	b := i.bufs[sdk.BufBatch]
	view, ok := i.guest.view(b.addr, b.size)
	if !ok {
		return i.violation("its batch buffer lies outside its memory")
	}
	if err := res.work.Adopt(view); err != nil {
		return i.violation(err.Error())
	}
	for k, v := range verdicts {
		if sdk.Verdict(v) == sdk.VerdictEdited {
			res.work.Row(first + k).Adopt(view)
		}
	}
	return nil
}

// takeOutput takes the rows that replace others.
func (i *Instance) takeOutput(now *sdk.Batch, first int, result sdk.Result, res *Result) error {
	if int(result.OutputLen) > i.config.OutputBytesMax+len(now.Bytes()) {
		return i.tooMuch(fmt.Sprintf("gives an output of %d bytes", result.OutputLen))
	}
	view, ok := i.guest.view(result.OutputAddr, result.OutputLen)
	if !ok {
		return i.violation("its output lies outside its memory")
	}
	res.output = append(res.output[:0], view...)
	if err := res.outBatch.Reopen(res.output, i.schemas.outOf(now.Schemas()), now.Large()); err != nil {
		return i.violation("its output: " + err.Error())
	}
	if res.outBatch.LargeMissing() > 0 {
		return i.violation("its output names large values that are not there")
	}
	last := first
	for k := range res.outBatch.Rows() {
		row := res.outBatch.Row(k)
		source := row.Source()
		if source < last || source >= int(result.RowsDone) || sdk.Verdict(res.verdicts[source]) != sdk.VerdictReplaced {
			return i.violation(fmt.Sprintf("output row %d names row %d as its source: out of order, or not replaced", k, source))
		}
		last = source
		if row.SchemaID() != now.Row(source).SchemaID() {
			return i.violation(fmt.Sprintf("output row %d is of another table than row %d, its source", k, source))
		}
		if res.given.Size()+row.Size() > i.config.OutputBytesMax {
			return i.tooMuch(fmt.Sprintf("replaces a batch of %d bytes by more than %d", now.Size(), i.config.OutputBytesMax))
		}
		res.given.CopyRow(row)
		res.given.SetOrdinal(now.Row(source).Ordinal())
		res.given.SetSource(source)
		res.sources = append(res.sources, int32(source))
	}
	return nil
}

// takeReasons files the refused rows: (u32 row, u32 length, text)... in order of rows.
func (i *Instance) takeReasons(first int, result sdk.Result, res *Result) error {
	p, ok := i.guest.view(result.ReasonsAddr, result.ReasonsLen)
	if !ok {
		return i.violation("its reasons lie outside its memory")
	}
	for r := first; r < int(result.RowsDone); r++ {
		if sdk.Verdict(res.verdicts[r]) != sdk.VerdictDeadLetter {
			continue
		}
		reason := "the connector gave no reason"
		if len(p) >= 8 && int(binary.LittleEndian.Uint32(p)) == r {
			n := binary.LittleEndian.Uint32(p[4:])
			if uint64(n) > uint64(len(p)-8) {
				return i.violation("a reason runs past the end")
			}
			if n > 0 {
				text := p[8 : 8+min(n, reasonBytesMax)]
				reason = strings.ToValidUTF8(string(text), "\uFFFD")
			}
			p = p[8+n:]
		}
		res.Dead = append(res.Dead, DeadRow{Row: r, Reason: reason})
	}
	return nil
}

const reasonBytesMax = 1 << 10
