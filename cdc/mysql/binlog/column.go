package binlog

import (
	"errors"
	"math"
	"net/netip"
	"strconv"

	"github.com/cdcd-io/cdcd/sdk"
)

// kind says how a column's value is written in a row image.
type kind uint8

const (
	kindInt8 kind = iota
	kindInt16
	kindInt24
	kindInt32
	kindInt64
	kindUint8
	kindUint16
	kindUint24
	kindUint32
	kindUint64
	kindFloat32
	kindFloat64
	kindYear
	kindBit
	kindDate
	kindOldTime
	kindOldDateTime
	kindOldTimestamp
	kindTime2
	kindDateTime2
	kindTimestamp2
	kindHiresTime // MariaDB's with a fraction, before its format was MySQL 5.6's
	kindHiresDateTime
	kindHiresTimestamp

	kindHeap // the kinds from here on have their values in the heap

	kindDecimal
	kindText  // in the column's character set
	kindBytes // as they are; padded to column.length
	kindEnum
	kindSet
	kindJSON
	kindUUID
	kindInet4
	kindInet6
	kindCompressed // MariaDB's COMPRESSED: text or bytes within
)

// column is one column's prepared decoder.
type column struct {
	kind   kind
	size   int // bytes of the value, or of the length before it
	digits int // fractional digits; scale of DECIMAL
	length int // precision of DECIMAL; BINARY: bytes to pad to, else 0
	text   *charset
	labels [][]byte // UTF-8
	z      *columnZlib
	array  bool // a JSON that is never updated in parts
}

// inline decodes a value that lives in its slot, and returns the bytes that it
// takes.
func (c *column) inline(p []byte) (slot uint64, n int, err error) {
	if len(p) < c.size {
		return 0, 0, errShort
	}
	switch c.kind {
	case kindInt8:
		slot = uint64(int64(int8(p[0])))
	case kindInt16:
		slot = uint64(int64(int16(le.Uint16(p))))
	case kindInt24:
		slot = uint64(int64(int32(uint24(p)<<8) >> 8))
	case kindInt32:
		slot = uint64(int64(int32(le.Uint32(p))))
	case kindInt64, kindUint64, kindFloat64:
		slot = le.Uint64(p)
	case kindUint8:
		slot = uint64(p[0])
	case kindUint16:
		slot = uint64(le.Uint16(p))
	case kindUint24:
		slot = uint64(uint24(p))
	case kindUint32:
		slot = uint64(le.Uint32(p))
	case kindFloat32:
		slot = math.Float64bits(float64(math.Float32frombits(le.Uint32(p))))
	case kindYear:
		if p[0] != 0 {
			slot = 1900 + uint64(p[0])
		}
	case kindBit:
		for _, b := range p[:c.size] {
			slot = slot<<8 | uint64(b)
		}
	default:
		return c.inlineTemporal(p)
	}
	return slot, c.size, nil
}

func uint24(p []byte) uint32 { return uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 }

func (c *column) inlineTemporal(p []byte) (slot uint64, n int, err error) {
	switch c.kind {
	case kindDate: // the bits of sdk.PackDate
		slot = uint64(uint24(p))
	case kindOldTime:
		slot = uint64(oldTime(int64(int32(uint24(p)<<8) >> 8)))
	case kindOldDateTime:
		v := le.Uint64(p)
		if v > 99991231235959 {
			return 0, 0, errForm
		}
		slot = oldDateTime(v)
	case kindOldTimestamp:
		slot = uint64(le.Uint32(p)) * 1e6
	case kindTime2:
		slot = uint64(time2(p, c.digits))
	case kindDateTime2:
		if p[0]&0x80 == 0 { // the inverted sign of what can't be negative
			return 0, 0, errForm
		}
		slot = dateTime2(p, c.digits)
	case kindTimestamp2:
		slot = uint64(timestamp2(p, c.digits))
	case kindHiresTime:
		slot = uint64(hiresTime(p[:c.size], c.digits))
	case kindHiresTimestamp:
		slot = uint64(hiresTimestamp(p[:c.size], c.digits))
	case kindHiresDateTime:
		var ok bool
		if slot, ok = hiresDateTime(p[:c.size], c.digits); !ok {
			return 0, 0, errForm
		}
	}
	return slot, c.size, nil
}

// prefixed returns the value behind its length of c.size bytes, and the bytes
// of both.
func (c *column) prefixed(p []byte) (v []byte, n int, err error) {
	if len(p) < c.size {
		return nil, 0, errShort
	}
	switch c.size {
	case 1:
		n = int(p[0])
	case 2:
		n = int(le.Uint16(p))
	case 3:
		n = int(uint24(p))
	default:
		n = int(le.Uint32(p))
	}
	n += c.size
	if n > len(p) {
		return nil, 0, errShort
	}
	return p[c.size:n], n, nil
}

