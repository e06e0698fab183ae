package sdk

import "strconv"

// AppendText appends the text of column c as a person reads it: exact numbers,
// floating point in the servers' form but with all of its digits, ISO dates and
// times, labels, and the bytes of values that live in the heap as they are.
// Column c must have a value, and not a large one.
func (m Image) AppendText(dst []byte, column *Column, c int) []byte {
	switch column.Type {
	case TypeInt:
		return strconv.AppendInt(dst, m.Int(c), 10)
	case TypeUint, TypeBit, TypeYear:
		return strconv.AppendUint(dst, m.Uint(c), 10)
	case TypeFloat32:
		return appendFloat(dst, m.Float(c), 32)
	case TypeFloat64:
		return appendFloat(dst, m.Float(c), 64)
	case TypeDate:
		y, mo, d := UnpackDate(m.Uint(c))
		return appendDate(dst, y, mo, d)
	case TypeTime:
		return appendTime(dst, m.Int(c), int(column.Scale))
	case TypeDateTime:
		return appendCivil(dst, UnpackDateTime(m.Uint(c)), ' ', int(column.Scale))
	case TypeTimestamp:
		return appendTimestamp(dst, m.Int(c), int(column.Scale))
	}
	return append(dst, m.Bytes(c)...)
}

// appendFloat appends the shortest digits that read back as v at its width, in
// the servers' form: an exponent, without plus and leading zeros, where the point
// is more than 14 places to the left of the digits, or more than 15 to the right
// of their beginning and behind all of them.
func appendFloat(dst []byte, v float64, bits int) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, 'e', -1, bits)
	digits, e := 0, start
	for ; e < len(dst) && dst[e] != 'e'; e++ {
		if dst[e] >= '0' && dst[e] <= '9' {
			digits++
		}
	}
	if e == len(dst) { // NaN and infinities, which no server keeps
		return dst
	}
	exponent, _ := strconv.Atoi(string(dst[e+1:])) // what AppendFloat wrote
	if point := exponent + 1; point >= -14 && (point <= 15 || digits > point) {
		return strconv.AppendFloat(dst[:start], v, 'f', -1, bits)
	}
	return strconv.AppendInt(dst[:e+1], int64(exponent), 10)
}

func appendDate(dst []byte, y, m, d int) []byte {
	dst = append(padded(dst, y, 4), '-')
	dst = append(padded(dst, m, 2), '-')
	return padded(dst, d, 2)
}

func appendClock(dst []byte, h, m, s, micro, scale int) []byte {
	dst = append(padded(dst, h, 2), ':')
	dst = append(padded(dst, m, 2), ':')
	dst = padded(dst, s, 2)
	if scale = min(scale, 6); scale > 0 {
		dst = padded(append(dst, '.'), micro, 6)
		dst = dst[:len(dst)-6+scale]
	}
	return dst
}

func appendCivil(dst []byte, c Civil, between byte, scale int) []byte {
	dst = append(appendDate(dst, c.Year, c.Month, c.Day), between)
	return appendClock(dst, c.Hour, c.Minute, c.Second, c.Micro, scale)
}

func appendTime(dst []byte, us int64, scale int) []byte {
	u := uint64(us)
	if us < 0 {
		dst = append(dst, '-')
		u = -u
	}
	s := u / 1e6
	return appendClock(dst, int(s/3600), int(s/60%60), int(s%60), int(u%1e6), scale)
}

// appendTimestamp appends microseconds since the Unix epoch in ISO 8601, UTC;
// MySQL's zero timestamp is 0000-00-00.
func appendTimestamp(dst []byte, us int64, scale int) []byte {
	if us == 0 {
		return append(appendCivil(dst, Civil{}, 'T', scale), 'Z')
	}
	days, rest := us/86_400_000_000, us%86_400_000_000
	if rest < 0 {
		days, rest = days-1, rest+86_400_000_000
	}
	y, m, d := civilOf(days)
	s := int(rest / 1e6)
	return append(appendCivil(dst, Civil{y, m, d, s / 3600, s / 60 % 60, s % 60, int(rest % 1e6)}, 'T', scale), 'Z')
}

// civilOf returns the proleptic Gregorian date that lies days behind
// 1970-01-01. The calendar's cycle of 400 years is counted from a first of March,
// so that the day a leap year has more comes last.
func civilOf(days int64) (y, m, d int) {
	days += 719_468
	era := days / 146_097
	if days < 0 {
		era = (days - 146_096) / 146_097
	}
	doe := days - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	y, m, d = int(yoe+era*400), int(mp)+3, int(doy-(153*mp+2)/5)+1
	if m > 12 {
		m, y = m-12, y+1
	}
	return y, m, d
}

// padded appends v with zeros in front up to the width.
func padded(dst []byte, v, width int) []byte {
	limit := 1
	for range width - 1 {
		limit *= 10
	}
	for ; v < limit && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(v), 10)
}
