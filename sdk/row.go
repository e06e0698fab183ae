package sdk

import "math"

// Row is one row of a batch: a view.
type Row struct {
	b       *Batch
	off     int
	columns int
}

// Op returns what happened to the row.
func (r Row) Op() Op { return Op(r.b.buf[r.off+rowOp]) }

// Flags returns which parts the row has.
func (r Row) Flags() RowFlags { return RowFlags(r.b.buf[r.off+rowFlags]) }

// SchemaID returns the id of the row's schema.
func (r Row) SchemaID() uint32 { return r.b.u32(r.off + rowSchema) }

// Schema returns the row's schema.
func (r Row) Schema() *Schema { return r.b.schemas[r.SchemaID()] }

// Columns returns the number of columns.
func (r Row) Columns() int { return r.columns }

// TxIndex returns the index of the row's transaction in the batch.
func (r Row) TxIndex() int { return int(r.b.u32(r.off + rowTx)) }

// Tx returns the row's transaction.
func (r Row) Tx() Tx { return r.b.Tx(r.TxIndex()) }

// Source returns, in an output batch, the index of the input row that this
// row replaces.
func (r Row) Source() int { return int(r.b.u32(r.off + rowSource)) }

// Ordinal returns the row's 0-based number among its transaction's followed
// rows. Rows that replace one row share its ordinal.
func (r Row) Ordinal() uint64 { return r.b.u64(r.off + rowOrdinal) }

// Changed reports whether an update changed column c. It is meaningful only
// where both images are there.
func (r Row) Changed(c int) bool {
	return r.b.u64(r.changedOff()+c/64*8)>>(c%64)&1 != 0
}

// After returns the image after the change; not Valid for a delete.
func (r Row) After() Image {
	if r.Flags()&RowAfter == 0 {
		return Image{}
	}
	return Image{b: r.b, off: r.changedOff() + 8*words(r.columns), columns: r.columns}
}

// Before returns the image before the change; not Valid for an insert.
func (r Row) Before() Image {
	f := r.Flags()
	if f&RowBefore == 0 {
		return Image{}
	}
	off := r.changedOff() + 8*words(r.columns)
	if f&RowAfter != 0 {
		off += imageSize(r.columns)
	}
	return Image{b: r.b, off: off, columns: r.columns}
}

// Dest returns the destination that a connector gave the row: subject tokens
// separated by dots, message key and header lines "Name: value\n". All are
// empty when it gave none.
func (r Row) Dest() (subject, key, headers []byte) {
	if r.Flags()&RowDest == 0 {
		return nil, nil, nil
	}
	o := r.off + RowHeaderSize
	return r.b.text(o), r.b.text(o + 8), r.b.text(o + 16)
}

// Size returns the bytes that the row takes: its fixed part and its values,
// large ones included.
func (r Row) Size() int {
	n := int(r.b.u32(r.off + rowSize))
	if r.Flags()&RowDest != 0 {
		for k := range 3 {
			n += r.b.valueSize(r.b.u64(r.off + RowHeaderSize + 8*k))
		}
	}
	s := r.Schema()
	for _, m := range [...]Image{r.After(), r.Before()} {
		for c := 0; m.Valid() && c < r.columns; c++ {
			if !s.Columns[c].Type.Inline() {
				n += r.b.valueSize(m.Slot(c))
			}
		}
	}
	return n
}

// Adopt takes over the images that a connector edited in its copy of the
// batch: see Batch.Adopt. Nothing else of the row can change that way.
func (r Row) Adopt(copied []byte) {
	from, to := r.changedOff(), r.off+int(r.b.u32(r.off+rowSize))
	copy(r.b.buf[from:to], copied[from:to])
}

// MarkChanged fills the mask of changed columns by comparing the images, where
// both are there.
func (r Row) MarkChanged() { r.markChanged(r.Schema()) }

func (r Row) markChanged(s *Schema) {
	if r.Flags()&(RowAfter|RowBefore) != RowAfter|RowBefore {
		return
	}
	after, before := r.After(), r.Before()
	off := r.changedOff()
	for c := range r.columns {
		same := after.IsNull(c) == before.IsNull(c) && after.IsAbsent(c) == before.IsAbsent(c)
		if same && after.Has(c) {
			same = after.Slot(c) == before.Slot(c) ||
				!s.Columns[c].Type.Inline() && r.b.equal(after.Slot(c), before.Slot(c))
		}
		after.setBit(off, c, !same)
	}
}

