package maxwell

import (
	"bytes"
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// appendValue appends the value of column c, which must not be absent.
func appendValue(dst []byte, m sdk.Image, c int, col *sdk.Column) []byte {
	if m.IsNull(c) {
		return append(dst, "null"...)
	}
	switch col.Type {
	case sdk.TypeInt:
		return strconv.AppendInt(dst, m.Int(c), 10)
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear:
		return strconv.AppendUint(dst, m.Uint(c), 10)
	case sdk.TypeFloat32:
		return jsontext.AppendJavaFloat(dst, m.Float(c), 32)
	case sdk.TypeFloat64:
		return jsontext.AppendJavaFloat(dst, m.Float(c), 64)
	case sdk.TypeDecimal:
		return appendDecimal(dst, m.Bytes(c))
	case sdk.TypeDate, sdk.TypeTime, sdk.TypeDateTime:
		return append(m.AppendText(append(dst, '"'), col, c), '"')
	case sdk.TypeTimestamp:
		return append(jsontext.AppendServerTimestamp(append(dst, '"'), m.Int(c), col.Scale), '"')
	case sdk.TypeSet:
		return appendSet(dst, m.Bytes(c))
	case sdk.TypeBytes:
		return jsontext.AppendBase64(dst, m.Bytes(c))
	case sdk.TypeJSON:
		if v := m.Bytes(c); len(v) > 0 {
			return append(dst, v...)
		}
		return append(dst, "null"...)
	case sdk.TypeGeometry:
		return appendGeometry(dst, m.Bytes(c))
	case sdk.TypeVector:
		return jsontext.AppendJavaVector(dst, m.Bytes(c))
	}
	return jsontext.AppendText(dst, m.Bytes(c))
}

// appendDecimal appends the digits as a number of JSON. What is none, which no
// server gives but a connector may, is a string.
func appendDecimal(dst, text []byte) []byte {
	digits := bytes.TrimPrefix(text, []byte{'-'})
	whole, fraction, point := bytes.Cut(digits, []byte{'.'})
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || point && !isDigits(fraction) {
		return jsontext.AppendText(dst, text)
	}
	return append(dst, text...)
}

func isDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

func appendSet(dst, v []byte) []byte {
	dst = append(dst, '[')
	for more := len(v) > 0; more; {
		var label []byte
		label, v, more = bytes.Cut(v, []byte{','})
		dst = jsontext.AppendText(dst, label)
		if more {
			dst = append(dst, ',')
		}
	}
	return append(dst, ']')
}
