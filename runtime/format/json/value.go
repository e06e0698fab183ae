package json

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

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
		return appendFloat(dst, m.Float(c), 32)
	case sdk.TypeFloat64:
		return appendFloat(dst, m.Float(c), 64)
	case sdk.TypeDate:
		y, mo, d := sdk.UnpackDate(m.Uint(c))
		return append(appendDate(append(dst, '"'), y, mo, d), '"')
	case sdk.TypeTime:
		return appendTime(dst, m.Int(c), col.Scale)
	case sdk.TypeDateTime:
		return append(appendDateTime(append(dst, '"'), sdk.UnpackDateTime(m.Uint(c)), col.Scale), '"')
	case sdk.TypeTimestamp:
		return appendTimestamp(dst, m.Int(c), col.Scale)
	case sdk.TypeBytes:
		return appendBase64(dst, m.Bytes(c))
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
		return appendText(dst, m.Bytes(c))
	}
}

// appendFloat writes the shortest number that reads back as v at its width, in
// the form of ECMAScript. JSON has no NaN and no infinity: those are strings.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	form := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(dst, v, form, -1, bits)
}

func appendDate(dst []byte, year, month, day int) []byte {
	dst = append(appendPadded(dst, year, 4), '-')
	dst = append(appendPadded(dst, month, 2), '-')
	return appendPadded(dst, day, 2)
}

func appendDateTime(dst []byte, t sdk.Civil, scale uint8) []byte {
	dst = appendDate(dst, t.Year, t.Month, t.Day)
	if t.Month == 0 || t.Day == 0 {
		dst = append(dst, ' ')
	} else {
		dst = append(dst, 'T')
	}
	dst = append(appendPadded(dst, t.Hour, 2), ':')
	dst = append(appendPadded(dst, t.Minute, 2), ':')
	return appendFraction(appendPadded(dst, t.Second, 2), t.Micro, scale)
}

func appendTimestamp(dst []byte, micros int64, scale uint8) []byte {
	dst = append(dst, '"')
	if micros == 0 {
		return append(appendDateTime(dst, sdk.Civil{}, scale), '"')
	}
	t := time.UnixMicro(micros).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendDateTime(dst, sdk.Civil{Year: year, Month: int(month), Day: day,
		Hour: hour, Minute: minute, Second: second, Micro: t.Nanosecond() / 1000}, scale)
	return append(dst, 'Z', '"')
}

func appendTime(dst []byte, micros int64, scale uint8) []byte {
	dst = append(dst, '"')
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	seconds := int(micros / 1e6)
	dst = append(appendPadded(dst, seconds/3600, 2), ':')
	dst = append(appendPadded(dst, seconds/60%60, 2), ':')
	return append(appendFraction(appendPadded(dst, seconds%60, 2), int(micros%1e6), scale), '"')
}

func appendFraction(dst []byte, micro int, scale uint8) []byte {
	if scale == 0 {
		return dst
	}
	digits := min(int(scale), 6)
	for range 6 - digits {
		micro /= 10
	}
	return appendPadded(append(dst, '.'), micro, digits)
}

// appendPadded appends v, which is not negative, with at least the given
// number of digits.
func appendPadded(dst []byte, v, digits int) []byte {
	var b [20]byte
	i := len(b)
	for ; v > 0 || digits > 0; digits-- {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, b[i:]...)
}

func appendBase64(dst, v []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v)
	return append(dst, '"')
}

func appendGeometry(dst, v []byte) []byte {
	srid := uint32(0)
	if len(v) >= 4 {
		srid, v = binary.LittleEndian.Uint32(v), v[4:]
	}
	dst = strconv.AppendUint(append(dst, `{"srid":`...), uint64(srid), 10)
	return append(appendBase64(append(dst, `,"wkb":`...), v), '}')
}

func appendVector(dst, v []byte) []byte {
	dst = append(dst, '[')
	for i := 0; i+4 <= len(v); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		f := math.Float32frombits(binary.LittleEndian.Uint32(v[i:]))
		dst = appendFloat(dst, float64(f), 32)
	}
	return append(dst, ']')
}

// appendText appends v as a JSON string. What is not UTF-8 becomes U+FFFD;
// <, > and & stay as they are.
func appendText[T string | []byte](dst []byte, v T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(v); {
		c := v[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			n := runeLen(v[i:])
			if n > 0 {
				i += n
				continue
			}
			dst = append(append(dst, v[start:i]...), `\ufffd`...)
			i++
			start = i
			continue
		}
		dst = append(append(dst, v[start:i]...), '\\')
		switch c {
		case '"', '\\':
			dst = append(dst, c)
		case '\n':
			dst = append(dst, 'n')
		case '\r':
			dst = append(dst, 'r')
		case '\t':
			dst = append(dst, 't')
		default:
			dst = append(dst, 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, v[start:]...), '"')
}

// runeLen returns the length of the valid rune that v begins with, or 0.
func runeLen[T string | []byte](v T) int {
	var b [utf8.UTFMax]byte
	n := copy(b[:], v)
	r, size := utf8.DecodeRune(b[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}
