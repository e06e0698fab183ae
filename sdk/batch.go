package sdk

import (
	"encoding/binary"
	"fmt"
)

// Batch is rows in commit order in one flat region: what the decoder writes,
// connectors edit in place and sinks render. The zero Batch is empty.
//
// A Batch is not safe for concurrent use, and the views that it hands out
// (Row, Image, byte slices) hold until it is next written to or reused.
type Batch struct {
	buf     []byte
	schemas []*Schema // by id
	large   [][]byte
}

var le = binary.LittleEndian

// Open makes a Batch of a region that came from elsewhere, after checking that
// every offset and count in it stays inside. schemas is indexed by schema id.
// The Batch keeps region and schemas. The error wraps ErrBatch.
func Open(region []byte, schemas []*Schema, large [][]byte) (*Batch, error) {
	b := &Batch{}
	if err := b.Reopen(region, schemas, large); err != nil {
		return nil, err
	}
	return b, nil
}

// Reopen is Open into an existing Batch, without allocating.
func (b *Batch) Reopen(region []byte, schemas []*Schema, large [][]byte) error {
	n := Batch{buf: region, schemas: schemas, large: large}
	if err := n.check(); err != nil {
		return err
	}
	n.buf = region[:n.u32(offSize)]
	*b = n
	return nil
}

// Bytes returns the region in use: a view, for copying.
func (b *Batch) Bytes() []byte { return b.buf }

// Size returns the bytes that the batch occupies, large values included.
func (b *Batch) Size() int {
	n := len(b.buf)
	for _, v := range b.large {
		n += len(v)
	}
	return n
}

// Schemas returns the schemas that the rows may refer to, indexed by id.
func (b *Batch) Schemas() []*Schema { return b.schemas }

// Large returns the values that live beside the batch.
func (b *Batch) Large() [][]byte { return b.large }

// Rows returns the number of rows.
func (b *Batch) Rows() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int(b.u32(offRows))
}

// Seq returns the number that the pipeline gave the batch.
func (b *Batch) Seq() uint64 { return b.u64(offBatchSeq) }

// SetSeq numbers the batch.
func (b *Batch) SetSeq(n uint64) { le.PutUint64(b.buf[offBatchSeq:], n) }

// Time returns the commit time of the first row, in microseconds since the
// Unix epoch.
func (b *Batch) Time() int64 { return int64(b.u64(offTime)) }

// Txs returns the number of transactions that have rows in the batch.
func (b *Batch) Txs() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int(b.u32(offTxs))
}

// Tx returns transaction i.
func (b *Batch) Tx(i int) Tx {
	return Tx{b: b, off: int(b.u32(offTxDir)) + i*int(b.u32(offTxStride))}
}

// Row returns row i.
func (b *Batch) Row(i int) Row {
	off := int(b.u32(int(b.u32(offRowDir)) + 4*i))
	return Row{b: b, off: off, columns: int(b.u32(off + rowColumns))}
}

// Keep drops the rows for which keep is false. The rows' bytes stay where they
// are; only the directory shrinks, and each transaction's share with it.
func (b *Batch) Keep(keep func(i int) bool) {
	dir, n, out := int(b.u32(offRowDir)), b.Rows(), 0
	for t := range b.Txs() {
		tx := b.Tx(t)
		first, end := tx.FirstRow(), tx.FirstRow()+tx.Rows()
		le.PutUint32(b.buf[tx.off+txFirstRow:], uint32(out))
		kept := 0
		for i := first; i < end && i < n; i++ {
			if keep(i) {
				copy(b.buf[dir+4*out:dir+4*out+4], b.buf[dir+4*i:dir+4*i+4])
				out++
				kept++
			}
		}
		le.PutUint32(b.buf[tx.off+txRows:], uint32(kept))
	}
	le.PutUint32(b.buf[offRows:], uint32(out))
}

func (b *Batch) u16(off int) uint16 { return le.Uint16(b.buf[off:]) }
func (b *Batch) u32(off int) uint32 { return le.Uint32(b.buf[off:]) }
func (b *Batch) u64(off int) uint64 { return le.Uint64(b.buf[off:]) }

