package cdctest

import (
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

func integers() (out []Probe) {
	add := func(column string, t sdk.Type, values ...string) {
		out = append(out, Probe{Kind: "Integers", Column: column, Type: t, Values: same(values...)})
	}
	add("TINYINT", sdk.TypeInt, "0", "1", "-1", "127", "-128")
	add("TINYINT UNSIGNED", sdk.TypeUint, "0", "127", "128", "255")
	add("TINYINT(1)", sdk.TypeInt, "0", "1", "-128", "127")
	add("BOOL", sdk.TypeInt, "1", "0")
	add("SMALLINT", sdk.TypeInt, "0", "-1", "32767", "-32768")
	add("SMALLINT UNSIGNED", sdk.TypeUint, "0", "32768", "65535")
	add("MEDIUMINT", sdk.TypeInt, "0", "1", "-1", "8388607", "-8388608")
	add("MEDIUMINT UNSIGNED", sdk.TypeUint, "0", "8388608", "16777215")
	add("INT", sdk.TypeInt, "0", "-1", "2147483647", "-2147483648")
	add("INT UNSIGNED", sdk.TypeUint, "0", "2147483648", "4294967295")
	add("BIGINT", sdk.TypeInt, "0", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993")
	add("BIGINT UNSIGNED", sdk.TypeUint, "0", "9223372036854775808", "18446744073709551615")
	out = append(out,
		Probe{Kind: "Integers", Column: "INT(8) UNSIGNED ZEROFILL", Type: sdk.TypeUint, Select: asNumber, Values: same("42", "4294967295")},
		Probe{Kind: "Integers", Column: "YEAR", Type: sdk.TypeYear, Select: "LPAD(v, 4, '0')",
			Values: append(same("1901", "2155", "2026"), Value{"'0000'", "0000", "0"}, Value{"0", "0000", "0"})},
	)
	for _, bits := range []int{1, 2, 7, 8, 9, 13, 16, 24, 31, 32, 33, 48, 57, 63, 64} {
		most := fmt.Sprint(^uint64(0) >> (64 - bits))
		p := Probe{Kind: "Integers", Column: fmt.Sprintf("BIT(%d)", bits), Type: sdk.TypeBit, Select: asNumber,
			Values: pairs("0", "0", "b'1'", "1", most, most)}
		if bits > 1 {
			top := fmt.Sprint(uint64(1) << (bits - 1))
			p.Values = append(p.Values, Value{SQL: top, Text: top})
		}
		out = append(out, p)
	}
	return out
}

func numbers() (out []Probe) {
	decimal := func(column string, values ...string) {
		out = append(out, Probe{Kind: "Exact numbers", Column: column, Type: sdk.TypeDecimal, Values: same(values...)})
	}
	decimal("DECIMAL(1,0)", "0", "9", "-9")
	decimal("DECIMAL(1,1)", "0.0", "0.9", "-0.9")
	decimal("DECIMAL(5,2)", "0.00", "-0.01", "999.99", "-999.99", "12.30")
	decimal("DECIMAL(6,3)", "-12.340", "12.340")
	decimal("DECIMAL(9,0)", "999999999", "-999999999")
	decimal("DECIMAL(10,0)", "0", "-1", "9999999999", "1000000000")
	decimal("DECIMAL(9,9)", "0.000000001", "-0.999999999", "0.000000000")
	decimal("DECIMAL(10,10)", "0.0000000001", "-0.9999999999")
	decimal("DECIMAL(18,9)", "123456789.987654321", "-0.000000001", "1.000000000")
	decimal("DECIMAL(19,1)", "123456789012345678.9", "-100000000000000000.0", "1000000000.5", "-0.5")
	decimal("DECIMAL(38,10)", "1234567890123456789012345678.0123456789", "-0.0000000001")
	decimal("DECIMAL(65,0)", strings.Repeat("9", 65), "-"+strings.Repeat("8", 65), "7", "0")
	decimal("DECIMAL(65,30)", strings.Repeat("9", 35)+"."+strings.Repeat("9", 30),
		"-"+strings.Repeat("9", 35)+"."+strings.Repeat("9", 30), "-0."+strings.Repeat("0", 29)+"1",
		"-12345678901234567890123456789012345.000000000000000000000000000001", "0."+strings.Repeat("0", 30))
	decimal("DECIMAL(20,4) UNSIGNED", "0.0001", "9999999999999999.9999")
	out[4-2].Values = append(out[4-2].Values, Value{SQL: "-0", Text: "0.00"}, Value{SQL: "'-0.001'", Text: "0.00"})
	return append(out, floats()...)
}

// floats print as the servers do, which is not as JSON does.
func floats() []Probe {
	return []Probe{
		{Kind: "Floating point", Column: "DOUBLE", Type: sdk.TypeFloat64, Values: triples(
			"0", "0", "0", "1", "1", "1", "-1.5", "-1.5", "-1.5", "0.1", "0.1", "0.1", "1e6", "1000000", "1000000",
			"1e14", "100000000000000", "100000000000000", "1e15", "1e15", "1000000000000000", "123456789012345680", "1.2345678901234568e17", "123456789012345680",
			"1e20", "1e20", "100000000000000000000", "1e21", "1e21", "1e+21", "1e-6", "0.000001", "0.000001", "1e-7", "0.0000001", "1e-07",
			"1e-14", "0.00000000000001", "1e-14", "1e-15", "0.000000000000001", "1e-15", "1e-16", "1e-16", "1e-16", "1.5e-16", "1.5e-16", "1.5e-16",
			"9007199254740993", "9.007199254740992e15", "9007199254740992", "1.7976931348623157e308", "1.7976931348623157e308", "1.7976931348623157e+308",
			"-2.2250738585072014e-308", "-2.2250738585072014e-308", "-2.2250738585072014e-308", "5e-324", "5e-324", "5e-324")},
		{Kind: "Floating point", Column: "DOUBLE PRECISION", Flavor: MySQL, Type: sdk.TypeFloat64, Values: triples("-0e0", "-0", "-0")},
		{Kind: "Floating point", Column: "DOUBLE UNSIGNED", Type: sdk.TypeFloat64, Values: same("2.25")},
		{Kind: "Floating point", Column: "FLOAT", Type: sdk.TypeFloat32, Select: "CAST(v AS DOUBLE)", Values: triples(
			"0", "0", "0", "1.5", "1.5", "1.5", "0.1", "0.10000000149011612", "0.1", "16777217", "16777216", "16777216",
			"1e6", "1000000", "1000000", "-3.4028234e38", "-3.4028234663852886e38", "-3.4028235e+38",
			"1.17549435e-38", "1.1754943508222875e-38", "1.1754944e-38", "3.4e38", "3.3999999521443642e38", "3.4e+38")},
		{Kind: "Floating point", Column: "FLOAT UNSIGNED", Type: sdk.TypeFloat32, Select: "CAST(v AS DOUBLE)", Values: same("2.25")},
		{Kind: "Floating point", Column: "FLOAT(53)", Type: sdk.TypeFloat64, Values: same("0.1")},
	}
}
