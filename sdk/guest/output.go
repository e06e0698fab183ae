package guest

import (
	"encoding/binary"

	"github.com/cdcd-io/cdcd/sdk"
)

// Output takes the rows that replace the row in hand, and the reason when it is
// refused. What is given to it counts only with the matching verdict.
type Output struct {
	builder sdk.Builder
	batch   *sdk.Batch // the input
	source  sdk.Row
	row     int
	begun   bool // the builder has been reset for this batch
	opened  bool // the builder has a transaction for the row in hand
	reason  []byte
	reasons []byte
	bytes   []byte
}

// reasonBytesMax bounds the reason of one refused row.
const reasonBytesMax = 1 << 10

// Copy gives the row in hand, or another of the batch, as it is.
func (o *Output) Copy(r sdk.Row) {
	o.open()
	o.builder.CopyRow(r)
	o.number()
}

// Route gives the row in hand a destination: subject tokens separated by dots,
// message key, header lines "Name: value\n". Empty parts are the pipeline's to
// choose.
func (o *Output) Route(r sdk.Row, subject, key, headers []byte) {
	o.open()
	o.builder.CopyRowTo(r, subject, key, headers)
	o.number()
}

// Begin opens a new row of the schema that the connector answered for the row's
// table, with the parts that it is to have. It is filled through the builder's
// After, Before, SetBytes and SetDest and closed with End. s is what the
// connector returned from Schema, or the row's own schema.
func (o *Output) Begin(s *sdk.Schema, op sdk.Op, parts sdk.RowFlags) *sdk.Builder {
	o.open()
	o.builder.BeginRow(s, op, parts, o.source.Ordinal())
	o.builder.SetSource(o.row)
	return &o.builder
}

// End closes the row that Begin opened.
func (o *Output) End() {
	o.builder.EndRow()
}

// Refuse gives the reason for VerdictDeadLetter.
func (o *Output) Refuse(reason string) {
	o.reason = append(o.reason[:0], reason[:min(len(reason), reasonBytesMax)]...)
}

func (o *Output) number() {
	o.builder.SetSource(o.row)
	o.builder.SetOrdinal(o.source.Ordinal())
}

func (o *Output) reset(batch *sdk.Batch) {
	o.batch, o.begun = batch, false
	o.reasons, o.bytes = o.reasons[:0], o.bytes[:0]
}

// open readies the builder. Each input row's replacements are a transaction of
// their own, so that takeBack can drop them; the host reads only the rows.
func (o *Output) open() {
	if !o.begun {
		o.builder.KeepInline()
		o.builder.Reset()
		o.begun = true
	}
	if !o.opened {
		o.builder.BeginTx(sdk.TxInfo{})
		o.opened = true
	}
}

// takeBack forgets the rows given for the row in hand.
func (o *Output) takeBack() {
	if o.opened {
		o.builder.DropTx()
		o.opened = false
	}
}

// fileReason keeps the reason of the row in hand: u32 row, u32 length, text.
func (o *Output) fileReason() {
	o.reasons = binary.LittleEndian.AppendUint32(o.reasons, uint32(o.row))
	o.reasons = binary.LittleEndian.AppendUint32(o.reasons, uint32(len(o.reason)))
	o.reasons = append(o.reasons, o.reason...)
}

func (o *Output) seal() []byte {
	if o.begun && o.builder.Rows() > 0 {
		o.bytes = o.builder.Seal(o.batch.Schemas()).Bytes()
	}
	return o.bytes
}
