package cdctest

import (
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

func dates() (out []Probe) {
	out = append(out, Probe{Kind: "Dates and times", Column: "DATE", Type: sdk.TypeDate, Values: same(
		"2026-11-21", "0000-00-00", "2026-00-00", "2026-11-00", "0000-01-01", "1000-01-01", "9999-12-31", "0003-02-01", "2024-02-29")})
	for digits := range 7 {
		column, f := fraction("DATETIME", digits)
		out = append(out, Probe{Kind: "Dates and times", Column: column, Type: sdk.TypeDateTime, Values: same(
			"2026-11-21 10:11:12"+f("000009"), "0000-00-00 00:00:00"+f("000000"), "2026-00-00 00:00:00"+f("000000"),
			"2026-02-00 01:02:03"+f("400000"), "9999-12-31 23:59:59"+f("999999"), "1000-01-01 00:00:00"+f("000000"),
			"0003-00-00 00:00:01"+f("100000"), "1969-12-31 23:59:59"+f("500000"))})
	}
	for digits := range 7 {
		column, f := fraction("TIMESTAMP", digits)
		out = append(out, Probe{Kind: "Dates and times", Column: column + " NULL", Type: sdk.TypeTimestamp, Values: same(
			"1970-01-01 00:00:01"+f("000001"), "2038-01-19 03:14:07"+f("999999"), "0000-00-00 00:00:00"+f("000000"),
			"2026-11-21 10:11:12"+f("900000"), "2024-02-29 23:59:59"+f("000000"))})
	}
	return out
}

// fraction names a type with the given number of fractional digits, and
// returns what cuts a fraction to them.
func fraction(name string, digits int) (column string, cut func(micros string) string) {
	if digits == 0 {
		return name, func(string) string { return "" }
	}
	return fmt.Sprintf("%s(%d)", name, digits), func(micros string) string { return "." + micros[:digits] }
}

func times() (out []Probe) {
	for digits := range 7 {
		column, f := fraction("TIME", digits)
		smallest := strings.Repeat("0", max(digits-1, 0)) + "1" + strings.Repeat("0", 6)
		p := Probe{Kind: "Dates and times", Column: column, Type: sdk.TypeTime, Values: same(
			"00:00:00"+f("000000"), "-00:00:01"+f("900000"), "838:59:59"+f("000000"), "-838:59:59"+f("000000"), "12:34:56"+f("123456"),
			"838:59:58"+f("999999"), "-838:59:58"+f("999999"), "-01:00:00"+f("999999"), "-12:34:56"+f("990000"), "100:00:00"+f("000000"))}
		if digits > 0 {
			p.Values = append(p.Values, same("-00:00:00"+f(smallest), "00:00:00"+f(smallest))...)
		}
		out = append(out, p)
	}
	return out
}
