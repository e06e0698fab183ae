package binlog

import (
	"errors"
	"strconv"
)

var (
	errShort = errors.New("the row ends inside the value")
	errForm  = errors.New("the value is not of the column's type")
)

// decimalGroup is the number of digits that four bytes of a DECIMAL hold.
const decimalGroup = 9

// decimalDigitsMax is what both servers allow in a DECIMAL.
const decimalDigitsMax = 65

// decimalSize returns the bytes of a DECIMAL(precision, scale).
func decimalSize(precision, scale int) int {
	size := func(digits int) int {
		return digits/decimalGroup*4 + groupBytes(digits%decimalGroup)
	}
	return size(precision-scale) + size(scale)
}

// groupBytes returns the bytes that hold n digits, n up to 9:
// 0 1 1 2 2 3 3 4 4 4.
func groupBytes(n int) int {
	if n == decimalGroup {
		return 4
	}
	return (n + 1) / 2
}

// appendDecimal appends the exact text of the DECIMAL at the beginning of p, as
// the server prints it, and returns the bytes that it takes. The digits before
// and behind the point are in groups of nine, big-endian; the incomplete group
// comes first before the point and last behind it; the first bit is the inverted
// sign, and a negative number has all its bits inverted.
// Source: strings/decimal.cc, decimal2bin.
func appendDecimal(dst, p []byte, precision, scale int) ([]byte, int, error) {
	n := decimalSize(precision, scale)
	if len(p) < n {
		return dst, 0, errShort
	}
	var flip byte
	first := p[0] ^ 0x80
	if p[0]&0x80 == 0 {
		flip, first = 0xff, first^0xff
		dst = append(dst, '-')
	}
	at := 0
	group := func(digits int) (v uint32) {
		for range groupBytes(digits) {
			b := p[at] ^ flip
			if at == 0 {
				b = first
			}
			v = v<<8 | uint32(b)
			at++
		}
		return v
	}
	whole, start := precision-scale, len(dst)
	for left := whole; left > 0; {
		digits := left % decimalGroup
		if digits == 0 {
			digits = decimalGroup
		}
		left -= digits
		v := group(digits)
		if v >= pow10(digits) {
			return dst, 0, errForm
		}
		if len(dst) == start {
			if v != 0 {
				dst = strconv.AppendUint(dst, uint64(v), 10)
			}
			continue
		}
		dst = appendDigits(dst, v, digits)
	}
	if len(dst) == start {
		dst = append(dst, '0')
	}
	if scale > 0 {
		dst = append(dst, '.')
	}
	for left := scale; left > 0; {
		digits := min(left, decimalGroup)
		left -= digits
		v := group(digits)
		if v >= pow10(digits) {
			return dst, 0, errForm
		}
		dst = appendDigits(dst, v, digits)
	}
	return dst, n, nil
}

// appendDigits appends v with leading zeros.
func appendDigits(dst []byte, v uint32, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, byte('0'+v/pow10(i)%10))
	}
	return dst
}

func pow10(n int) uint32 {
	return [...]uint32{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}[n]
}
