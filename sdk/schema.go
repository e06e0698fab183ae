package sdk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
)

// Schema is a table's definition as it was at a position of the source's log.
// A Schema is immutable once a batch refers to it.
type Schema struct {
	// ID is the number by which the rows of this process's batches name the
	// schema. It is dense, starts at 1 and means nothing outside the process;
	// Fingerprint is what lasts.
	ID      uint32
	DB      string
	Table   string
	Columns []Column
	// Key holds the indexes of the columns that identify a row, in key order;
	// empty for a table without one.
	Key []int
}

// Column is one column of a Schema.
type Column struct {
	Name     string
	Type     Type
	Native   string // the server's own type, such as "int unsigned"; may be empty
	Nullable bool
	Length   uint32   // bits of BIT, bytes of BINARY(n), dimensions of VECTOR; else 0
	Scale    uint8    // digits after the point of DECIMAL, fractional digits of temporal types
	Labels   []string // of ENUM and SET, in definition order
}

// Column returns the index of the column with the given name, or -1.
func (s *Schema) Column(name string) int {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// FullName returns "db.table".
func (s *Schema) FullName() string { return s.DB + "." + s.Table }

// Fingerprint returns 32 hex digits that identify the definition (not the ID):
// equal definitions have equal fingerprints in every process.
func (s *Schema) Fingerprint() string {
	c := *s
	c.ID = 0
	sum := sha256.Sum256(AppendSchema(nil, &c))
	return hex.EncodeToString(sum[:16])
}

// ErrSchema is returned for bytes that are not an encoded Schema.
var ErrSchema = errors.New("not an encoded schema")

// AppendSchema appends the schema's encoding: the form in which the host hands
// it to a connector. Little-endian; text and lists are preceded by their
// length as uint32.
//
//	u32 id | text db | text table | u32 columns | per column: text name,
//	u8 type, u8 nullable, u8 scale, u8 0, u32 length, text native,
//	u32 labels, text... | u32 keys, u32...
func AppendSchema(dst []byte, s *Schema) []byte {
	le := binary.LittleEndian
	text := func(v string) {
		dst = le.AppendUint32(dst, uint32(len(v)))
		dst = append(dst, v...)
	}
	dst = le.AppendUint32(dst, s.ID)
	text(s.DB)
	text(s.Table)
	dst = le.AppendUint32(dst, uint32(len(s.Columns)))
	for i := range s.Columns {
		c := &s.Columns[i]
		text(c.Name)
		nullable := byte(0)
		if c.Nullable {
			nullable = 1
		}
		dst = append(dst, byte(c.Type), nullable, c.Scale, 0)
		dst = le.AppendUint32(dst, c.Length)
		text(c.Native)
		dst = le.AppendUint32(dst, uint32(len(c.Labels)))
		for _, l := range c.Labels {
			text(l)
		}
	}
	dst = le.AppendUint32(dst, uint32(len(s.Key)))
	for _, k := range s.Key {
		dst = le.AppendUint32(dst, uint32(k))
	}
	return dst
}

// DecodeSchema reads what AppendSchema wrote. It trusts nothing: counts are
// bounded by the bytes left. The error is ErrSchema.
func DecodeSchema(p []byte) (*Schema, error) {
	r := schemaReader{p: p}
	s := &Schema{ID: r.u32(), DB: r.text(), Table: r.text()}
	n := r.count(20)
	if r.bad {
		return nil, ErrSchema
	}
	s.Columns = make([]Column, n)
	for i := range s.Columns {
		c := &s.Columns[i]
		c.Name = r.text()
		c.Type, c.Nullable, c.Scale = Type(r.u8()), r.u8() == 1, r.u8()
		r.u8()
		c.Length = r.u32()
		c.Native = r.text()
		if labels := r.count(4); labels > 0 {
			c.Labels = make([]string, labels)
			for j := range c.Labels {
				c.Labels[j] = r.text()
			}
		}
		if !r.bad && !c.Type.Valid() {
			r.bad = true
		}
	}
	for keys := r.count(4); keys > 0; keys-- {
		k := r.u32()
		if k >= uint32(n) {
			r.bad = true
		}
		s.Key = append(s.Key, int(k))
	}
	if r.bad || len(r.p) != 0 {
		return nil, ErrSchema
	}
	return s, nil
}

type schemaReader struct {
	p   []byte
	bad bool
}

func (r *schemaReader) take(n uint32) []byte {
	if r.bad || uint64(n) > uint64(len(r.p)) {
		r.bad = true
		return nil
	}
	v := r.p[:n]
	r.p = r.p[n:]
	return v
}

func (r *schemaReader) u8() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *schemaReader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *schemaReader) text() string { return string(r.take(r.u32())) }

// count reads the length of a list whose elements take at least each bytes.
func (r *schemaReader) count(each int) int {
	n := r.u32()
	if uint64(n)*uint64(each) > uint64(len(r.p)) || n > math.MaxInt32 {
		r.bad = true
		return 0
	}
	return int(n)
}
