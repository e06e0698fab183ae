package sdk

import "math"

// Builder writes a batch from its first row to its last. A Builder is reused:
// once its buffers have grown, building allocates nothing.
//
//	b.Reset()
//	b.BeginTx(TxInfo{...})
//	b.BeginRow(schema, OpInsert, RowAfter, ordinal)
//	b.After().SetSlot(0, 7)
//	b.SetBytes(b.After, 1, text)   // or SetAppended for text made in place
//	b.EndRow()
//	b.EndTx(...)
//	batch := b.Seal()
//
// The batch is a view of the builder's buffers, good until Reset.
type Builder struct {
	batch   Batch
	rowDir  []byte
	txDir   []byte
	row     Row
	schema  *Schema // of the open row
	tx      int     // offset of the open transaction in txDir, -1 without
	file    uint64  // slot of the last transaction's log file, 0 without
	mark    mark    // where the open transaction began
	rows    int
	sealed  bool
	pending int    // start of the value being appended
	inline  bool   // values stay in the region whatever their size
	outside uint32 // large values of the batch that rows were copied from, when not at hand
}

// mark is a place to cut the builder's buffers back to.
type mark struct{ buf, large, rows int }

// TxInfo describes a transaction at its beginning.
type TxInfo struct {
	ID         []byte // GTID, or "file:position" of the start
	File       []byte
	PosStart   uint64
	Time       int64 // commit time, microseconds since the Unix epoch
	Server     uint32
	RowsBefore uint64 // its rows that earlier batches held; 0 says that it begins here
}

// Reset empties the builder; what it built before is no longer valid.
func (b *Builder) Reset() {
	b.batch.buf = append(b.batch.buf[:0], make([]byte, HeaderSize)...)
	clear(b.batch.large) // a reused builder must not keep large values alive
	b.batch.large = b.batch.large[:0]
	b.batch.schemas = nil
	b.outside = 0
	b.rowDir, b.txDir = b.rowDir[:0], b.txDir[:0]
	b.tx, b.file, b.rows, b.sealed = -1, 0, 0, false
	h := b.batch.buf
	le.PutUint32(h[offMagic:], Magic)
	le.PutUint16(h[offABI:], ABI)
	le.PutUint16(h[offHeaderSize:], HeaderSize)
	le.PutUint32(h[offTxStride:], TxStride)
}

// KeepInline makes the builder keep values in the region whatever their size:
// what a connector needs, since only the region leaves it. The host moves large
// ones beside the batch when it takes the rows over.
func (b *Builder) KeepInline() { b.inline = true }

// Rows returns the number of rows begun since Reset.
func (b *Builder) Rows() int { return b.rows }

// Txs returns the number of transactions begun since Reset.
func (b *Builder) Txs() int { return len(b.txDir) / TxStride }

// Size returns the bytes that the batch would occupy if sealed now, large
// values included.
func (b *Builder) Size() int {
	n := len(b.batch.buf) + len(b.rowDir) + len(b.txDir) + 16
	for _, v := range b.batch.large {
		n += len(v)
	}
	return n
}

// Cap returns the bytes that the builder's buffers take, in use or not, large
// values included: what keeping it for reuse costs.
func (b *Builder) Cap() int {
	n := cap(b.batch.buf) + cap(b.rowDir) + cap(b.txDir)
	for _, v := range b.batch.large {
		n += cap(v)
	}
	return n
}

// BeginTx opens a transaction; the rows that follow belong to it.
func (b *Builder) BeginTx(t TxInfo) {
	b.pad()
	b.mark = mark{buf: len(b.batch.buf), large: len(b.batch.large), rows: b.rows}
	b.tx = len(b.txDir)
	b.txDir = append(b.txDir, make([]byte, TxStride)...)
	e := (*[TxStride]byte)(b.txDir[b.tx:])
	le.PutUint64(e[txID:], b.heap(t.ID))
	if b.file == 0 || len(t.File) > sharedFileBytesMax || string(b.batch.value(b.file)) != string(t.File) {
		b.file = b.heap(t.File)
	}
	le.PutUint64(e[txFile:], b.file)
	le.PutUint64(e[txPosStart:], t.PosStart)
	le.PutUint64(e[txTime:], uint64(t.Time))
	le.PutUint32(e[txFirstRow:], uint32(b.rows))
	le.PutUint32(e[txServer:], t.Server)
	le.PutUint64(e[txRowsBefore:], t.RowsBefore)
	if t.RowsBefore == 0 {
		le.PutUint32(e[txFlags:], TxBegins)
	}
	if b.rows == 0 {
		le.PutUint64(b.batch.buf[offTime:], uint64(t.Time))
	}
}

