package json

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// appendValue appends the value of column c, which is there and not NULL.
func appendValue(dst []byte, m sdk.Image, c int, col *sdk.Column) []byte {
	switch col.Type {
	case sdk.TypeInt:
		return strconv.AppendInt(dst, m.Int(c), 10)
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear:
		return strconv.AppendUint(dst, m.Uint(c), 10)
	case sdk.TypeFloat32:
		return jsontext.AppendFloat(dst, m.Float(c), 32)
	case sdk.TypeFloat64:
		return jsontext.AppendFloat(dst, m.Float(c), 64)
	case sdk.TypeDate:
		y, mo, d := sdk.UnpackDate(m.Uint(c))
		return append(jsontext.AppendDate(append(dst, '"'), y, mo, d), '"')
	case sdk.TypeTime:
		return jsontext.AppendTime(dst, m.Int(c), col.Scale)
	case sdk.TypeDateTime:
		return append(jsontext.AppendDateTime(append(dst, '"'), sdk.UnpackDateTime(m.Uint(c)), col.Scale), '"')
	case sdk.TypeTimestamp:
		return jsontext.AppendTimestamp(dst, m.Int(c), col.Scale)
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
		return appendVector(dst, m.Bytes(c))
	default: // text of one kind or another: decimal, enum, set, string, uuid, inet
		return jsontext.AppendText(dst, m.Bytes(c))
	}
}

func appendGeometry(dst, v []byte) []byte {
	srid := uint32(0)
	if len(v) >= 4 {
		srid, v = binary.LittleEndian.Uint32(v), v[4:]
	}
	dst = strconv.AppendUint(append(dst, `{"srid":`...), uint64(srid), 10)
	return append(jsontext.AppendBase64(append(dst, `,"wkb":`...), v), '}')
}

func appendVector(dst, v []byte) []byte {
	dst = append(dst, '[')
	for i := 0; i+4 <= len(v); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		f := math.Float32frombits(binary.LittleEndian.Uint32(v[i:]))
		dst = jsontext.AppendFloat(dst, float64(f), 32)
	}
	return append(dst, ']')
}