func (r Row) changedOff() int {
	if r.Flags()&RowDest != 0 {
		return r.off + RowHeaderSize + destSize
	}
	return r.off + RowHeaderSize
}

// Image is a row before or after its change: a view.
type Image struct {
	b       *Batch
	off     int
	columns int
}

// Valid reports whether the row has the image at all.
func (m Image) Valid() bool { return m.b != nil }

// IsNull reports whether column c is SQL NULL.
func (m Image) IsNull(c int) bool { return m.b.u64(m.off+c/64*8)>>(c%64)&1 != 0 }

// IsAbsent reports whether the log does not say what column c holds: not the
// same as NULL.
func (m Image) IsAbsent(c int) bool {
	return m.b.u64(m.off+8*words(m.columns)+c/64*8)>>(c%64)&1 != 0
}

// Has reports whether column c has a value: neither NULL nor absent.
func (m Image) Has(c int) bool { return !m.IsNull(c) && !m.IsAbsent(c) }

func (m Image) slotOff(c int) int { return m.off + 8*(2*words(m.columns)+c) }

// Slot returns the raw slot of column c.
func (m Image) Slot(c int) uint64 { return m.b.u64(m.slotOff(c)) }

// Int returns an inline int64: TypeInt, TypeTime, TypeTimestamp.
func (m Image) Int(c int) int64 { return int64(m.Slot(c)) }

// Uint returns an inline uint64: TypeUint, TypeBit, TypeYear, TypeDate, TypeDateTime.
func (m Image) Uint(c int) uint64 { return m.Slot(c) }

// Float returns the value of TypeFloat32 and TypeFloat64.
func (m Image) Float(c int) float64 { return math.Float64frombits(m.Slot(c)) }

// Bytes returns the bytes of a heap value: a view. A large value's bytes are
// there in the host; in a guest the result is nil and IsLarge is true.
func (m Image) Bytes(c int) []byte { return m.b.value(m.Slot(c)) }

// IsLarge reports whether column c, of a type that is not Inline, has a value
// that lives beside the batch, and where: its index and its length in bytes.
func (m Image) IsLarge(c int) (index, length uint32, ok bool) {
	s := m.Slot(c)
	n := uint32(s >> 32)
	return uint32(s), n &^ LargeBit, n&LargeBit != 0
}

func (m Image) setBit(off, c int, on bool) {
	p := m.b.buf[off+c/64*8:]
	v, bit := le.Uint64(p), uint64(1)<<(c%64)
	if is := v&bit != 0; is != on {
		le.PutUint64(p, v^bit)
	}
}

// SetNull makes column c SQL NULL.
func (m Image) SetNull(c int) {
	m.setBit(m.off, c, true)
	m.setBit(m.off+8*words(m.columns), c, false)
	le.PutUint64(m.b.buf[m.slotOff(c):], 0)
}

// SetAbsent says that the log does not tell what column c holds.
func (m Image) SetAbsent(c int) {
	m.setBit(m.off, c, false)
	m.setBit(m.off+8*words(m.columns), c, true)
	le.PutUint64(m.b.buf[m.slotOff(c):], 0)
}

// SetSlot gives column c a raw slot: an inline value, or a heap reference.
func (m Image) SetSlot(c int, v uint64) {
	slot, end := m.slotOff(c), m.slotOff(m.columns)
	p, w := m.b.buf[m.off:end], 8*words(m.columns)
	null, absent, bit := p[c/64*8:], p[w+c/64*8:], uint64(1)<<(c%64)
	if v := le.Uint64(null); v&bit != 0 { // seldom, as of a row that began whole
		le.PutUint64(null, v^bit)
	}
	if v := le.Uint64(absent); v&bit != 0 {
		le.PutUint64(absent, v^bit)
	}
	le.PutUint64(p[slot-m.off:], v)
}

// InitSlot is SetSlot for a column that was given nothing yet, of a row that was
// begun with Builder.BeginWholeRow.
func (m Image) InitSlot(c int, v uint64) { le.PutUint64(m.b.buf[m.slotOff(c):], v) }

// SetBytes gives column c a heap value, appended within the batch's capacity.
// The error is ErrFull: a connector then says how many rows it has done, and is
// called again from there with more room.
func (m Image) SetBytes(c int, v []byte) error {
	slot, err := m.b.appendHeap(v)
	if err != nil {
		return err
	}
	m.SetSlot(c, slot)
	return nil
}