// heap decodes a value into the builder's heap as column i of image m, and
// returns the bytes that it takes.
func (c *column) heap(b *sdk.Builder, m sdk.Image, i int, p []byte) (n int, err error) {
	switch c.kind {
	case kindDecimal:
		buf, n, err := appendDecimal(b.Append(), p, c.length, c.digits)
		if err != nil {
			return 0, err
		}
		b.SetAppended(m, i, buf)
		return n, nil
	case kindEnum, kindSet:
		return c.label(b, m, i, p)
	}
	v, n, err := c.prefixed(p)
	if err != nil {
		return 0, err
	}
	switch c.kind {
	case kindText:
		err = c.setText(b, m, i, v)
	case kindBytes:
		err = c.setBytes(b, m, i, v)
	case kindCompressed:
		if v, err = c.z.expand(v); err == nil {
			err = c.setText(b, m, i, v)
		}
	default:
		buf := b.Append()
		if c.kind == kindJSON {
			buf, err = appendJSON(buf, v)
		} else {
			buf, err = c.appendFixed(buf, v)
		}
		if err == nil {
			b.SetAppended(m, i, buf)
		}
	}
	return n, err
}

// setText sets text as UTF-8; bytes stay as they are.
func (c *column) setText(b *sdk.Builder, m sdk.Image, i int, v []byte) error {
	if c.text.plain(v) {
		b.SetBytes(m, i, v)
		return nil
	}
	buf, err := c.text.append(b.Append(), v)
	if err == nil {
		b.SetAppended(m, i, buf)
	}
	return err
}

// setBytes sets bytes; BINARY(n) gets back the zeros at its end that the log
// leaves out.
func (c *column) setBytes(b *sdk.Builder, m sdk.Image, i int, v []byte) error {
	if len(v) >= c.length {
		b.SetBytes(m, i, v)
		return nil
	}
	buf := append(b.Append(), v...)
	for range c.length - len(v) {
		buf = append(buf, 0)
	}
	b.SetAppended(m, i, buf)
	return nil
}

var errLabel = errors.New("the value is none of the column's labels")

// label sets an ENUM's label, "" for its error value 0, or a SET's labels.
func (c *column) label(b *sdk.Builder, m sdk.Image, i int, p []byte) (int, error) {
	if len(p) < c.size {
		return 0, errShort
	}
	return c.size, c.setLabel(b, m, i, littleEndian(p[:c.size]))
}

// setLabel sets the label or labels that a number stands for.
func (c *column) setLabel(b *sdk.Builder, m sdk.Image, i int, bits uint64) error {
	if c.kind == kindEnum {
		switch {
		case bits == 0:
			b.SetBytes(m, i, nil)
		case bits <= uint64(len(c.labels)):
			b.SetBytes(m, i, c.labels[bits-1])
		default:
			return errLabel
		}
		return nil
	}
	if bits>>len(c.labels) != 0 {
		return errLabel
	}
	buf, first := b.Append(), true
	for k := range c.labels {
		if bits>>k&1 == 0 {
			continue
		}
		if !first {
			buf = append(buf, ',')
		}
		buf, first = append(buf, c.labels[k]...), false
	}
	b.SetAppended(m, i, buf)
	return nil
}

// appendFixed appends the text of MariaDB's UUID, INET4 and INET6, of which the
// log leaves out zeros at the end as it does of BINARY.
func (c *column) appendFixed(dst, v []byte) ([]byte, error) {
	var full [16]byte
	if len(v) > c.length {
		return dst, errForm
	}
	copy(full[:], v)
	switch c.kind {
	case kindUUID:
		return AppendUUID(dst, full[:]), nil
	case kindInet4:
		return netip.AddrFrom4([4]byte(full[:4])).AppendTo(dst), nil
	}
	return appendInet6(dst, full), nil
}

// appendInet6 appends an address as MariaDB prints it, which differs from RFC
// 5952: a single zero word is shortened too, and an IPv4-compatible address
// ends in dots. Source: plugin/type_inet, Inet6::to_string.
func appendInet6(dst []byte, a [16]byte) []byte {
	word := func(i int) uint64 { return uint64(a[2*i])<<8 | uint64(a[2*i+1]) }
	gap, length := -1, 0 // the longest run of zero words
	for i := 0; i < 8; i++ {
		n := 0
		for i+n < 8 && word(i+n) == 0 {
			n++
		}
		if n > length {
			gap, length = i, n
		}
		i += n
	}
	for i := 0; i < 8; i++ {
		switch {
		case i == gap:
			if i == 0 {
				dst = append(dst, ':')
			}
			dst = append(dst, ':')
			i += length - 1
		case i == 6 && gap == 0 && (length == 6 || length == 5 && word(5) == 0xffff):
			return netip.AddrFrom4([4]byte(a[12:])).AppendTo(dst)
		default:
			dst = strconv.AppendUint(dst, word(i), 16)
			if i != 7 {
				dst = append(dst, ':')
			}
		}
	}
	return dst
}
