package canal

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// The numbers of java.sql.Types that Canal uses.
const (
	sqlBit       = -7
	sqlTinyint   = -6
	sqlBigint    = -5
	sqlChar      = 1
	sqlDecimal   = 3
	sqlInteger   = 4
	sqlSmallint  = 5
	sqlReal      = 7
	sqlDouble    = 8
	sqlVarchar   = 12
	sqlDate      = 91
	sqlTime      = 92
	sqlTimestamp = 93
	sqlBlob      = 2004
	sqlClob      = 2005
)

// column is what is the same for all values of one column.
type column struct {
	col     *sdk.Column
	name    []byte // `"name":`
	sqlType int
	most    uint64 // unsigned values beyond have the type wider
	wider   int
	numbers map[string]uint64 // of labels: of an ENUM its number, of a SET its bit; nil for labels
}

func columnOf(c *sdk.Column, labels bool) column {
	l := column{col: c, name: append(jsontext.AppendText(nil, c.Name), ':'), sqlType: sqlVarchar, most: math.MaxUint64}
	base := strings.ToLower(c.Native)
	if end := strings.IndexAny(base, " ("); end >= 0 {
		base = base[:end]
	}
	switch c.Type {
	case sdk.TypeInt, sdk.TypeUint:
		l.integer(base, c.Type == sdk.TypeUint)
	case sdk.TypeFloat32:
		l.sqlType = sqlReal
	case sdk.TypeFloat64:
		l.sqlType = sqlDouble
	case sdk.TypeDecimal:
		l.sqlType = sqlDecimal
	case sdk.TypeBit:
		l.sqlType = sqlBit
	case sdk.TypeDate:
		l.sqlType = sqlDate
	case sdk.TypeTime:
		l.sqlType = sqlTime
	case sdk.TypeDateTime, sdk.TypeTimestamp:
		l.sqlType = sqlTimestamp
	case sdk.TypeEnum, sdk.TypeSet:
		l.labels(labels)
	case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
		l.sqlType = sqlBlob
	case sdk.TypeUUID, sdk.TypeInet:
		l.sqlType = sqlChar
	case sdk.TypeString:
		if strings.HasSuffix(base, "text") {
			l.sqlType = sqlClob
		} else if base == "char" {
			l.sqlType = sqlChar
		}
	}
	return l
}

func (l *column) integer(base string, unsigned bool) {
	bits := 64
	l.sqlType, l.wider = sqlBigint, sqlDecimal
	switch base {
	case "tinyint":
		bits, l.sqlType, l.wider = 8, sqlTinyint, sqlSmallint
	case "smallint":
		bits, l.sqlType, l.wider = 16, sqlSmallint, sqlInteger
	case "mediumint":
		bits, l.sqlType, l.wider = 24, sqlInteger, sqlInteger
	case "int", "integer":
		bits, l.sqlType, l.wider = 32, sqlInteger, sqlBigint
	}
	if unsigned {
		l.most = 1<<(bits-1) - 1
	}
}

func (l *column) labels(asLabels bool) {
	if asLabels {
		return
	}
	l.sqlType, l.numbers = sqlInteger, make(map[string]uint64, len(l.col.Labels))
	if l.col.Type == sdk.TypeSet {
		l.sqlType = sqlBit
	}
	for i, label := range l.col.Labels {
		l.numbers[label] = uint64(i) + 1
		if l.col.Type == sdk.TypeSet {
			l.numbers[label] = 1 << i
		}
	}
}

// sqlTypeOf returns the type of a value: it depends on the value where that is
// unsigned.
func (l *column) sqlTypeOf(m sdk.Image, c int) int {
	if l.most != math.MaxUint64 && m.Has(c) && m.Uint(c) > l.most {
		return l.wider
	}
	return l.sqlType
}

// append appends the value of column c, which must not be absent.
func (l *column) append(dst []byte, m sdk.Image, c int) []byte {
	if m.IsNull(c) {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	switch l.col.Type {
	case sdk.TypeFloat32, sdk.TypeFloat64:
		dst = appendFloat(dst, m.Float(c), l.col.Type == sdk.TypeFloat32)
	case sdk.TypeYear:
		dst = jsontext.AppendPadded(dst, int(m.Uint(c)), 4)
	case sdk.TypeTimestamp:
		dst = jsontext.AppendServerTimestamp(dst, m.Int(c), l.col.Scale)
	case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
		dst = appendLatin1(dst, m.Bytes(c))
	case sdk.TypeEnum, sdk.TypeSet:
		dst = l.appendLabels(dst, m.Bytes(c))
	case sdk.TypeInt, sdk.TypeUint, sdk.TypeBit, sdk.TypeDate, sdk.TypeTime, sdk.TypeDateTime:
		dst = m.AppendText(dst, l.col, c)
	default:
		dst = jsontext.AppendInner(dst, m.Bytes(c))
	}
	return append(dst, '"')
}

func appendFloat(dst []byte, v float64, single bool) []byte {
	bits := 64
	if single {
		bits = 32
	}
	if math.IsNaN(v) || math.IsInf(v, 0) { // which no server keeps
		return strconv.AppendFloat(dst, v, 'g', -1, bits)
	}
	return jsontext.AppendJavaFloat(dst, v, bits)
}

// appendLatin1 appends a character for each byte, as JSON escapes it.
func appendLatin1(dst, v []byte) []byte {
	for i := range v {
		if v[i] < utf8.RuneSelf {
			dst = jsontext.AppendInner(dst, v[i:i+1])
		} else {
			dst = utf8.AppendRune(dst, rune(v[i]))
		}
	}
	return dst
}

// appendLabels appends the number that the server keeps in place of labels: 0
// for none. What the definition does not have, a step has made: it stays.
func (l *column) appendLabels(dst, v []byte) []byte {
	if l.numbers == nil {
		return jsontext.AppendInner(dst, v)
	}
	if n, ok := l.numbers[string(v)]; ok {
		return strconv.AppendUint(dst, n, 10)
	}
	if len(v) == 0 {
		return append(dst, '0')
	}
	n := uint64(0)
	for rest, more := v, true; more; {
		var label []byte
		label, rest, more = bytes.Cut(rest, []byte{','})
		bit, ok := l.numbers[string(label)]
		if !ok || l.col.Type == sdk.TypeEnum {
			return jsontext.AppendInner(dst, v)
		}
		n |= bit
	}
	return strconv.AppendUint(dst, n, 10)
}
