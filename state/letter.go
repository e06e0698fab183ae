package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// replayTx begins what stands for the transaction of a replayed row: no source's
// names do.
const replayTx = "replay:"

// ReplayTx names the transaction in which a dead letter's row comes by again: the
// replay's number, which no other replay of the pipeline has, and the letter.
func ReplayTx(number uint64, k DeadLetterKey) string {
	return replayTx + strconv.FormatUint(number, 10) + ":" + k.String()
}

// ParseReplayTx reads ReplayTx's form; ok is false for a transaction of the log.
func ParseReplayTx(tx string) (number uint64, k DeadLetterKey, ok bool) {
	rest, ok := strings.CutPrefix(tx, replayTx)
	if !ok {
		return 0, k, false
	}
	text, id, ok := strings.Cut(rest, ":")
	number, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || number == 0 {
		return 0, k, false
	}
	k, err = ParseDeadLetterKey(id)
	return number, k, err == nil
}

// letterVersion begins dead letters. Those with earlier ones are read for ever:
// inlineVersion's end with their row, and valueVersion's don't know their place among
// the others of their key either.
const (
	inlineVersion byte = 2
	letterVersion byte = 3
)

// encodeLetter: version | time µs | reason | position | attempts | number |
// changed by | number of keys | each, 8 bytes | table | operation | commit time µs |
// place in the log | body.
func encodeLetter(d *DeadLetter) []byte {
	b := binary.AppendUvarint([]byte{letterVersion}, uint64(d.Time.UnixMicro()))
	b = appendBytes(b, d.Reason)
	b = appendBytes(b, string(d.Position))
	b = binary.AppendUvarint(b, uint64(d.Attempts))
	b = binary.AppendUvarint(b, d.Number)
	b = appendBytes(b, d.ChangedBy)
	b = binary.AppendUvarint(b, uint64(len(d.keys)))
	for _, k := range d.keys {
		b = binary.LittleEndian.AppendUint64(b, k)
	}
	b = appendBytes(b, d.Table)
	b = append(b, byte(d.Op))
	b = binary.AppendUvarint(b, uint64(d.Committed.UnixMicro()))
	b = appendBytes(b, d.LogPos)
	return appendBody(b, d.body)
}

// encodeRow: schema | batch | number of large values | each.
func encodeRow(row *sdk.Batch) []byte {
	b := appendBytes(nil, sdk.AppendSchema(nil, row.Row(0).Schema()))
	b = appendBytes(b, row.Bytes())
	b = binary.AppendUvarint(b, uint64(len(row.Large())))
	for _, v := range row.Large() {
		b = appendBytes(b, v)
	}
	return b
}

// cutLetter reads a record, and of one of an earlier version what is known without
// its row.
func cutLetter(p []byte) (d DeadLetter, err error) {
	if len(p) == 0 || p[0] < valueVersion || p[0] > letterVersion {
		return d, errValue
	}
	f := fields{p: p[1:]}
	d.Time = time.UnixMicro(int64(f.uint())).UTC()
	d.Reason = string(f.bytes())
	d.Position = sdk.Position(f.bytes())
	d.Attempts = 1
	if p[0] > valueVersion {
		d.Attempts = int(f.uint())
		d.Number = f.uint()
		d.ChangedBy = string(f.bytes())
		n := f.uint()
		if n > uint64(len(f.p)/8) {
			return d, errValue
		}
		for range n {
			d.keys = append(d.keys, binary.LittleEndian.Uint64(f.p))
			f.p = f.p[8:]
		}
	}
	if p[0] < letterVersion {
		d.row = f.p
	} else {
		d.Table = string(f.bytes())
		d.Op = sdk.Op(f.byte())
		d.Committed = time.UnixMicro(int64(f.uint())).UTC()
		d.LogPos = string(f.bytes())
		d.body = f.body()
		f.bad = f.bad || len(f.p) > 0
	}
	if f.bad {
		return d, errValue
	}
	d.Bytes = len(p) + d.body.bytes
	return d, nil
}

// describe takes what a letter says of its row.
func (d *DeadLetter) describe(row sdk.Row) {
	tx := row.Tx()
	d.Table, d.Op = row.Schema().FullName(), row.Op()
	d.Committed = time.UnixMicro(tx.Time()).UTC()
	d.LogPos = fmt.Sprintf("%s:%d", tx.File(), tx.PosStart())
}

// open decodes the letter's row: the one that came with the record, or the one given.
func (d *DeadLetter) open(row []byte) (err error) {
	if d.Batch, err = decodeRow(row); err != nil {
		return err
	}
	d.describe(d.Batch.Row(0))
	if d.keys == nil {
		d.keys = RowKeys(nil, d.Batch.Row(0))
	}
	return nil
}

// decodeRow reads what encodeRow gave, and returns views of it.
func decodeRow(row []byte) (*sdk.Batch, error) {
	f := fields{p: row}
	schema, region := f.bytes(), f.bytes()
	n := f.uint()
	if f.bad || n > uint64(len(f.p)) {
		return nil, errValue
	}
	large := make([][]byte, 0, n)
	for range n {
		large = append(large, f.bytes())
	}
	s, err := sdk.DecodeSchema(schema)
	if err != nil || f.bad || len(f.p) != 0 || s.ID > schemaIDMax {
		return nil, errors.Join(errValue, err)
	}
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	b, err := sdk.Open(region, schemas, large)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errValue, err)
	}
	if b.Rows() != 1 {
		return nil, errValue
	}
	return b, nil
}
