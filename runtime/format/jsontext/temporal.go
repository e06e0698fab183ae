package jsontext

import (
	"bytes"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// AppendDate appends "2024-01-02", without quotes.
func AppendDate(dst []byte, year, month, day int) []byte {
	dst = append(AppendPadded(dst, year, 4), '-')
	dst = append(AppendPadded(dst, month, 2), '-')
	return AppendPadded(dst, day, 2)
}

// AppendDateTime appends "2024-01-02T03:04:05.123", without quotes and with as
// many fractional digits as scale says; a space stands in place of the T in a date
// that no calendar has.
func AppendDateTime(dst []byte, t sdk.Civil, scale uint8) []byte {
	dst = AppendDate(dst, t.Year, t.Month, t.Day)
	if t.Month == 0 || t.Day == 0 {
		dst = append(dst, ' ')
	} else {
		dst = append(dst, 'T')
	}
	dst = append(AppendPadded(dst, t.Hour, 2), ':')
	dst = append(AppendPadded(dst, t.Minute, 2), ':')
	return appendFraction(AppendPadded(dst, t.Second, 2), t.Micro, scale)
}

// AppendTimestamp appends microseconds since the Unix epoch as a string in ISO
// 8601, UTC; MySQL's zero timestamp is "0000-00-00 00:00:00".
func AppendTimestamp(dst []byte, micros int64, scale uint8) []byte {
	dst = append(dst, '"')
	if micros == 0 {
		return append(AppendDateTime(dst, sdk.Civil{}, scale), '"')
	}
	return append(AppendDateTime(dst, Civil(micros), scale), 'Z', '"')
}

// AppendServerTimestamp appends microseconds since the Unix epoch as a server
// prints them in UTC, without quotes: "2024-01-02 03:04:05.123".
func AppendServerTimestamp(dst []byte, micros int64, scale uint8) []byte {
	at := Civil(micros)
	if micros == 0 { // MySQL's zero timestamp
		at = sdk.Civil{}
	}
	day := len(dst)
	dst = AppendDateTime(dst, at, scale)
	if t := bytes.IndexByte(dst[day:], 'T'); t >= 0 {
		dst[day+t] = ' '
	}
	return dst
}

// Civil returns the date and time of day, in UTC, of microseconds since the
// Unix epoch.
func Civil(micros int64) sdk.Civil {
	t := time.UnixMicro(micros).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	return sdk.Civil{Year: year, Month: int(month), Day: day,
		Hour: hour, Minute: minute, Second: second, Micro: t.Nanosecond() / 1000}
}

// AppendTime appends a signed time of any length as a string: "-838:59:59.000".
func AppendTime(dst []byte, micros int64, scale uint8) []byte {
	dst = append(dst, '"')
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	seconds := int(micros / 1e6)
	dst = append(AppendPadded(dst, seconds/3600, 2), ':')
	dst = append(AppendPadded(dst, seconds/60%60, 2), ':')
	return append(appendFraction(AppendPadded(dst, seconds%60, 2), int(micros%1e6), scale), '"')
}

func appendFraction(dst []byte, micro int, scale uint8) []byte {
	if scale == 0 {
		return dst
	}
	digits := min(int(scale), 6)
	for range 6 - digits {
		micro /= 10
	}
	return AppendPadded(append(dst, '.'), micro, digits)
}

// AppendPadded appends v, which is not negative, with at least the given
// number of digits.
func AppendPadded(dst []byte, v, digits int) []byte {
	var b [20]byte
	i := len(b)
	for ; v > 0 || digits > 0; digits-- {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, b[i:]...)
}
