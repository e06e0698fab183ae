package debezium

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// encoding is how values of a column are written.
type encoding uint8

const (
	asInt      encoding = iota // a number
	asWrapped                  // a number of 64 bits without a sign, read as one with
	asBig                      // the same, as a Decimal
	asFloat32                  // a number, the shortest that reads back in 32 bits
	asFloat64                  // the same in 64 bits
	asDecimal                  // unscaled, in base 64
	asDouble                   // a DECIMAL as a number
	asText                     // a string: text, labels, DECIMAL
	asJSON                     // a document, as a string without spaces between its tokens
	asBytes                    // base 64
	asBool                     // BIT(1)
	asBits                     // BIT(n): bytes, least significant first
	asDate                     // days since the epoch
	asMillis                   // a DATETIME as milliseconds since the epoch
	asMicros                   // the same in microseconds
	asZoned                    // ISO 8601 in UTC
	asGeometry                 // {wkb, srid}
	asPoint                    // {x, y, wkb, srid}
	asVector                   // an array of numbers
)

// column is what is the same for all values of one column.
type column struct {
	name     []byte // `"name":`
	encoding encoding
	scale    uint8
	bytes    int // of BIT
	nullable bool
}

// append appends the column's name and value, which must not be absent.
func (l *column) append(dst []byte, m sdk.Image, c int) []byte {
	dst = append(dst, l.name...)
	if m.IsNull(c) {
		return append(dst, "null"...)
	}
	switch l.encoding {
	case asInt, asWrapped:
		return strconv.AppendInt(dst, m.Int(c), 10)
	case asBig:
		return appendUnscaled(dst, [4]uint64{m.Uint(c)}, false)
	case asFloat32:
		return jsontext.AppendJavaFloat(dst, m.Float(c), 32)
	case asFloat64:
		return jsontext.AppendJavaFloat(dst, m.Float(c), 64)
	case asDecimal:
		return appendDecimal(dst, m.Bytes(c), int(l.scale))
	case asDouble:
		return appendDouble(dst, m.Bytes(c))
	case asBytes:
		return jsontext.AppendBase64(dst, m.Bytes(c))
	case asBool:
		return strconv.AppendBool(dst, m.Uint(c) != 0)
	case asBits:
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], m.Uint(c))
		return jsontext.AppendBase64(dst, b[:l.bytes])
	case asDate, asMillis, asMicros:
		return l.appendCalendar(dst, m.Uint(c))
	case asZoned:
		dst = jsontext.AppendDateTime(append(dst, '"'), jsontext.Civil(m.Int(c)), l.scale)
		return append(dst, 'Z', '"')
	case asGeometry, asPoint:
		return appendGeometry(dst, m.Bytes(c), l.encoding == asPoint)
	case asJSON:
		return appendDocument(dst, m.Bytes(c))
	case asVector:
		return jsontext.AppendJavaVector(dst, m.Bytes(c))
	}
	return jsontext.AppendText(dst, m.Bytes(c))
}

// appendDocument appends a JSON document as a string. The server prints a space
// behind each comma and colon; Debezium, which formats the log's own form of the
// document, prints none.
func appendDocument(dst, v []byte) []byte {
	dst = append(dst, '"')
	start, quoted := 0, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			dst = jsontext.AppendInner(dst, v[start:i])
			start = i + 1
		}
	}
	return append(jsontext.AppendInner(dst, v[start:]), '"')
}

// appendDouble appends the number that a DECIMAL is nearest to.
func appendDouble(dst, text []byte) []byte {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if err != nil { // no server gives it, but a connector may
		return jsontext.AppendText(dst, text)
	}
	return jsontext.AppendJavaFloat(dst, v, 64)
}

// appendCalendar appends a DATE or DATETIME as the time since the epoch. For a
// date that no calendar has, and for all of the year 0, that is null, or the
// epoch in a column that can't be null.
func (l *column) appendCalendar(dst []byte, slot uint64) []byte {
	v := sdk.UnpackDateTime(slot)
	if l.encoding == asDate {
		v = sdk.Civil{}
		v.Year, v.Month, v.Day = sdk.UnpackDate(slot)
	}
	at := time.Date(v.Year, time.Month(v.Month), v.Day, v.Hour, v.Minute, v.Second, 0, time.UTC)
	if v.Year == 0 || at.Month() != time.Month(v.Month) || at.Day() != v.Day {
		if l.nullable {
			return append(dst, "null"...)
		}
		return append(dst, '0')
	}
	switch l.encoding {
	case asDate:
		return strconv.AppendInt(dst, at.Unix()/86400, 10)
	case asMillis:
		return strconv.AppendInt(dst, at.Unix()*1e3+int64(v.Micro/1e3), 10)
	}
	return strconv.AppendInt(dst, at.Unix()*1e6+int64(v.Micro), 10)
}

// appendGeometry appends SRID and well-known binary; a POINT has its
// coordinates beside them.
func appendGeometry(dst, v []byte, point bool) []byte {
	srid := int32(0)
	if len(v) >= 4 {
		srid, v = int32(binary.LittleEndian.Uint32(v)), v[4:]
	}
	dst = append(dst, '{')
	if point {
		dst = append(appendPoint(dst, v), ',')
	}
	dst = jsontext.AppendBase64(append(dst, `"wkb":`...), v)
	if srid == 0 {
		return append(dst, `,"srid":null}`...)
	}
	return append(strconv.AppendInt(append(dst, `,"srid":`...), int64(srid), 10), '}')
}

// appendPoint appends the coordinates of a point in well-known binary; null
// where it is none in two dimensions.
func appendPoint(dst, wkb []byte) []byte {
	var order binary.ByteOrder = binary.BigEndian
	if len(wkb) > 0 && wkb[0] != 0 {
		order = binary.LittleEndian
	}
	if len(wkb) != 21 || order.Uint32(wkb[1:]) != 1 {
		return append(dst, `"x":null,"y":null`...)
	}
	dst = jsontext.AppendJavaFloat(append(dst, `"x":`...), math.Float64frombits(order.Uint64(wkb[5:])), 64)
	return jsontext.AppendJavaFloat(append(dst, `,"y":`...), math.Float64frombits(order.Uint64(wkb[13:])), 64)
}
