package format

import (
	"bytes"
	"strconv"

	"github.com/cdcd-io/cdcd/sdk"
)

// GTID returns a transaction's GTID, or nil for one that is named by
// "file:position" because it has none, or that is a row which was read from a
// table. A view.
func GTID(tx sdk.Tx) []byte {
	var digits [20]byte
	id, file := tx.ID(), tx.File()
	if bytes.HasPrefix(id, []byte("snapshot/")) {
		return nil
	}
	if len(id) <= len(file) || !bytes.HasPrefix(id, file) || id[len(file)] != ':' {
		return id
	}
	if bytes.Equal(id[len(file)+1:], strconv.AppendUint(digits[:0], tx.PosStart(), 10)) {
		return nil
	}
	return id
}

// KeyImage returns the image that tells column c of a row's key behind the
// change: that after it, and that before it for a column that the image after
// the change lacks, because it did not change. One of them must be there.
func KeyImage(before, after sdk.Image, c int) sdk.Image {
	if !after.Valid() || after.IsAbsent(c) && before.Valid() {
		return before
	}
	return after
}

// KeyChanged reports whether an update gave its row another primary key.
func KeyChanged(r sdk.Row) bool {
	before, after := r.Before(), r.After()
	if !before.Valid() || !after.Valid() {
		return false
	}
	s := r.Schema()
	for _, c := range s.Key {
		if !before.Has(c) || !after.Has(c) {
			if before.IsNull(c) != after.IsNull(c) && !before.IsAbsent(c) && !after.IsAbsent(c) {
				return true
			}
			continue // what the log does not tell did not change
		}
		if s.Columns[c].Type.Inline() {
			if before.Slot(c) != after.Slot(c) {
				return true
			}
		} else if !bytes.Equal(before.Bytes(c), after.Bytes(c)) {
			return true
		}
	}
	return false
}