// text resolves a text slot at off.
func (b *Batch) text(off int) []byte { return b.value(b.u64(off)) }

// value resolves a heap slot, large values included.
func (b *Batch) value(slot uint64) []byte {
	o, n := uint32(slot), uint32(slot>>32)
	if n&LargeBit != 0 {
		if int(o) >= len(b.large) {
			return nil // a guest reads large values through the host
		}
		return b.large[o]
	}
	return b.buf[o : o+n : o+n]
}

// Tx is one transaction's entry in a batch.
type Tx struct {
	b   *Batch
	off int
}

// ID returns the transaction's GTID, or "file:position" of its start. A view.
func (t Tx) ID() []byte { return t.b.text(t.off + txID) }

// File returns the log file that the transaction is in. A view.
func (t Tx) File() []byte { return t.b.text(t.off + txFile) }

// PosStart returns the log position of the transaction's first event.
func (t Tx) PosStart() uint64 { return t.b.u64(t.off + txPosStart) }

// PosEnd returns the log position behind its last event; 0 until Ends.
func (t Tx) PosEnd() uint64 { return t.b.u64(t.off + txPosEnd) }

// Time returns the commit time in microseconds since the Unix epoch.
func (t Tx) Time() int64 { return int64(t.b.u64(t.off + txTime)) }

// FirstRow returns the index of its first row in the batch.
func (t Tx) FirstRow() int { return int(t.b.u32(t.off + txFirstRow)) }

// Rows returns how many of its rows are in the batch.
func (t Tx) Rows() int { return int(t.b.u32(t.off + txRows)) }

// Begins reports whether the batch holds the transaction's first followed row.
func (t Tx) Begins() bool { return t.b.u32(t.off+txFlags)&TxBegins != 0 }

// Ends reports whether the batch holds its last followed row.
func (t Tx) Ends() bool { return t.b.u32(t.off+txFlags)&TxEnds != 0 }

// Whole reports whether the batch holds all of the transaction.
func (t Tx) Whole() bool { return t.Begins() && t.Ends() }

// Server returns the id of the server on which the transaction ran first.
func (t Tx) Server() uint32 { return t.b.u32(t.off + txServer) }

// RowsBefore returns how many of its rows earlier batches held.
func (t Tx) RowsBefore() uint64 { return t.b.u64(t.off + txRowsBefore) }

// RowsTotal returns how many followed rows it has in all; 0 until Ends.
func (t Tx) RowsTotal() uint64 { return t.b.u64(t.off + txRowsTotal) }

// check verifies every offset and count of the region.
func (b *Batch) check() error {
	bad := func(what string, v ...any) error {
		return fmt.Errorf("%w: %s", ErrBatch, fmt.Sprintf(what, v...))
	}
	if len(b.buf) < HeaderSize {
		return bad("%d bytes are too few for a header", len(b.buf))
	}
	if b.u32(offMagic) != Magic || b.u16(offABI) != ABI {
		return bad("magic %#x abi %d", b.u32(offMagic), b.u16(offABI))
	}
	hs, size := int(b.u16(offHeaderSize)), uint64(b.u32(offSize))
	if hs < HeaderSize || uint64(hs) > size || size > uint64(len(b.buf)) || size > uint64(b.u32(offCapacity)) {
		return bad("header of %d bytes, size %d, capacity %d, region of %d", hs, size, b.u32(offCapacity), len(b.buf))
	}
	rows, dir := uint64(b.u32(offRows)), uint64(b.u32(offRowDir))
	txs, txDir, stride := uint64(b.u32(offTxs)), uint64(b.u32(offTxDir)), uint64(b.u32(offTxStride))
	if dir < uint64(hs) || dir%4 != 0 || dir+4*rows > size {
		return bad("directory of %d rows at %d", rows, dir)
	}
	if txDir < uint64(hs) || txDir%8 != 0 || stride < TxStride || stride > 4096 || txDir+stride*txs > size {
		return bad("directory of %d transactions at %d", txs, txDir)
	}
	if uint64(b.u32(offFirstRow)) > rows {
		return bad("first row %d of %d", b.u32(offFirstRow), rows)
	}
	next := uint64(0)
	for i := range int(txs) {
		tx := b.Tx(i)
		if uint64(tx.FirstRow()) != next {
			return bad("transaction %d begins at row %d, not %d", i, tx.FirstRow(), next)
		}
		next += uint64(tx.Rows())
		if !b.inside(b.u64(tx.off+txID), size) || !b.inside(b.u64(tx.off+txFile), size) {
			return bad("transaction %d: text outside the batch", i)
		}
	}
	if next != rows {
		return bad("transactions hold %d of %d rows", next, rows)
	}
	for i := range int(rows) {
		if err := b.checkRow(i, size); err != nil {
			return err
		}
	}
	return nil
}

