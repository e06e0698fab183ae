package debezium

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
)

// decimalDigitsMax is how many digits fit 255 bits; a DECIMAL has 65 at most.
const decimalDigitsMax = 76

// appendDecimal appends Kafka Connect's Decimal: the unscaled number in base 64,
// as the shortest two's complement, most significant byte first. Text that is no
// number of the scale, which no server gives but a connector may, is written as
// it is: nothing that reads a Decimal takes it for one.
func appendDecimal(dst, text []byte, scale int) []byte {
	digits, negative := text, false
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		negative, digits = digits[0] == '-', digits[1:]
	}
	var n [4]uint64 // least significant first
	count, behind, point := 0, 0, false
	for _, c := range digits {
		switch {
		case c == '.' && !point:
			point = true
			continue
		case c < '0' || c > '9':
			return jsontext.AppendText(dst, text)
		}
		count++
		if point {
			behind++
		}
		if count > decimalDigitsMax {
			return jsontext.AppendText(dst, text)
		}
		timesTen(&n, uint64(c-'0'))
	}
	if count == 0 || behind > scale || count+scale-behind > decimalDigitsMax {
		return jsontext.AppendText(dst, text)
	}
	for ; behind < scale; behind++ {
		timesTen(&n, 0)
	}
	return appendUnscaled(dst, n, negative)
}

// timesTen makes n ten times as large, and adds a digit.
func timesTen(n *[4]uint64, digit uint64) {
	carry := digit
	for i := range n {
		high, low := bits.Mul64(n[i], 10)
		var over uint64
		n[i], over = bits.Add64(low, carry, 0)
		carry = high + over
	}
}

// appendUnscaled appends a number in base 64, quoted.
func appendUnscaled(dst []byte, n [4]uint64, negative bool) []byte {
	if negative {
		carry := uint64(1)
		for i := range n {
			n[i], carry = bits.Add64(^n[i], 0, carry)
		}
	}
	var b [32]byte
	for i, limb := range n {
		binary.BigEndian.PutUint64(b[24-8*i:], limb)
	}
	from := 0 // leading bytes that say nothing but the sign
	for from < len(b)-1 && (b[from] == 0 && b[from+1] < 0x80 || b[from] == 0xff && b[from+1] >= 0x80) {
		from++
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b[from:])
	return append(dst, '"')
}
