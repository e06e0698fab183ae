package sdk

import "fmt"

// check verifies every offset and count of the region. What passes can be read
// through every accessor without leaving the region, and changed through every
// setter without the change reaching another part of it: rows ascend and
// overlap neither each other nor the directories. The work is bounded by the
// region's size, and so is what its values amount to, for they share no bytes.
func (b *Batch) check() error {
	if len(b.buf) < HeaderSize {
		return badBatch("%d bytes are too few for a header", len(b.buf))
	}
	if b.u32(offMagic) != Magic || b.u16(offABI) != ABI {
		return badBatch("magic %#x abi %d", b.u32(offMagic), b.u16(offABI))
	}
	hs, size := uint64(b.u16(offHeaderSize)), uint64(b.u32(offSize))
	if hs < HeaderSize || hs%8 != 0 || hs > size || size > uint64(len(b.buf)) || size > uint64(b.u32(offCapacity)) {
		return badBatch("header of %d bytes, size %d, capacity %d, region of %d", hs, size, b.u32(offCapacity), len(b.buf))
	}
	c := checker{b: b, size: size, at: hs, left: size}
	rows, txs, stride := uint64(b.u32(offRows)), uint64(b.u32(offTxs)), uint64(b.u32(offTxStride))
	c.dir = span{uint64(b.u32(offRowDir)), uint64(b.u32(offRowDir)) + 4*rows}
	c.txDir = span{uint64(b.u32(offTxDir)), uint64(b.u32(offTxDir)) + stride*txs}
	if c.dir.from < hs || c.dir.from%4 != 0 || c.dir.to > size {
		return badBatch("directory of %d rows at %d", rows, c.dir.from)
	}
	if c.txDir.from < hs || c.txDir.from%8 != 0 || stride < TxStride || stride%8 != 0 || stride > 4096 || c.txDir.to > size {
		return badBatch("directory of %d transactions at %d", txs, c.txDir.from)
	}
	if c.dir.meets(c.txDir) {
		return badBatch("the directories overlap")
	}
	if uint64(b.u32(offFirstRow)) > rows {
		return badBatch("first row %d of %d", b.u32(offFirstRow), rows)
	}
	if n := len(b.large); n > 0 && uint64(b.u32(offLarge)) > uint64(n) {
		return badBatch("%d large values of %d", b.u32(offLarge), n)
	}
	if err := c.txs(int(txs), int(rows)); err != nil {
		return err
	}
	for i := range int(rows) {
		if err := c.row(i); err != nil {
			return err
		}
	}
	return nil
}

func badBatch(what string, v ...any) error {
	return fmt.Errorf("%w: %s", ErrBatch, fmt.Sprintf(what, v...))
}

// span is the bytes [from, to).
type span struct{ from, to uint64 }

func (s span) meets(t span) bool { return s.from < t.to && t.from < s.to }

// checker is the state of one check.
type checker struct {
	b          *Batch
	size       uint64
	dir, txDir span
	at         uint64 // where the next row may begin
	left       uint64 // bytes that values may still claim
	tx, txEnd  int    // the transaction of the row, and the row behind it
}

func (c *checker) txs(txs, rows int) error {
	next := uint64(0)
	for i := range txs {
		tx := c.b.Tx(i)
		if uint64(tx.FirstRow()) != next {
			return badBatch("transaction %d begins at row %d, not %d", i, tx.FirstRow(), next)
		}
		next += uint64(tx.Rows())
		if !c.value(c.b.u64(tx.off+txID)) || !c.value(c.b.u64(tx.off+txFile)) {
			return badBatch("transaction %d: text outside the batch", i)
		}
	}
	if next != uint64(rows) {
		return badBatch("transactions hold %d of %d rows", next, rows)
	}
	return nil
}

// value reports whether a heap slot stays within the region, or names a large
// value with its length. Values share no bytes, so that together they can't
// claim more than the region has.
func (c *checker) value(slot uint64) bool {
	o, n := slot&0xffffffff, slot>>32
	if n&LargeBit != 0 {
		if len(c.b.large) > 0 {
			return o < uint64(len(c.b.large)) && n&^LargeBit == uint64(len(c.b.large[o]))
		}
		return o < uint64(c.b.u32(offLarge))
	}
	if o+n > c.size || n > c.left {
		return false
	}
	c.left -= n
	return true
}

func (c *checker) row(i int) error {
	b := c.b
	bad := func(what string) error { return badBatch("row %d: %s", i, what) }
	off := uint64(b.u32(int(c.dir.from) + 4*i))
	if off < c.at || off%8 != 0 || off+RowHeaderSize > c.size {
		return bad("outside the batch or not behind the row before it")
	}
	columns, fixed := uint64(b.u32(int(off)+rowColumns)), uint64(b.u32(int(off)+rowSize))
	if columns > 1<<16 || off+fixed > c.size {
		return bad("fixed part outside the batch")
	}
	r := Row{b: b, off: int(off), columns: int(columns)}
	if fixed != uint64(rowFixedSize(int(columns), r.Flags())) {
		return bad("size and parts differ")
	}
	if s := (span{off, off + fixed}); s.meets(c.dir) || s.meets(c.txDir) {
		return bad("overlaps a directory")
	}
	c.at = off + fixed
	id := r.SchemaID()
	if uint64(id) >= uint64(len(b.schemas)) || b.schemas[id] == nil || len(b.schemas[id].Columns) != int(columns) {
		return bad("unknown schema, or another number of columns")
	}
	for i >= c.txEnd {
		tx := b.Tx(c.tx)
		c.txEnd = tx.FirstRow() + tx.Rows()
		c.tx++
	}
	if r.TxIndex() != c.tx-1 {
		return bad("not in the transaction that it names")
	}
	if r.Flags()&RowDest != 0 {
		for k := range 3 {
			if !c.value(b.u64(r.off + RowHeaderSize + 8*k)) {
				return bad("destination outside the batch")
			}
		}
	}
	for _, m := range [...]Image{r.After(), r.Before()} {
		if m.Valid() && !c.image(m, b.schemas[id]) {
			return bad("value outside the batch, or sharing bytes")
		}
	}
	return nil
}

// image checks the heap slots of all columns: those of NULL and absent ones
// too, so that no accessor can leave the region whatever it is asked for.
func (c *checker) image(m Image, s *Schema) bool {
	for i := range s.Columns {
		if !s.Columns[i].Type.Inline() && !c.value(m.Slot(i)) {
			return false
		}
	}
	return true
}