// sharedFileBytesMax is how long a file's name may be that transactions of a batch
// share: no longer than the entry that refers to it, so that all references
// together can't exceed the batch.
const sharedFileBytesMax = TxStride

// EndTx closes the open transaction at its commit. commitTime replaces the
// time given at the beginning unless it is 0.
func (b *Builder) EndTx(posEnd uint64, commitTime int64) {
	e := (*[TxStride]byte)(b.txDir[b.tx:])
	le.PutUint64(e[txPosEnd:], posEnd)
	le.PutUint64(e[txRowsTotal:], le.Uint64(e[txRowsBefore:])+uint64(le.Uint32(e[txRows:])))
	le.PutUint32(e[txFlags:], le.Uint32(e[txFlags:])|TxEnds)
	if commitTime != 0 {
		le.PutUint64(e[txTime:], uint64(commitTime))
	}
	b.tx = -1
}

// BeginRow opens a row. Every column of its images starts absent.
func (b *Builder) BeginRow(s *Schema, op Op, parts RowFlags, ordinal uint64) {
	b.BeginWholeRow(s, op, parts, ordinal)
	for _, m := range [...]Image{b.row.After(), b.row.Before()} {
		for c := 0; m.Valid() && c < m.columns; c += 64 {
			le.PutUint64(b.batch.buf[m.off+8*words(m.columns)+c/8:], math.MaxUint64>>(64-min(64, m.columns-c)))
		}
	}
}

// BeginWholeRow opens a row of whose images each column is given something, if
// only NULL: none starts absent.
func (b *Builder) BeginWholeRow(s *Schema, op Op, parts RowFlags, ordinal uint64) {
	b.pad()
	off, columns := len(b.batch.buf), len(s.Columns)
	fixed := rowFixedSize(columns, parts)
	b.batch.buf = grow(b.batch.buf, fixed)
	clear(b.batch.buf[off : off+fixed])
	p := (*[RowHeaderSize]byte)(b.batch.buf[off:])
	p[rowOp], p[rowFlags] = byte(op), byte(parts)
	le.PutUint32(p[rowSchema:], s.ID)
	le.PutUint32(p[rowTx:], uint32(b.tx/TxStride))
	le.PutUint64(p[rowOrdinal:], ordinal)
	le.PutUint32(p[rowColumns:], uint32(columns))
	le.PutUint32(p[rowSize:], uint32(fixed))
	b.schema = s
	b.row = Row{b: &b.batch, off: off, columns: columns}
}

// After returns the open row's after image.
func (b *Builder) After() Image { return b.row.After() }

// Before returns the open row's before image.
func (b *Builder) Before() Image { return b.row.Before() }

// SetSource says which input row the open row replaces.
func (b *Builder) SetSource(row int) {
	le.PutUint32(b.batch.buf[b.row.off+rowSource:], uint32(row))
}

// SetDest gives the open row, begun with RowDest, a destination: see Row.Dest.
func (b *Builder) SetDest(subject, key, headers []byte) {
	for k, v := range [...][]byte{subject, key, headers} {
		slot := b.heap(v) // may move the buffer
		le.PutUint64(b.batch.buf[b.row.off+RowHeaderSize+8*k:], slot)
	}
}

// SetBytes gives column c of image m a heap value. A value over 64 KiB is
// copied beside the batch.
func (b *Builder) SetBytes(m Image, c int, v []byte) {
	m.SetSlot(c, b.copied(v))
}

// Value copies a heap value, beside the batch when it is over 64 KiB, and returns
// its slot: see Image.InitSlot.
func (b *Builder) Value(v []byte) (slot uint64) { return b.copied(v) }

