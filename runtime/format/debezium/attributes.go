package debezium

import (
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// AppendAttributes appends what Debezium's converter to CloudEvents takes out of
// the row's message i, as attributes of the envelope: `,"iodebeziumop":"c",…`.
// An attribute is there where it has a value.
func (f *Format) AppendAttributes(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	t, tx, op := f.table(r.Schema(), c), r.Tx(), r.Op().Letter()
	switch f.part(r, i) {
	case partDelete:
		op = 'd'
	case partCreate:
		op = 'c'
	}
	dst = append(append(dst, `,"iodebeziumop":"`...), op)
	dst = append(dst, t.attributes...)
	dst = strconv.AppendInt(dst, millis(tx.Time()), 10)
	if r.Op() == sdk.OpRead {
		dst = append(dst, `","iodebeziumsnapshot":"true"`...)
	} else {
		dst = append(dst, `","iodebeziumsnapshot":"false"`...)
	}
	dst = append(dst, t.attributesTable...)
	dst = append(strconv.AppendUint(dst, uint64(tx.Server()), 10), '"')
	if id := format.GTID(tx); id != nil {
		dst = jsontext.AppendText(append(dst, `,"iodebeziumgtid":`...), id)
	}
	dst = jsontext.AppendText(append(dst, `,"iodebeziumfile":`...), tx.File())
	dst = append(strconv.AppendUint(append(dst, `,"iodebeziumpos":"`...), tx.PosStart(), 10), '"')
	return append(strconv.AppendUint(append(dst, `,"iodebeziumrow":"`...), r.Ordinal(), 10), '"')
}
