package binlog

import "github.com/cdcd-io/cdcd/sdk"

// The temporal types of MySQL 5.6 and later ("2") are big-endian with the sign
// bit inverted, and carry their fraction in (digits+1)/2 bytes; the older ones are
// little-endian numbers. Source: sql-common/my_time.cc.

// fractionBytes returns the bytes of a fraction of the given digits, 0 to 6.
func fractionBytes(digits int) int { return (digits + 1) / 2 }

// fraction reads a fraction as microseconds.
func fraction(p []byte, digits int) int64 {
	switch fractionBytes(digits) {
	case 1:
		return int64(p[0]) * 10000
	case 2:
		return (int64(p[0])<<8 | int64(p[1])) * 100
	case 3:
		return int64(p[0])<<16 | int64(p[1])<<8 | int64(p[2])
	}
	return 0
}

// dateTime2 reads a DATETIME of 5 bytes and a fraction. Its bits are those of
// sdk.PackDateTime.
func dateTime2(p []byte, digits int) uint64 {
	v := uint64(p[0])<<32 | uint64(p[1])<<24 | uint64(p[2])<<16 | uint64(p[3])<<8 | uint64(p[4])
	return (v&^(1<<39))<<24 | uint64(fraction(p[5:], digits))
}

// timestamp2 reads a TIMESTAMP of 4 bytes and a fraction as microseconds.
func timestamp2(p []byte, digits int) int64 {
	v := int64(p[0])<<24 | int64(p[1])<<16 | int64(p[2])<<8 | int64(p[3])
	return v*1e6 + fraction(p[4:], digits)
}

// time2 reads a TIME of 3 bytes and a fraction as signed microseconds. Whole
// and fraction are one number, offset by its sign bit, so that a negative time's
// fraction counts from the next lower second.
func time2(p []byte, digits int) int64 {
	v := int64(p[0])<<16 | int64(p[1])<<8 | int64(p[2])
	whole := v - 1<<23
	var part int64 // of the second, in units of 2^-24 as packed
	switch fractionBytes(digits) {
	case 1:
		part = int64(p[3])
		if whole < 0 && part != 0 {
			whole, part = whole+1, part-1<<8
		}
		part *= 10000
	case 2:
		part = int64(p[3])<<8 | int64(p[4])
		if whole < 0 && part != 0 {
			whole, part = whole+1, part-1<<16
		}
		part *= 100
	case 3:
		return unpackTime((v<<24 | fraction(p[3:], 6)) - 1<<47)
	}
	return unpackTime(whole<<24 + part)
}

// unpackTime turns MySQL's packed time, which JSON documents hold too, into
// microseconds.
func unpackTime(packed int64) int64 {
	v := packed
	if v < 0 {
		v = -v
	}
	micros, hms := v&(1<<24-1), v>>24
	us := ((hms>>12&0x3ff)*3600+(hms>>6&0x3f)*60+(hms&0x3f))*1e6 + micros
	if packed < 0 {
		return -us
	}
	return us
}

// oldDateTime turns the number yyyymmddhhmmss into a slot.
func oldDateTime(v uint64) uint64 {
	d, t := int(v/1e6), int(v%1e6)
	return sdk.PackDateTime(sdk.Civil{
		Year: d / 10000, Month: d / 100 % 100, Day: d % 100,
		Hour: t / 10000, Minute: t / 100 % 100, Second: t % 100,
	})
}

// oldTime turns the signed number hhmmss into microseconds.
func oldTime(v int64) int64 {
	sign := int64(1)
	if v < 0 {
		sign, v = -1, -v
	}
	return sign * (v/10000*3600 + v/100%100*60 + v%100) * 1e6
}

// MariaDB's temporal types with a fraction, as it wrote them before it took over
// MySQL's format (mysql56_temporal_format=OFF): big-endian numbers in units of the
// last digit. Source: sql/field.cc, Field_time_hires, Field_datetime_hires and
// Field_timestamp_hires; sql/compat56.cc.

// hiresBytes returns the bytes of a value with the given fractional digits, 1 to 6.
func hiresBytes(k kind, digits int) int {
	switch k {
	case kindHiresTime:
		return [...]int{3, 4, 4, 5, 5, 5, 6}[digits]
	case kindHiresDateTime:
		return [...]int{5, 6, 6, 7, 7, 7, 8}[digits]
	}
	return 4 + fractionBytes(digits)
}

// bigEndian reads a number of up to eight bytes.
func bigEndian(p []byte) (v uint64) {
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}

// unitMicros is the microseconds of one in the last of so many digits.
func unitMicros(digits int) int64 {
	return [...]int64{1e6, 1e5, 1e4, 1e3, 100, 10, 1}[digits]
}

// hiresTime reads a TIME: the number is offset by the first time beyond the
// range.
func hiresTime(p []byte, digits int) int64 {
	const beyond = 838*3600 + 59*60 + 59 + 1
	unit := unitMicros(digits)
	return int64(bigEndian(p))*unit - beyond*1e6/unit*unit
}

// hiresTimestamp reads a TIMESTAMP: seconds, and the fraction.
func hiresTimestamp(p []byte, digits int) int64 {
	return int64(bigEndian(p[:4]))*1e6 + int64(bigEndian(p[4:]))*unitMicros(digits)
}

// hiresDateTime reads a DATETIME: one number of mixed radix.
func hiresDateTime(p []byte, digits int) (slot uint64, ok bool) {
	v := bigEndian(p)
	unit := uint64(unitMicros(digits))
	next := func(radix uint64) int {
		part := v % radix
		v /= radix
		return int(part)
	}
	c := sdk.Civil{Micro: next(1e6/unit) * int(unit)}
	c.Second, c.Minute, c.Hour = next(60), next(60), next(24)
	c.Day, c.Month = next(32), next(13)
	if v > 9999 {
		return 0, false
	}
	c.Year = int(v)
	return sdk.PackDateTime(c), true
}
