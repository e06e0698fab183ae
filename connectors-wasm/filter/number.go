package main

import (
	"bytes"
	"cmp"
	"strconv"
)

// value is an operand's value.
type value struct {
	form form
	i    int64
	u    uint64
	f    float64
	text []byte // of text, and of a decimal: [-]digits[.digits]
}

// form is how a value is kept.
type form uint8

const (
	null form = iota
	signed
	unsigned
	float
	decimal
	text
)

func (v value) isNumber() bool { return v.form >= signed && v.form <= decimal }

// compare orders two values that are both numbers or both text. Numbers compare
// exactly; only where one of them is a float, both are taken as floats.
func compare(a, b value) int {
	switch {
	case a.form == text:
		return bytes.Compare(a.text, b.text)
	case a.form == float || b.form == float:
		return cmp.Compare(a.float(), b.float())
	case a.form == decimal || b.form == decimal:
		var x, y [24]byte
		return compareDecimals(a.decimal(x[:0]), b.decimal(y[:0]))
	case a.form == signed && b.form == signed:
		return cmp.Compare(a.i, b.i)
	case a.form == unsigned && b.form == unsigned:
		return cmp.Compare(a.u, b.u)
	case a.form == signed:
		if a.i < 0 {
			return -1
		}
		return cmp.Compare(uint64(a.i), b.u)
	}
	return -compare(b, a)
}

func (v value) float() float64 {
	switch v.form {
	case signed:
		return float64(v.i)
	case unsigned:
		return float64(v.u)
	case decimal:
		f, _ := strconv.ParseFloat(string(v.text), 64)
		return f
	}
	return v.f
}

func (v value) decimal(buf []byte) []byte {
	switch v.form {
	case signed:
		return strconv.AppendInt(buf, v.i, 10)
	case unsigned:
		return strconv.AppendUint(buf, v.u, 10)
	}
	return v.text
}

// compareDecimals orders two decimal texts by value.
func compareDecimals(a, b []byte) int {
	an, ai, af := splitDecimal(a)
	bn, bi, bf := splitDecimal(b)
	if an != bn {
		if an {
			return -1
		}
		return 1
	}
	c := cmp.Compare(len(ai), len(bi))
	if c == 0 {
		c = bytes.Compare(ai, bi)
	}
	if c == 0 {
		c = bytes.Compare(af, bf)
	}
	if an {
		return -c
	}
	return c
}

// splitDecimal returns sign, digits before the point without leading zeros and
// digits behind it without trailing ones. Zero has no sign.
func splitDecimal(p []byte) (negative bool, whole, fraction []byte) {
	if len(p) > 0 && (p[0] == '-' || p[0] == '+') {
		negative = p[0] == '-'
		p = p[1:]
	}
	whole, fraction, _ = bytes.Cut(p, []byte("."))
	whole, fraction = bytes.TrimLeft(whole, "0"), bytes.TrimRight(fraction, "0")
	return negative && len(whole)+len(fraction) > 0, whole, fraction
}
