package binlog

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
)

// Types of a value in MySQL's binary JSON. Source: sql-common/json_binary.h.
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f
)

// jsonDepthMax is the nesting that the server allows.
const jsonDepthMax = 100

var errJSON = errors.New("the bytes are no binary JSON document")

// jsonWriter prints one document. budget bounds what it visits: the values of a
// document don't overlap, so all of them together are no more than its bytes; a
// forged one could nest the same bytes in themselves.
type jsonWriter struct {
	dst    []byte
	budget int
	bad    bool
}

// appendJSON appends the text of a binary JSON document exactly as MySQL
// prints it: keys in their stored order, ", " and ": " between, DECIMAL
// unquoted, temporal values quoted, other opaque values as
// "base64:typeN:...". An empty document, which a NOT NULL column filled by
// INSERT IGNORE has, is printed as the server does: null.
func appendJSON(dst, doc []byte) ([]byte, error) {
	if len(doc) == 0 {
		return append(dst, "null"...), nil
	}
	w := jsonWriter{dst: dst, budget: len(doc) + 1}
	w.value(doc[0], doc[1:], 1)
	if w.bad {
		return dst, errJSON
	}
	return w.dst, nil
}

// spend takes n bytes from the budget.
func (w *jsonWriter) spend(n int) {
	if w.budget -= n; w.budget < 0 {
		w.bad = true
	}
}

// value prints the value of the given type at the beginning of p.
func (w *jsonWriter) value(typ byte, p []byte, depth int) {
	w.spend(1)
	if w.bad || depth > jsonDepthMax+1 {
		w.bad = true
		return
	}
	c := cursor{p: p}
	switch typ {
	case jsonSmallObject, jsonSmallArray:
		w.container(p, typ == jsonSmallObject, 2, depth)
	case jsonLargeObject, jsonLargeArray:
		w.container(p, typ == jsonLargeObject, 4, depth)
	case jsonLiteral:
		w.literal(c.u8())
	case jsonInt16:
		w.dst = strconv.AppendInt(w.dst, int64(int16(c.u16())), 10)
	case jsonUint16:
		w.dst = strconv.AppendUint(w.dst, uint64(c.u16()), 10)
	case jsonInt32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(c.u32())), 10)
	case jsonUint32:
		w.dst = strconv.AppendUint(w.dst, uint64(c.u32()), 10)
	case jsonInt64:
		w.dst = strconv.AppendInt(w.dst, int64(c.u64()), 10)
	case jsonUint64:
		w.dst = strconv.AppendUint(w.dst, c.u64(), 10)
	case jsonDouble:
		w.double(math.Float64frombits(c.u64()))
	case jsonString:
		v := c.take(jsonLength(&c))
		w.spend(len(v))
		w.text(v)
	case jsonOpaque:
		typ := ColumnType(c.u8())
		v := c.take(jsonLength(&c))
		w.spend(len(v))
		w.opaque(typ, v)
	default:
		w.bad = true
	}
	w.bad = w.bad || c.bad
}

// jsonLength reads a length of seven bits a byte, the lowest first; the highest
// bit says that another follows.
func jsonLength(c *cursor) int {
	n := uint64(0)
	for i := range 5 {
		b := c.u8()
		n |= uint64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return int(n)
		}
	}
	c.bad = true
	return 0
}

// container prints an object or array.
func (w *jsonWriter) container(p []byte, object bool, width, depth int) {
	b, ok := openJSON(p, object, width)
	if !ok {
		w.bad = true
		return
	}
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	w.dst = append(w.dst, open)
	for i := range b.count {
		if i > 0 {
			w.dst = append(w.dst, ", "...)
		}
		if object {
			w.key(b.p, b.keys.uint(width), uint64(b.keys.u16()))
		}
		typ, v, ok := b.entry()
		if w.bad = w.bad || !ok; w.bad {
			return
		}
		w.value(typ, v, depth+1)
		if w.bad {
			return
		}
	}
	w.dst = append(w.dst, end)
}

// jsonContainer is an object or array in binary form: count and size; for an
// object, offset and length of each key; type and offset of each value. Numbers
// are of width bytes, a key's length of two; offsets count from p's first byte.
type jsonContainer struct {
	p            []byte
	object       bool
	width        int
	count        int
	keys, values cursor
}

func openJSON(p []byte, object bool, width int) (b jsonContainer, ok bool) {
	c := cursor{p: p}
	count, size := c.uint(width), c.uint(width)
	keyEntry := 0
	if object {
		keyEntry = width + 2
	}
	head := uint64(2*width) + count*uint64(keyEntry+1+width)
	if c.bad || count > uint64(len(p)) || size > uint64(len(p)) || head > size {
		return b, false
	}
	p = p[:size]
	return jsonContainer{p: p, object: object, width: width, count: int(count),
		keys: cursor{p: p[2*width:]}, values: cursor{p: p[2*width+int(count)*keyEntry:]}}, true
}

// entry returns the next value: small ones are in the entry itself.
func (b *jsonContainer) entry() (typ byte, v []byte, ok bool) {
	typ = b.values.u8()
	inline := typ == jsonLiteral || typ == jsonInt16 || typ == jsonUint16 ||
		b.width == 4 && (typ == jsonInt32 || typ == jsonUint32)
	if inline {
		return typ, b.values.take(b.width), !b.values.bad
	}
	off := b.values.uint(b.width)
	if b.values.bad || off >= uint64(len(b.p)) {
		return typ, nil, false
	}
	return typ, b.p[off:], true
}

