package snapshot

import (
	"encoding/binary"
	"net/url"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

// appendIdentity appends bytes that tell a row from others: for each of the columns,
// in order, 8 bytes of a value that is inline in a batch, or the length and the
// bytes of another. Equal rows have equal bytes whether they were read from the
// log or from the table, so keys are compared without knowing collations. A
// column that image does not have is taken from other, which may not be valid;
// ok is false when that has not got it either, or it is NULL.
func appendIdentity(dst []byte, columns []int, s *sdk.Schema, image, other sdk.Image) (key []byte, ok bool) {
	for _, c := range columns {
		m := image
		if m.IsAbsent(c) && other.Valid() {
			m = other
		}
		if !m.Has(c) {
			return dst, false
		}
		if s.Columns[c].Type.Inline() {
			dst = binary.LittleEndian.AppendUint64(dst, m.Slot(c))
			continue
		}
		v := m.Bytes(c)
		dst = binary.AppendUvarint(dst, uint64(len(v)))
		dst = append(dst, v...)
	}
	return dst, true
}

// Name is a table's name.
type Name struct{ DB, Table string }

// String returns the name as it stands in cursors and transaction ids:
// "db.table", with all but letters, digits and a few signs percent-encoded.
func (n Name) String() string {
	escape := func(s string) string { return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") }
	return escape(n.DB) + "." + escape(n.Table)
}
