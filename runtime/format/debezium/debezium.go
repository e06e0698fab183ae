package debezium

import (
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// version is source.version: the version of Debezium whose messages these are,
// and whose hand they are in.
const version = "3.6.0.cdcd"

// Format renders rows; see the package comment. It implements format.Format,
// format.Parted, format.Keyer and format.KeySender.
type Format struct {
	cfg     Config
	skipped [256]bool // by sdk.Op
	tables  []*table  // by schema id
}

// New returns a Format.
func New(cfg Config) *Format {
	f := &Format{cfg: cfg}
	for _, op := range cfg.SkippedOperations {
		for _, known := range [...]sdk.Op{sdk.OpInsert, sdk.OpUpdate, sdk.OpDelete, sdk.OpTruncate} {
			if op == string(known.Letter()) {
				f.skipped[known] = true
			}
		}
	}
	return f
}

// part is what one message says of its row.
type part uint8

const (
	partRow       part = iota // the change itself
	partTombstone             // nothing: the row with the key is gone
	partDelete                // of the row under its old key
	partCreate                // of the row under its new key
)

// Parts implements format.Parted: a delete is two messages where it has a
// tombstone, an update that changes the key a delete and a create.
func (f *Format) Parts(r sdk.Row) int {
	op := r.Op()
	tombstones := 0
	if f.cfg.Tombstones {
		tombstones = 1
	}
	switch {
	case f.skipped[op]:
		return 0
	case op == sdk.OpDelete && len(r.Schema().Key) > 0:
		return 1 + tombstones
	case op == sdk.OpUpdate && format.KeyChanged(r):
		return 2 + tombstones
	}
	return 1
}

// part returns what the row's message i is.
func (f *Format) part(r sdk.Row, i int) part {
	rekeyed := r.Op() == sdk.OpUpdate && format.KeyChanged(r)
	switch {
	case !rekeyed && i == 0:
		return partRow
	case rekeyed && i == 0:
		return partDelete
	case i == 1 && f.cfg.Tombstones:
		return partTombstone
	}
	return partCreate
}

// AppendRow appends the body of the row's first message.
func (f *Format) AppendRow(dst []byte, r sdk.Row, c format.Context) []byte {
	return f.AppendPart(dst, r, c, 0)
}

// AppendPart implements format.Parted.
func (f *Format) AppendPart(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	t := f.table(r.Schema(), c)
	before, after, op := r.Before(), r.After(), r.Op().Letter()
	switch f.part(r, i) {
	case partTombstone:
		return dst
	case partDelete:
		after, op = sdk.Image{}, 'd'
	case partCreate:
		before, op = sdk.Image{}, 'c'
	}
	dst = append(dst, t.valueHead...)
	dst = t.appendImage(append(dst, `{"before":`...), before)
	dst = t.appendImage(append(dst, `,"after":`...), after)
	tx := r.Tx()
	dst = t.appendSource(dst, r, tx)
	dst = f.appendTransaction(dst, r, tx)
	dst = append(append(dst, `,"op":"`...), op)
	dst = strconv.AppendInt(append(dst, `","ts_ms":`...), millis(tx.Time()), 10)
	dst = strconv.AppendInt(append(dst, `,"ts_us":`...), tx.Time(), 10)
	dst = strconv.AppendInt(append(dst, `,"ts_ns":`...), tx.Time()*1000, 10)
	return append(append(dst, '}'), t.tail...)
}

// AppendImage implements format.Imager: the row's new state, as Debezium's
// ExtractNewRecordState leaves it, without a schema.
func (f *Format) AppendImage(dst []byte, r sdk.Row, m sdk.Image, c format.Context) []byte {
	return f.table(r.Schema(), c).appendImage(dst, m)
}

// millis returns microseconds since the Unix epoch in milliseconds.
func millis(micros int64) int64 {
	if m := micros % 1000; m < 0 {
		return micros/1000 - 1
	}
	return micros / 1000
}

func (t *table) appendSource(dst []byte, r sdk.Row, tx sdk.Tx) []byte {
	dst = strconv.AppendInt(append(dst, t.source...), millis(tx.Time()), 10)
	if r.Op() == sdk.OpRead {
		dst = append(dst, `,"snapshot":"true"`...)
	} else {
		dst = append(dst, `,"snapshot":"false"`...)
	}
	dst = strconv.AppendInt(append(dst, t.sourceDB...), tx.Time(), 10)
	dst = strconv.AppendInt(append(dst, `,"ts_ns":`...), tx.Time()*1000, 10)
	dst = strconv.AppendUint(append(dst, t.sourceTable...), uint64(tx.Server()), 10)
	if id := format.GTID(tx); id != nil {
		dst = jsontext.AppendText(append(dst, `,"gtid":`...), id)
	} else {
		dst = append(dst, `,"gtid":null`...)
	}
	dst = jsontext.AppendText(append(dst, `,"file":`...), tx.File())
	dst = strconv.AppendUint(append(dst, `,"pos":`...), tx.PosStart(), 10)
	dst = strconv.AppendUint(append(dst, `,"row":`...), r.Ordinal(), 10)
	return append(dst, `,"thread":null,"query":null}`...)
}

// appendTransaction counts the events of the transaction from 1. Those of one
// table have no count of their own: it would depend on what was sent before.
func (f *Format) appendTransaction(dst []byte, r sdk.Row, tx sdk.Tx) []byte {
	if !f.cfg.ProvideTransactionMetadata {
		return append(dst, `,"transaction":null`...)
	}
	dst = append(dst, `,"transaction":{"id":`...)
	if id := format.GTID(tx); id != nil {
		dst = jsontext.AppendText(dst, id)
	} else {
		dst = jsontext.AppendInner(append(dst, `"file=`...), tx.File())
		dst = append(strconv.AppendUint(append(dst, `,pos=`...), tx.PosStart(), 10), '"')
	}
	dst = strconv.AppendUint(append(dst, `,"total_order":`...), r.Ordinal()+1, 10)
	dst = strconv.AppendUint(append(dst, `,"data_collection_order":`...), r.Ordinal()+1, 10)
	return append(dst, '}')
}

func (t *table) appendImage(dst []byte, m sdk.Image) []byte {
	if !m.Valid() {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	first := true
	for c := range t.columns {
		if m.IsAbsent(c) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = t.columns[c].append(dst, m, c)
	}
	return append(dst, '}')
}

// SendsKey implements format.KeySender.
func (f *Format) SendsKey() bool { return true }

// AppendPartKey implements format.Parted.
func (f *Format) AppendPartKey(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	t := f.table(r.Schema(), c)
	if p := f.part(r, i); p == partDelete || p == partTombstone {
		return t.appendKey(dst, r.Before(), r.Before())
	}
	return t.appendKey(dst, r.Before(), r.After())
}

// appendKey appends the key of the row behind its change, or nothing where the
// table has none, or the log does not tell it.
func (t *table) appendKey(dst []byte, before, after sdk.Image) []byte {
	if len(t.schema.Key) == 0 || !after.Valid() && !before.Valid() {
		return dst
	}
	start := len(dst)
	dst = append(dst, t.keyHead...)
	for i, c := range t.schema.Key {
		m := format.KeyImage(before, after, c)
		if m.IsAbsent(c) {
			return dst[:start]
		}
		dst = t.columns[c].append(append(dst, "{,"[min(i, 1)]), m, c)
	}
	return append(append(dst, '}'), t.tail...)
}

// AppendPartHeaders implements format.Parted: each half of an update that
// changes the key names the key of the other.
func (f *Format) AppendPartHeaders(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	if r.Op() != sdk.OpUpdate || !format.KeyChanged(r) {
		return dst
	}
	t := f.table(r.Schema(), c)
	if f.part(r, i) == partCreate {
		dst = t.appendKey(append(dst, "__debezium.oldkey: "...), r.Before(), r.Before())
	} else {
		dst = t.appendKey(append(dst, "__debezium.newkey: "...), r.Before(), r.After())
	}
	return append(dst, '\n')
}
