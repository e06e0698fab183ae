package sdk

import (
	"bytes"
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

// Attach is Reopen for a region that comes from someone trusted, which is what
// the host is to a connector: only the header is looked at. What is wrong with
// the rest shows as a panic of an accessor.
func (b *Batch) Attach(region []byte, schemas []*Schema) error {
	if len(region) < HeaderSize || le.Uint32(region[offMagic:]) != Magic || le.Uint16(region[offABI:]) != ABI {
		return badBatch("no header of abi %d", ABI)
	}
	size := le.Uint32(region[offSize:])
	if size < HeaderSize || uint64(size) > uint64(len(region)) {
		return badBatch("size %d, region of %d", size, len(region))
	}
	*b = Batch{buf: region[:size], schemas: schemas}
	return nil
}

// CopyFrom makes b a copy of o in a region of b's own, which is reused from one
// CopyFrom to the next. b must not have been opened over somebody else's bytes.
func (b *Batch) CopyFrom(o *Batch) {
	b.buf = append(b.buf[:0], o.buf...)
	b.schemas, b.large = o.schemas, o.large
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

// LargeMissing returns how many large values the region counts that are not
// beside it: in a connector all of them, in the host none.
func (b *Batch) LargeMissing() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return max(0, int(b.u32(offLarge))-len(b.large))
}

// Rows returns the number of rows.
func (b *Batch) Rows() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int(b.u32(offRows))
}

// Seq returns the number that the pipeline gave the batch.
func (b *Batch) Seq() uint64 {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return b.u64(offBatchSeq)
}

// SetSeq numbers the batch.
func (b *Batch) SetSeq(n uint64) { le.PutUint64(b.buf[offBatchSeq:], n) }

// Time returns the commit time of the first row, in microseconds since the
// Unix epoch.
func (b *Batch) Time() int64 {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int64(b.u64(offTime))
}

// SetTime sets what Time returns.
func (b *Batch) SetTime(us int64) { le.PutUint64(b.buf[offTime:], uint64(us)) }

// SetPlace says where in the log all transactions of the batch lie: the file, the
// position of the first event, and the commit time, which is the batch's too. A
// file whose name has another length than that which the batch was built with does
// not fit in its place: ErrFull, and some of the transactions may lie elsewhere.
func (b *Batch) SetPlace(file []byte, start uint64, us int64) error {
	written := uint64(0) // transactions of one file share its name
	n, first, stride := b.Txs(), b.Tx(0).off, int(b.u32(offTxStride))
	for i := range n {
		e := (*[TxStride]byte)(b.buf[first+i*stride:])
		if slot := le.Uint64(e[txFile:]); slot != written {
			old := b.value(slot)
			if len(old) != len(file) {
				return ErrFull
			}
			copy(old, file)
			written = slot
		}
		le.PutUint64(e[txPosStart:], start)
		le.PutUint64(e[txTime:], uint64(us))
	}
	b.SetTime(us)
	return nil
}

// Check verifies the batch as Open does. The error wraps ErrBatch.
func (b *Batch) Check() error { return b.check() }

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

// valueSize returns the length of a heap slot's value.
func (b *Batch) valueSize(slot uint64) int { return int(uint32(slot>>32) &^ LargeBit) }

// equal compares the values of two heap slots. Large values that are not at
// hand, as in a guest, count as different.
func (b *Batch) equal(x, y uint64) bool {
	for _, v := range [...]uint64{x, y} {
		if v>>32&LargeBit != 0 && int(uint32(v)) >= len(b.large) {
			return false
		}
	}
	return bytes.Equal(b.value(x), b.value(y))
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

// Capacity returns how far the region may grow, in bytes.
func (b *Batch) Capacity() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int(b.u32(offCapacity))
}

// FirstRow returns how many rows are done already: a connector begins there.
func (b *Batch) FirstRow() int {
	if len(b.buf) < HeaderSize {
		return 0
	}
	return int(b.u32(offFirstRow))
}

// SetFirstRow says how many rows of the region are done already.
func SetFirstRow(region []byte, row int) { le.PutUint32(region[offFirstRow:], uint32(row)) }

// Adopt takes over the values that a connector appended to its copy of the
// batch. The batch must own its region, opened from bytes that nobody else
// reads; it is not whole again until Row.Adopt has taken the edited rows and
// Reopen has checked the result. The error wraps ErrBatch.
func (b *Batch) Adopt(copied []byte) error {
	old := len(b.buf)
	if len(copied) < HeaderSize || len(copied) < old {
		return fmt.Errorf("%w: the connector's copy has %d bytes, the batch %d", ErrBatch, len(copied), old)
	}
	size := uint64(le.Uint32(copied[offSize:]))
	if size < uint64(old) || size > uint64(len(copied)) {
		return fmt.Errorf("%w: size %d, of %d to %d", ErrBatch, size, old, len(copied))
	}
	b.buf = append(b.buf, copied[old:size]...)
	le.PutUint32(b.buf[offSize:], uint32(size))
	le.PutUint32(b.buf[offCapacity:], uint32(size))
	return nil
}