// Append returns the buffer to append a heap value to, for a value that is
// made in place; SetAppended then takes the grown buffer.
func (b *Builder) Append() []byte {
	b.pending = len(b.batch.buf)
	return b.batch.buf
}

// SetAppended gives column c of image m what was appended to buf since Append.
func (b *Builder) SetAppended(m Image, c int, buf []byte) {
	v := buf[b.pending:]
	b.batch.buf = buf
	if len(v) == 0 { // as SetBytes writes it
		m.SetSlot(c, HeaderSize)
		return
	}
	if len(v) >= LargeBytesMin && !b.inline {
		v = append([]byte(nil), v...)
		b.batch.buf = buf[:b.pending]
		m.SetSlot(c, b.large(v))
		return
	}
	m.SetSlot(c, uint64(len(v))<<32|uint64(b.pending))
}

// EndRow closes the open row.
func (b *Builder) EndRow() {
	b.row.markChanged(b.schema)
	b.countRow()
}

// CopyRow appends a row of another batch to the open transaction, values and
// all. SetSource and SetOrdinal may follow.
func (b *Builder) CopyRow(r Row) {
	b.pad()
	off, fixed := len(b.batch.buf), int(r.b.u32(r.off+rowSize))
	b.batch.buf = append(b.batch.buf, r.b.buf[r.off:r.off+fixed]...)
	b.finishCopy(r, off)
	if r.Flags()&RowDest != 0 {
		b.SetDest(r.Dest())
	}
}

// CopyRowTo is CopyRow with a destination in place of the row's own: see
// Row.Dest.
func (b *Builder) CopyRowTo(r Row, subject, key, headers []byte) {
	b.pad()
	off, images := len(b.batch.buf), r.changedOff()
	b.batch.buf = append(b.batch.buf, r.b.buf[r.off:r.off+RowHeaderSize]...)
	b.batch.buf = grow(b.batch.buf, destSize)
	b.batch.buf = append(b.batch.buf, r.b.buf[images:r.off+int(r.b.u32(r.off+rowSize))]...)
	b.batch.buf[off+rowFlags] |= byte(RowDest)
	le.PutUint32(b.batch.buf[off+rowSize:], uint32(len(b.batch.buf)-off))
	b.finishCopy(r, off)
	b.SetDest(subject, key, headers)
}

// finishCopy copies the values of r to the row at off and counts the row.
func (b *Builder) finishCopy(r Row, off int) {
	le.PutUint32(b.batch.buf[off+rowTx:], uint32(b.tx/TxStride))
	n := Row{b: &b.batch, off: off, columns: r.columns}
	s := r.Schema()
	if len(r.b.large) == 0 {
		b.outside = max(b.outside, r.b.u32(offLarge))
	}
	b.copyImage(s, n.After(), r.After())
	b.copyImage(s, n.Before(), r.Before())
	b.row, b.schema = n, s
	b.countRow()
}

func (b *Builder) countRow() {
	b.rowDir = le.AppendUint32(b.rowDir, uint32(b.row.off))
	e := (*[TxStride]byte)(b.txDir[b.tx:])
	le.PutUint32(e[txRows:], le.Uint32(e[txRows:])+1)
	b.rows++
}

func (b *Builder) copyImage(s *Schema, to, from Image) {
	if !from.Valid() {
		return
	}
	for c := range s.Columns {
		if s.Columns[c].Type.Inline() || !from.Has(c) {
			continue
		}
		if i, _, large := from.IsLarge(c); large {
			if int(i) < len(from.b.large) { // else it stays where it is, known by its number
				to.SetSlot(c, b.large(from.b.large[i]))
			}
			continue
		}
		to.SetSlot(c, b.copied(from.Bytes(c)))
	}
}

// SetOrdinal numbers the row begun or copied last.
func (b *Builder) SetOrdinal(n uint64) { le.PutUint64(b.batch.buf[b.row.off+rowOrdinal:], n) }

// CopyTx opens a transaction with all that another batch says of it, its end
// included; no EndTx follows.
func (b *Builder) CopyTx(t Tx) {
	b.BeginTx(TxInfo{ID: t.ID(), File: t.File(), PosStart: t.PosStart(), Time: t.Time(),
		Server: t.Server(), RowsBefore: t.RowsBefore()})
	le.PutUint32(b.txDir[b.tx+txFlags:], t.b.u32(t.off+txFlags))
	le.PutUint64(b.txDir[b.tx+txPosEnd:], t.PosEnd())
	le.PutUint64(b.txDir[b.tx+txRowsTotal:], t.RowsTotal())
}