// inside reports whether a heap slot stays within the region or names a large
// value.
func (b *Batch) inside(slot, size uint64) bool {
	o, n := slot&0xffffffff, slot>>32
	if n&LargeBit != 0 {
		return o < uint64(b.u32(offLarge))
	}
	return o+n <= size
}

func (b *Batch) checkRow(i int, size uint64) error {
	bad := func(what string) error { return fmt.Errorf("%w: row %d: %s", ErrBatch, i, what) }
	off := uint64(b.u32(int(b.u32(offRowDir)) + 4*i))
	if off < HeaderSize || off%8 != 0 || off+RowHeaderSize > size {
		return bad("outside the batch")
	}
	columns, fixed := uint64(b.u32(int(off)+rowColumns)), uint64(b.u32(int(off)+rowSize))
	if columns > 1<<16 || off+fixed > size {
		return bad("fixed part outside the batch")
	}
	r := Row{b: b, off: int(off), columns: int(columns)}
	if fixed != uint64(rowFixedSize(int(columns), r.Flags())) {
		return bad("size and parts differ")
	}
	id := r.SchemaID()
	if int(id) >= len(b.schemas) || b.schemas[id] == nil || len(b.schemas[id].Columns) != int(columns) {
		return bad("unknown schema, or another number of columns")
	}
	if r.TxIndex() >= b.Txs() {
		return bad("unknown transaction")
	}
	if r.Flags()&RowDest != 0 {
		for k := range 3 {
			if !b.inside(b.u64(r.off+RowHeaderSize+8*k), size) {
				return bad("destination outside the batch")
			}
		}
	}
	for _, m := range []Image{r.After(), r.Before()} {
		if m.Valid() && !b.checkImage(m, b.schemas[id], size) {
			return bad("value outside the batch")
		}
	}
	return nil
}

func (b *Batch) checkImage(m Image, s *Schema, size uint64) bool {
	for c := range s.Columns {
		if !s.Columns[c].Type.Inline() && m.Has(c) && !b.inside(m.Slot(c), size) {
			return false
		}
	}
	return true
}

// appendHeap adds a value behind the batch and returns its slot.
func (b *Batch) appendHeap(v []byte) (uint64, error) {
	if len(v) == 0 {
		return uint64(HeaderSize), nil
	}
	off, room := len(b.buf), min(int(b.u32(offCapacity)), cap(b.buf))
	if off+len(v) > room {
		return 0, ErrFull
	}
	b.buf = append(b.buf, v...)
	le.PutUint32(b.buf[offSize:], uint32(len(b.buf)))
	return uint64(len(v))<<32 | uint64(off), nil
}

// SetCapacity says how far the region may grow; the host sets it before it
// hands the batch to a connector.
func SetCapacity(region []byte, bytes int) { le.PutUint32(region[offCapacity:], uint32(bytes)) }

// FirstRow returns how many rows are done already: a connector begins there.
func (b *Batch) FirstRow() int { return int(b.u32(offFirstRow)) }

// SetFirstRow says how many rows of the region are done already.
func SetFirstRow(region []byte, row int) { le.PutUint32(region[offFirstRow:], uint32(row)) }
