package keyvalue

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// Codes of rows that a bucket can't have.
const (
	// CodeNoKey: the row's table has no primary key, or the key has no value.
	CodeNoKey = "kv_no_key"
	// CodeRowImage: the log does not tell the whole row.
	CodeRowImage = "kv_row_image"
	// CodeRouted: a connector gave the row a subject or a key of its own.
	CodeRouted = "kv_routed"
	// CodeKeyTooLong: the row's key is longer than a key may be.
	CodeKeyTooLong = "kv_key_too_long"
)

// All is what the subject of a truncation ends with: it says of all keys of the
// table that their rows are gone. It can't be published as it is.
const All = ">"

// Format renders rows as the values of keys. It implements format.Format,
// format.Parted, format.Addressed and format.Refuser.
type Format struct {
	row    format.Imager
	prefix string
	tables []*table // by schema id
	value  []byte   // of a key column, before it is escaped
	key    []byte   // of the row that is looked at
}

// table holds what is the same for all rows of one schema.
type table struct {
	schema *sdk.Schema
	prefix string // "$KV.SHOP.shop.orders."
}

// New returns a Format whose values row renders, and whose subjects begin with
// prefix: "$KV.SHOP.".
func New(row format.Imager, prefix string) *Format { return &Format{row: row, prefix: prefix} }

func (f *Format) table(s *sdk.Schema) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s {
		return t
	}
	t := &table{schema: s, prefix: string(sdk.AppendKeyTable([]byte(f.prefix), s.DB, s.Table))}
	f.tables[s.ID] = t
	return t
}

// Refuse implements format.Refuser: a row without a key has no place in a
// bucket, and one that is not whole would take the place of one that was.
func (f *Format) Refuse(r sdk.Row) error {
	s := r.Schema()
	refuse := func(code, hint, text string, args ...any) error {
		return fault.New(fault.Environment, code, s.FullName(), hint, text, args...)
	}
	if subject, key, _ := r.Dest(); len(subject) > 0 || len(key) > 0 {
		return refuse(CodeRouted, "let the connector route rows to a jetstream sink, or give this one other tables",
			"a step gave the row a subject or a key of its own; in a bucket the primary key is the row's place")
	}
	if r.Op() == sdk.OpTruncate { // of a table of which nothing else may be known
		return nil
	}
	if len(s.Key) == 0 {
		return refuse(CodeNoKey, "give the table a primary key; or leave it out of tables, or drop its rows with the step filter",
			"the table has no primary key, so its rows have no key in the bucket")
	}
	after, before := r.After(), r.Before()
	if after.Valid() {
		for c := range s.Columns {
			if after.IsAbsent(c) {
				return refuse(CodeRowImage, "SET GLOBAL binlog_row_image=FULL, let all sessions connect anew, and copy the table anew into another bucket",
					"the log does not tell the column %s, and the row would lose it", s.Columns[c].Name)
			}
		}
	}
	for _, m := range [...]sdk.Image{after, before} {
		if !m.Valid() {
			continue
		}
		for _, c := range s.Key {
			switch {
			case m.IsAbsent(c):
				return refuse(CodeRowImage, "SET GLOBAL binlog_row_image=FULL, let all sessions connect anew, and copy the table anew into another bucket",
					"the log does not tell the key column %s", s.Columns[c].Name)
			case m.IsNull(c):
				return refuse(CodeNoKey, "let the steps leave the columns of the primary key as they are", "the key column %s is NULL", s.Columns[c].Name)
			}
		}
		if f.key = f.appendKey(f.key[:0], f.table(s), m); len(f.key)-len(f.prefix) > KeyBytesMax {
			return refuse(CodeKeyTooLong, "leave the table out of tables, or give it a shorter primary key",
				"a row's key takes %d bytes in the bucket, and no key may take more than %d", len(f.key)-len(f.prefix), KeyBytesMax)
		}
	}
	return nil
}

// Parts implements format.Parted: an update that changes the key takes the row
// away from one key and puts it under another.
func (f *Format) Parts(r sdk.Row) int {
	if r.Op() == sdk.OpUpdate && format.KeyChanged(r) {
		return 2
	}
	return 1
}

// gone returns the image whose key part i takes away; not Valid for a put.
func gone(r sdk.Row, i int) sdk.Image {
	if r.Op() == sdk.OpDelete || i == 0 && r.Op() == sdk.OpUpdate && format.KeyChanged(r) {
		return r.Before()
	}
	return sdk.Image{}
}

// AppendRow appends the body of the row's first message.
func (f *Format) AppendRow(dst []byte, r sdk.Row, c format.Context) []byte {
	return f.AppendPart(dst, r, c, 0)
}

// AppendPart implements format.Parted: the row as it is, or nothing where it is gone.
func (f *Format) AppendPart(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	if r.Op() == sdk.OpTruncate {
		s := r.Schema()
		dst = jsontext.AppendText(append(dst, `{"op":"t","db":`...), s.DB)
		return append(jsontext.AppendText(append(dst, `,"table":`...), s.Table), '}')
	}
	if gone(r, i).Valid() {
		return dst
	}
	return f.row.AppendImage(dst, r, r.After(), c)
}

// AppendPartSubject implements format.Addressed.
func (f *Format) AppendPartSubject(dst []byte, r sdk.Row, i int) []byte {
	t := f.table(r.Schema())
	if r.Op() == sdk.OpTruncate {
		return append(append(dst, t.prefix...), All...)
	}
	m := gone(r, i)
	if !m.Valid() {
		m = r.After()
	}
	return f.appendKey(dst, t, m)
}

// AppendPartKey implements format.Parted: the key is in the subject.
func (f *Format) AppendPartKey(dst []byte, _ sdk.Row, _ format.Context, _ int) []byte { return dst }

// AppendPartHeaders implements format.Parted.
func (f *Format) AppendPartHeaders(dst []byte, _ sdk.Row, _ format.Context, _ int) []byte { return dst }