func (w *jsonWriter) key(p []byte, off, n uint64) {
	if off+n > uint64(len(p)) {
		w.bad = true
		return
	}
	w.spend(int(n))
	w.text(p[off : off+n])
	w.dst = append(w.dst, ": "...)
}

func (w *jsonWriter) literal(v byte) {
	switch v {
	case 0:
		w.dst = append(w.dst, "null"...)
	case 1:
		w.dst = append(w.dst, "true"...)
	case 2:
		w.dst = append(w.dst, "false"...)
	default:
		w.bad = true
	}
}

// text prints a quoted string.
func (w *jsonWriter) text(v []byte) {
	const hexDigits = "0123456789abcdef"
	dst := append(w.dst, '"')
	for _, b := range v {
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b >= 0x20:
			dst = append(dst, b)
		case b == '\b':
			dst = append(dst, `\b`...)
		case b == '\f':
			dst = append(dst, `\f`...)
		case b == '\n':
			dst = append(dst, `\n`...)
		case b == '\r':
			dst = append(dst, `\r`...)
		case b == '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		}
	}
	w.dst = append(dst, '"')
}

// double prints a number as my_gcvt does: the shortest digits that read back
// as the same number, and ".0" behind a whole one. Where the point is more than
// 14 places to the left of the digits, or more than 15 to the right of their
// beginning and behind all of them, it takes an exponent.
// Source: strings/dtoa.cc, MAX_DECPT_FOR_F_FORMAT.
func (w *jsonWriter) double(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.bad = true
		return
	}
	start := len(w.dst)
	w.dst = strconv.AppendFloat(w.dst, f, 'e', -1, 64)
	text, e := w.dst[start:], 0
	digits := 0
	for e = 0; text[e] != 'e'; e++ {
		if text[e] >= '0' && text[e] <= '9' {
			digits++
		}
	}
	exponent, _ := strconv.Atoi(string(text[e+1:])) // what AppendFloat wrote
	if point := exponent + 1; point >= -14 && (point <= 15 || digits > point) {
		w.dst = strconv.AppendFloat(w.dst[:start], f, 'f', -1, 64)
		if f == math.Trunc(f) {
			w.dst = append(w.dst, ".0"...)
		}
		return
	}
	w.dst = strconv.AppendInt(w.dst[:start+e+1], int64(exponent), 10)
}

// opaque prints a value of one of the server's own types.
func (w *jsonWriter) opaque(typ ColumnType, v []byte) {
	switch typ {
	case ColNewDecimal:
		if len(v) < 2 || v[0] == 0 || v[0] > 81 || v[1] > 30 || v[1] > v[0] {
			w.bad = true
			return
		}
		dst, n, err := appendDecimal(w.dst, v[2:], int(v[0]), int(v[1]))
		w.dst, w.bad = dst, w.bad || err != nil || n != len(v)-2
	case ColDate, ColDateTime, ColTimestamp, ColTime:
		if len(v) != 8 {
			w.bad = true
			return
		}
		w.temporal(typ, int64(le.Uint64(v)))
	default:
		w.dst = append(w.dst, `"base64:type`...)
		w.dst = strconv.AppendUint(w.dst, uint64(typ), 10)
		w.dst = append(w.dst, ':')
		w.base64(v)
		w.dst = append(w.dst, '"')
	}
}

// base64 prints v as the server's base64_encode does: a line ends after 76
// digits unless it is the last.
func (w *jsonWriter) base64(v []byte) {
	const line = 76 / 4 * 3
	for len(v) > line {
		w.dst = base64.StdEncoding.AppendEncode(w.dst, v[:line])
		w.dst = append(w.dst, `\n`...)
		v = v[line:]
	}
	w.dst = base64.StdEncoding.AppendEncode(w.dst, v)
}

// temporal prints a date or time that is packed in 64 bits.
func (w *jsonWriter) temporal(typ ColumnType, v int64) {
	w.dst = append(w.dst, '"')
	if typ == ColTime {
		us := unpackTime(v)
		if us < 0 {
			w.dst = append(w.dst, '-')
			us = -us
		}
		w.clock(us/3600e6, us/60e6%60, us/1e6%60, us%1e6)
	} else {
		if v < 0 {
			w.bad = true
			return
		}
		ym := v >> 46
		w.pad(ym/13, 4, 0)
		w.pad(ym%13, 2, '-')
		w.pad(v>>41&31, 2, '-')
		if typ != ColDate {
			w.dst = append(w.dst, ' ')
			w.clock(v>>36&31, v>>30&63, v>>24&63, v&(1<<24-1))
		}
	}
	w.dst = append(w.dst, '"')
}

func (w *jsonWriter) clock(hour, minute, second, micro int64) {
	w.pad(hour, 2, 0)
	w.pad(minute, 2, ':')
	w.pad(second, 2, ':')
	w.pad(micro, 6, '.')
}

// pad prints v with leading zeros behind a separator, if there is one.
func (w *jsonWriter) pad(v int64, digits int, sep byte) {
	if sep != 0 {
		w.dst = append(w.dst, sep)
	}
	for p := int64(math.Pow10(digits - 1)); p > v && p > 1; p /= 10 {
		w.dst = append(w.dst, '0')
	}
	w.dst = strconv.AppendInt(w.dst, v, 10)
}
