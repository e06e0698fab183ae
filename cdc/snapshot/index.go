package snapshot

import (
	"bytes"
	"hash/maphash"
	"math/bits"

	"github.com/cdcd-io/cdcd/sdk"
)

// index finds rows of a chunk by their keys, as appendIdentity writes them. It
// keeps no keys: it compares with those that the rows have.
type index struct {
	rows    *Rows
	t       *Table
	seed    maphash.Seed
	slots   []slot // a power of two, at most half of them in use
	scratch []byte
}

// slot is a row, number 0 in an empty one.
type slot struct{ hash, number uint32 }

// newIndex returns nil for rows that have no key.
func newIndex(rows *Rows, t *Table) *index {
	x := &index{rows: rows, t: t, seed: maphash.MakeSeed(), slots: make([]slot, 1<<bits.Len(uint(2*rows.Len())))}
	for i := range rows.Len() {
		row, ok := rows.row(i)
		if !ok { // handed on
			continue
		}
		key, ok := x.key(row)
		if !ok {
			return nil
		}
		h := uint32(maphash.Bytes(x.seed, key))
		at := h & uint32(len(x.slots)-1)
		for x.slots[at].number != 0 {
			at = (at + 1) & uint32(len(x.slots)-1)
		}
		x.slots[at] = slot{h, uint32(i + 1)}
	}
	return x
}

// key returns the key of a row, which is good until the next call.
func (x *index) key(row sdk.Row) (key []byte, ok bool) {
	x.scratch, ok = appendIdentity(x.scratch[:0], x.t.Key, x.t.Schema, row.After(), sdk.Image{})
	return x.scratch, ok
}

// find returns the number of the row that has a key; -1 when there is none, or it
// is handed on.
func (x *index) find(key []byte) int {
	h := uint32(maphash.Bytes(x.seed, key))
	for at := h & uint32(len(x.slots)-1); x.slots[at].number != 0; at = (at + 1) & uint32(len(x.slots)-1) {
		i := int(x.slots[at].number - 1)
		if x.slots[at].hash != h {
			continue
		}
		if row, ok := x.rows.row(i); ok {
			if own, _ := x.key(row); bytes.Equal(own, key) {
				return i
			}
		}
	}
	return -1
}
