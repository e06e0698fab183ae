package binlog

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// partialJSON is the only one of the options that a PARTIAL_UPDATE_ROWS may
// have in front of each image after the change. Source: start_partial_bit_reader
// in sql/rpl_record.cc.
const partialJSON = 1

// nextPartial decodes a row whose image after the change may have, instead of
// a JSON document, what differs from the one before.
func (r *Rows) nextPartial(b *sdk.Builder) (bool, error) {
	clear(r.docs)
	if err := r.partialImage(b, b.Before(), r.h.Before, nil); err != nil {
		return false, err
	}
	bits, err := r.partialBits()
	if err == nil {
		err = r.partialImage(b, b.After(), r.h.After, bits)
	}
	if err != nil {
		return false, err
	}
	b.EndRow()
	return true, nil
}

// partialBits reads what precedes an image after the change: one bit for each
// JSON column of the table, whether the image has it or not; nil when none is
// given in part.
func (r *Rows) partialBits() ([]byte, error) {
	c := cursor{p: r.data}
	options := c.packed()
	if options > partialJSON {
		return nil, unsupported(r.h.place.place(), "SET GLOBAL binlog_row_value_options='' on the server",
			"table %s: rows with the value options %#x", r.plan.table, options)
	}
	var bits []byte
	if options == partialJSON {
		n := 0
		for i := range r.plan.columns {
			if r.plan.partial(i) {
				n++
			}
		}
		bits = c.take((n + 7) / 8)
	}
	if c.bad {
		return nil, r.plan.fault(r.h.place, 0, errShort)
	}
	r.data = c.p
	return bits, nil
}

// partial reports whether a column may be given in part.
func (pl *RowPlan) partial(i int) bool { return pl.columns[i].kind == kindJSON && !pl.columns[i].array }

// partialImage does what image does. It notes the documents that it meets, which
// later an image with bits refers to.
func (r *Rows) partialImage(b *sdk.Builder, m sdk.Image, present, bits []byte) error {
	pl := r.plan
	nullBytes := (countBits(present, len(pl.columns)) + 7) / 8
	if nullBytes > len(r.data) {
		return pl.fault(r.h.place, 0, errShort)
	}
	nulls, p := r.data[:nullBytes], r.data[nullBytes:]
	k, doc := 0, 0
	for i := range pl.columns {
		part := false
		if bits != nil && pl.partial(i) {
			part = bits[doc/8]>>(doc%8)&1 != 0
			doc++
		}
		if present[i/8]>>(i%8)&1 == 0 {
			continue
		}
		null := nulls[k/8]>>(k%8)&1 != 0
		k++
		if null {
			m.SetNull(i)
			continue
		}
		used, err := r.partialColumn(b, m, i, p, part)
		if fault.HasCode(err, CodePartialJSON) {
			return err
		}
		if err != nil {
			return pl.fault(r.h.place, i, err)
		}
		p = p[used:]
	}
	r.data = p
	return nil
}

// partialColumn decodes one value, which part says is only a part.
func (r *Rows) partialColumn(b *sdk.Builder, m sdk.Image, i int, p []byte, part bool) (used int, err error) {
	c := &r.plan.columns[i]
	switch {
	case c.kind < kindHeap:
		slot, used, err := c.inline(p)
		if err == nil {
			m.SetSlot(i, slot)
		}
		return used, err
	case !r.plan.partial(i):
		return c.heap(b, m, i, p)
	}
	diff := column{size: 4} // the length of differences has four bytes
	if !part {
		diff.size = c.size
	}
	v, used, err := diff.prefixed(p)
	if err != nil {
		return 0, err
	}
	buf := b.Append()
	switch {
	case !part:
		r.docs[i] = v
		buf, err = appendJSON(buf, v)
	case r.docs[i] == nil:
		return 0, fault.New(fault.Fatal, CodePartialJSON, r.plan.table+"."+r.plan.schema.Columns[i].Name,
			"SET GLOBAL binlog_row_image=FULL or binlog_row_value_options='' on the server, let all sessions connect anew, "+
				"and copy the table's content anew behind this position",
			"%s: the log holds a part of a JSON document, and not the document before it", r.h.place.place())
	default:
		buf, err = appendJSONPatched(buf, r.docs[i], v)
	}
	if err == nil {
		b.SetAppended(m, i, buf)
	}
	return used, err
}