// MoveTx moves the open transaction, which began in this batch behind whole
// ones, to another builder, which it resets: what a source does when a batch is
// full before the transaction has ended. b is left without the transaction.
func (b *Builder) MoveTx(dst *Builder, schemas []*Schema) {
	dst.Reset()
	e := b.txDir[b.tx:]
	dst.BeginTx(TxInfo{ID: b.batch.value(le.Uint64(e[txID:])), File: b.batch.value(le.Uint64(e[txFile:])),
		PosStart: le.Uint64(e[txPosStart:]), Time: int64(le.Uint64(e[txTime:])),
		Server: le.Uint32(e[txServer:]), RowsBefore: le.Uint64(e[txRowsBefore:])})
	b.batch.schemas = schemas
	for i := b.mark.rows; i < b.rows; i++ {
		off := int(le.Uint32(b.rowDir[4*i:]))
		dst.CopyRow(Row{b: &b.batch, off: off, columns: int(b.batch.u32(off + rowColumns))})
	}
	b.DropTx()
}

// DropTx forgets the open transaction and its rows.
func (b *Builder) DropTx() {
	b.batch.buf = b.batch.buf[:b.mark.buf]
	b.file = 0 // it may be among what is cut off
	clear(b.batch.large[b.mark.large:])
	b.batch.large = b.batch.large[:b.mark.large]
	b.rowDir = b.rowDir[:4*b.mark.rows]
	b.rows = b.mark.rows
	b.txDir = b.txDir[:b.tx]
	b.tx = -1
}

// Seal writes the directories and returns the batch. schemas is indexed by
// schema id and must hold every schema that a row refers to.
func (b *Builder) Seal(schemas []*Schema) *Batch {
	if !b.sealed {
		b.pad()
		h := len(b.batch.buf)
		b.batch.buf = append(b.batch.buf, b.txDir...)
		d := len(b.batch.buf)
		b.batch.buf = append(b.batch.buf, b.rowDir...)
		b.pad()
		p := b.batch.buf
		le.PutUint32(p[offTxDir:], uint32(h))
		le.PutUint32(p[offTxs:], uint32(b.Txs()))
		le.PutUint32(p[offRowDir:], uint32(d))
		le.PutUint32(p[offRows:], uint32(b.rows))
		le.PutUint32(p[offLarge:], max(uint32(len(b.batch.large)), b.outside))
		le.PutUint32(p[offSize:], uint32(len(p)))
		le.PutUint32(p[offCapacity:], uint32(len(p)))
		b.sealed = true
	}
	b.batch.schemas = schemas
	return &b.batch
}

// heap appends a value and returns its slot.
func (b *Builder) heap(v []byte) uint64 {
	if len(v) == 0 {
		return HeaderSize
	}
	off := len(b.batch.buf)
	b.batch.buf = append(b.batch.buf, v...)
	return uint64(len(v))<<32 | uint64(off)
}

// copied appends a value, or keeps a copy of it beside the batch when it is large.
func (b *Builder) copied(v []byte) uint64 {
	if len(v) >= LargeBytesMin && !b.inline {
		return b.large(append([]byte(nil), v...))
	}
	return b.heap(v)
}

// large keeps a value beside the batch and returns its slot.
func (b *Builder) large(v []byte) uint64 {
	b.batch.large = append(b.batch.large, v)
	return (uint64(len(v))|LargeBit)<<32 | uint64(len(b.batch.large)-1)
}

func (b *Builder) pad() {
	if n := align8(len(b.batch.buf)); n != len(b.batch.buf) {
		b.batch.buf = le.AppendUint64(b.batch.buf, 0)[:n]
	}
}

// grow extends p by n bytes whose content is not defined.
func grow(p []byte, n int) []byte {
	if cap(p)-len(p) >= n {
		return p[:len(p)+n]
	}
	return append(p, make([]byte, n)...)
}
