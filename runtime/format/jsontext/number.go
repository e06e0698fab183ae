package jsontext

import (
	"encoding/binary"
	"math"
	"strconv"
)

// AppendFloat writes the shortest number that reads back as v at its width, in
// the form of ECMAScript. JSON has no NaN and no infinity: those are strings.
func AppendFloat(dst []byte, v float64, bits int) []byte {
	v = atWidth(v, bits)
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

// atWidth rounds v to the width, which may make it infinite: so strconv would
// print it.
func atWidth(v float64, bits int) float64 {
	if bits == 32 {
		return float64(float32(v))
	}
	return v
}

// AppendJavaFloat writes the shortest number that reads back as v at its width,
// in the form of Java's Float.toString and Double.toString: "1.0", "1.0E7".
// What JSON doesn't have is a string, as Java names it.
func AppendJavaFloat(dst []byte, v float64, bits int) []byte {
	v = atWidth(v, bits)
	a := math.Abs(v)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return AppendFloat(dst, v, bits)
	}
	start := len(dst)
	if a == 0 || a >= 1e-3 && a < 1e7 {
		dst = strconv.AppendFloat(dst, v, 'f', -1, bits)
		for _, c := range dst[start:] {
			if c == '.' {
				return dst
			}
		}
		return append(dst, '.', '0')
	}
	dst = strconv.AppendFloat(dst, v, 'e', -1, bits) // such as 1e+07 or 1.5e-05
	e := start
	for dst[e] != 'e' {
		e++
	}
	exponent := 0
	for _, c := range dst[e+2:] {
		exponent = exponent*10 + int(c-'0')
	}
	if dst[e+1] == '-' {
		exponent = -exponent
	}
	point := false
	for _, c := range dst[start:e] {
		point = point || c == '.'
	}
	if dst = dst[:e]; !point {
		dst = append(dst, '.', '0')
	}
	return strconv.AppendInt(append(dst, 'E'), int64(exponent), 10)
}

// AppendJavaVector appends the elements of a VECTOR, as AppendJavaFloat writes
// them.
func AppendJavaVector(dst, v []byte) []byte {
	dst = append(dst, '[')
	for i := 0; i+4 <= len(v); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJavaFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(v[i:]))), 32)
	}
	return append(dst, ']')
}
