package binlog_test

import (
	"strings"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// matrix is every type with its edges: a column definition, and values as SQL
// with the text that both the server's SELECT and the decoded row must give. A
// new type or edge is a new line here.
type matrix struct {
	column string  // definition
	values []value // the rows
	flavor string  // "" for both
	sel    string  // how SELECT prints it as decoded() does; "" for v itself
	// catalog: the log alone does not tell the type, also with full metadata.
	catalog bool
}

type value struct{ sql, want string }

const null = "NULL"

const (
	mysqlOnly = testserver.FlavorMySQL
	mariaOnly = testserver.FlavorMariaDB
	hexed     = "LOWER(HEX(v))"
	asDouble  = "CAST(v AS DOUBLE)"
)

// same is a number or text that reads as it is written.
func same(values ...string) (out []value) {
	for _, v := range values {
		out = append(out, value{"'" + strings.ReplaceAll(v, "'", "''") + "'", v})
	}
	return append(out, value{"NULL", null})
}

func numbers() []matrix {
	return []matrix{
		{column: "TINYINT", values: same("0", "1", "-1", "127", "-128")},
		{column: "TINYINT UNSIGNED", values: same("0", "128", "255")},
		{column: "TINYINT(1)", values: same("0", "1", "-128")},
		{column: "BOOL", values: []value{{"TRUE", "1"}, {"FALSE", "0"}}},
		{column: "SMALLINT", values: same("0", "32767", "-32768")},
		{column: "SMALLINT UNSIGNED", values: same("0", "32768", "65535")},
		{column: "MEDIUMINT", values: same("0", "1", "-1", "8388607", "-8388608")},
		{column: "MEDIUMINT UNSIGNED", values: same("0", "8388608", "16777215")},
		{column: "INT", values: same("0", "2147483647", "-2147483648")},
		{column: "INT UNSIGNED", values: same("0", "2147483648", "4294967295")},
		{column: "INT(8) UNSIGNED ZEROFILL", values: same("42", "4294967295"), sel: "v + 0"},
		{column: "BIGINT", values: same("0", "9223372036854775807", "-9223372036854775808")},
		{column: "BIGINT UNSIGNED", values: same("0", "9223372036854775808", "18446744073709551615")},
		{column: "FLOAT", sel: asDouble, values: []value{{"0", "0"}, {"1.5", "1.5"}, {"-3.4e38", "-3.3999999521443642e+38"},
			{"0.1", "0.10000000149011612"}, {"16777217", "1.6777216e+07"}, {"NULL", null}}},
		{column: "FLOAT UNSIGNED", sel: asDouble, values: []value{{"2.25", "2.25"}}},
		{column: "DOUBLE", sel: asDouble, values: []value{{"0", "0"}, {"0.1", "0.1"}, {"1.7976931348623157e308", "1.7976931348623157e+308"},
			{"-2.2250738585072014e-308", "-2.2250738585072014e-308"}, {"NULL", null}}},
		{column: "DECIMAL(5,2)", values: same("0.00", "-0.01", "999.99", "-999.99", "12.30")},
		{column: "DECIMAL(6,3)", values: same("-12.340")},
		{column: "DECIMAL(10,0)", values: same("0", "-1", "9999999999")},
		{column: "DECIMAL(9,9)", values: same("0.000000001", "-0.999999999", "0.000000000")},
		{column: "DECIMAL(10,10)", values: same("0.0000000001", "-0.9999999999")},
		{column: "DECIMAL(19,1)", values: same("123456789012345678.9", "-100000000000000000.0", "1000000000.5", "-0.5")},
		{column: "DECIMAL(65,0)", values: same(strings.Repeat("9", 65), "-"+strings.Repeat("8", 65), "7")},
		{column: "DECIMAL(65,30)", values: same(strings.Repeat("9", 35)+"."+strings.Repeat("9", 30),
			"-0."+strings.Repeat("0", 29)+"1", "-12345678901234567890123456789012345.000000000000000000000000000001")},
		{column: "DECIMAL(20,4) UNSIGNED", values: same("0.0001", "9999999999999999.9999")},
		{column: "BIT(1)", sel: "v + 0", values: []value{{"b'0'", "0"}, {"b'1'", "1"}, {"NULL", null}}},
		{column: "BIT(13)", sel: "v + 0", values: []value{{"b'1000000000001'", "4097"}, {"8191", "8191"}}},
		{column: "BIT(64)", sel: "v + 0", values: []value{{"18446744073709551615", "18446744073709551615"}, {"1", "1"}}},
		{column: "YEAR", sel: "LPAD(v, 4, '0')", values: same("0000", "1901", "2155", "2026")},
	}
}

func times() []matrix {
	return []matrix{
		{column: "DATE", values: same("2026-11-21", "0000-00-00", "2026-00-00", "2026-11-00", "1000-01-01", "9999-12-31", "0003-02-01")},
		{column: "TIME", values: same("00:00:00", "-00:00:01", "838:59:59", "-838:59:59", "12:34:56")},
		{column: "TIME(1)", values: same("00:00:00.0", "-00:00:00.1", "-00:00:01.9", "838:59:58.9", "-838:59:58.9")},
		{column: "TIME(2)", values: same("-00:00:00.01", "-12:34:56.99", "01:02:03.45")},
		{column: "TIME(3)", values: same("00:00:00.000", "-00:00:00.001", "-01:00:00.999", "01:02:03.004")},
		{column: "TIME(4)", values: same("-00:00:00.0001", "-838:59:58.9999", "01:02:03.0004")},
		{column: "TIME(5)", values: same("-00:00:00.00001", "01:02:03.00004")},
		{column: "TIME(6)", values: same("-00:00:00.000001", "-838:59:58.999999", "838:59:58.999999", "00:00:00.000000")},
		{column: "DATETIME", values: same("2026-11-21 10:11:12", "0000-00-00 00:00:00", "2026-00-00 00:00:00", "9999-12-31 23:59:59",
			"1000-01-01 00:00:00", "0003-00-00 00:00:01")},
		{column: "DATETIME(1)", values: same("2026-11-21 10:11:12.9", "0000-00-00 00:00:00.0")},
		{column: "DATETIME(2)", values: same("2026-11-21 10:11:12.09")},
		{column: "DATETIME(3)", values: same("2026-11-21 10:11:12.009", "9999-12-31 23:59:59.999")},
		{column: "DATETIME(4)", values: same("2026-11-21 10:11:12.0009")},
		{column: "DATETIME(5)", values: same("2026-11-21 10:11:12.00009")},
		{column: "DATETIME(6)", values: same("2026-11-21 10:11:12.000009", "0000-00-00 00:00:00.000000", "9999-12-31 23:59:59.999999")},
		{column: "TIMESTAMP NULL", values: same("1970-01-01 00:00:01", "2038-01-19 03:14:07", "0000-00-00 00:00:00", "2026-11-21 10:11:12")},
		{column: "TIMESTAMP(1) NULL", values: same("2026-11-21 10:11:12.9", "0000-00-00 00:00:00.0")},
		{column: "TIMESTAMP(3) NULL", values: same("2026-11-21 10:11:12.009")},
		{column: "TIMESTAMP(4) NULL", values: same("2026-11-21 10:11:12.0009")},
		{column: "TIMESTAMP(6) NULL", values: same("1970-01-01 00:00:01.000001", "2038-01-19 03:14:07.999999")},
	}
}

func texts() []matrix {
	const word = "Ünïcödé"
	return []matrix{
		{column: "CHAR(10) CHARACTER SET utf8mb4", values: same("", "a", word, "日本語", "😀")},
		{column: "CHAR(255) CHARACTER SET utf8mb4", values: same("", "a", strings.Repeat("😀", 255))},
		{column: "VARCHAR(10) CHARACTER SET utf8mb4", values: same("", " a ", word, "日本語", "😀😀")},
		{column: "VARCHAR(400) CHARACTER SET utf8mb4", values: same("", strings.Repeat("é", 400))},
		{column: "VARCHAR(10) CHARACTER SET utf8mb3", values: same(word, "日本語")},
		{column: "VARCHAR(10) CHARACTER SET ascii", values: same("plain")},
		{column: "VARCHAR(10) CHARACTER SET latin1", values: append(same(word, "€uro"),
			value{"_latin1 x'818d8f909d'", "\u0081\u008d\u008f\u0090\u009d"}, value{"_latin1 x'80ff'", "€ÿ"})},
		{column: "CHAR(10) CHARACTER SET latin1", values: same(word, "")},
		{column: "VARCHAR(20) CHARACTER SET ucs2", values: same(word, "日本語", "")},
		{column: "CHAR(20) CHARACTER SET utf16", values: same(word, "日本語😀", "")},
		{column: "VARCHAR(20) CHARACTER SET utf16le", values: same(word, "日本語😀")},
		{column: "VARCHAR(20) CHARACTER SET utf32", values: same(word, "日本語😀")},
		{column: "VARCHAR(20) CHARACTER SET gbk", values: same("中文", "a中b")},
		{column: "VARCHAR(20) CHARACTER SET gb2312", values: same("中文")},
		{column: "VARCHAR(20) CHARACTER SET gb18030", values: same("中文😀é"), flavor: mysqlOnly},
		{column: "VARCHAR(20) CHARACTER SET big5", values: same("中文")},
		{column: "VARCHAR(20) CHARACTER SET sjis", values: same("日本語カﾅ")},
		{column: "VARCHAR(20) CHARACTER SET cp932", values: same("日本語①")},
		{column: "VARCHAR(20) CHARACTER SET ujis", values: same("日本語カﾅ")},
		{column: "VARCHAR(20) CHARACTER SET eucjpms", values: same("日本語①")},
		{column: "VARCHAR(20) CHARACTER SET euckr", values: same("한국어")},
		{column: "VARCHAR(20) CHARACTER SET koi8r", values: same("Привет")},
		{column: "VARCHAR(20) CHARACTER SET koi8u", values: same("Привіт")},
		{column: "VARCHAR(20) CHARACTER SET cp1250", values: same("žluťoučký")},
		{column: "VARCHAR(20) CHARACTER SET cp1251", values: same("Привет")},
		{column: "VARCHAR(20) CHARACTER SET cp1256", values: same("مرحبا")},
		{column: "VARCHAR(20) CHARACTER SET cp1257", values: same("ąčęėį")},
		{column: "VARCHAR(20) CHARACTER SET cp850", values: same("é░▒")},
		{column: "VARCHAR(20) CHARACTER SET cp866", values: same("Привет")},
		{column: "VARCHAR(20) CHARACTER SET latin2", values: same("žlutý")},
		{column: "VARCHAR(20) CHARACTER SET latin5", values: same("ığş")},
		{column: "VARCHAR(20) CHARACTER SET latin7", values: same("ąčęė")},
		{column: "VARCHAR(20) CHARACTER SET greek", values: same("Γειά")},
		{column: "VARCHAR(20) CHARACTER SET hebrew", values: same("שלום")},
		{column: "VARCHAR(20) CHARACTER SET tis620", values: same("สวัสดี")},
		{column: "VARCHAR(20) CHARACTER SET swe7", values: same("ÅÄÖåäöÉ")},
		{column: "VARCHAR(20) CHARACTER SET macroman", values: same("é∂")},
		{column: "VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci", values: same("é😀"), flavor: mariaOnly},
		{column: "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", values: same("é😀"), flavor: mysqlOnly},
		{column: "TINYTEXT CHARACTER SET utf8mb4", values: same("", word)},
		{column: "TEXT CHARACTER SET utf8mb4", values: same("", word, strings.Repeat("x", 65535))},
		{column: "MEDIUMTEXT CHARACTER SET latin1", values: same(word, strings.Repeat("é", 70000))},
		{column: "LONGTEXT CHARACTER SET utf8mb4", values: same("", strings.Repeat("😀", 30000))},
		{column: "ENUM('a','b','ünï','it''s') CHARACTER SET utf8mb4", values: append(same("a", "ünï", "it's"), value{"'nonesuch'", ""}, value{"2", "b"})},
		{column: "ENUM('é','b') CHARACTER SET latin1", values: same("é", "b")},
		{column: "SET('a','b','ü') CHARACTER SET latin1", values: append(same("", "a", "a,b", "a,b,ü"), value{"'ü,a'", "a,ü"})},
		{column: "SET(" + labels(64) + ")", values: []value{{"18446744073709551615", strings.ReplaceAll(labels(64), "'", "")}, {"1", "l0"}, {"1<<63", "l63"}}},
		{column: "ENUM(" + labels(300) + ")", values: same("l0", "l254", "l255", "l299")},
	}
}

// labels lists n labels, quoted.
func labels(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "'l" + itoa(i) + "'"
	}
	return strings.Join(out, ",")
}

func bytesAndMore() []matrix {
	point := "000000000101000000000000000000f03f0000000000000040"
	return []matrix{
		{column: "BINARY(4)", sel: hexed, values: []value{{"x'01020304'", "01020304"}, {"x'01'", "01000000"}, {"''", "00000000"}, {"x'0100'", "01000000"}, {"NULL", null}}},
		{column: "BINARY(255)", sel: hexed, values: []value{{"x'01'", "01" + strings.Repeat("00", 254)}}},
		{column: "VARBINARY(300)", sel: hexed, values: []value{{"x'00ff80'", "00ff80"}, {"''", ""}, {"x'0100'", "0100"}}},
		{column: "TINYBLOB", sel: hexed, values: []value{{"x'00ff'", "00ff"}}},
		{column: "BLOB", sel: hexed, values: []value{{"x'00ff'", "00ff"}, {"''", ""}, {"REPEAT(x'ab', 65535)", strings.Repeat("ab", 65535)}}},
		{column: "MEDIUMBLOB", sel: hexed, values: []value{{"REPEAT(x'ab', 65536)", strings.Repeat("ab", 65536)}, {"REPEAT(x'ab', 65537)", strings.Repeat("ab", 65537)}}},
		{column: "LONGBLOB", sel: hexed, values: []value{{"x'00ff'", "00ff"}}},
		{column: "VARCHAR(20) CHARACTER SET binary", sel: hexed, values: []value{{"x'00ff'", "00ff"}}},
		{column: "GEOMETRY", sel: hexed, values: []value{{"ST_GeomFromText('POINT(1 2)')", point}, {"NULL", null}}},
		{column: "POINT", sel: hexed, values: []value{{"ST_GeomFromText('POINT(1 2)')", point}}},
		{column: "VECTOR(3)", sel: hexed, flavor: mysqlOnly, values: []value{{"STRING_TO_VECTOR('[1,-2,0.5]')", "0000803f000000c00000003f"}, {"NULL", null}}},
		{column: "JSON", flavor: mariaOnly, values: same(`{"b":1,  "a":[1.0,null]}`)},
		{column: "UUID", flavor: mariaOnly, catalog: true, values: same("123e4567-e89b-12d3-a456-426655440000",
			"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffff00", "01890a5d-ac96-774b-bcce-b302099a8057")},
		{column: "INET4", flavor: mariaOnly, catalog: true, values: same("1.2.3.4", "0.0.0.0", "10.0.0.0", "255.255.255.255")},
		{column: "INET6", flavor: mariaOnly, catalog: true, values: same("::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4", "ff00::", "fe80::1:0:0:0", "2001:db8::1:0:0:1", "::1.2.3.4")},
		{column: "VARCHAR(1000) COMPRESSED CHARACTER SET latin1", flavor: mariaOnly, values: same("", "short é", strings.Repeat("é", 900))},
		{column: "TEXT COMPRESSED CHARACTER SET utf8mb4", flavor: mariaOnly, values: same("", "short", strings.Repeat("日本", 4000))},
		{column: "BLOB COMPRESSED", flavor: mariaOnly, sel: hexed, values: []value{{"REPEAT(x'ab', 5000)", strings.Repeat("ab", 5000)}, {"x'00'", "00"}}},
		{column: "VARBINARY(900) COMPRESSED", flavor: mariaOnly, sel: hexed, values: []value{{"REPEAT(x'ab', 900)", strings.Repeat("ab", 900)}, {"x'00'", "00"}}},
	}
}

// documents are MySQL's JSON: the server prints them itself.
func documents() []matrix {
	text := func(docs ...string) (out []value) {
		for i := 0; i < len(docs); i += 2 {
			out = append(out, value{docs[i], docs[i+1]})
		}
		return out
	}
	return []matrix{{column: "JSON", flavor: mysqlOnly, values: text(
		`NULL`, null,
		`'null'`, `null`, `'true'`, `true`, `'false'`, `false`, `'"text"'`, `"text"`, `'{}'`, `{}`, `'[]'`, `[]`,
		`'{"bb":1, "a":[1,2,{"c":null}], "ccc":"é😀"}'`, `{"a": [1, 2, {"c": null}], "bb": 1, "ccc": "é😀"}`,
		`'[0, -1, 32767, -32768, 32768, 65535, 65536, -32769, 2147483647, -2147483648, 4294967295, 4294967296]'`,
		`[0, -1, 32767, -32768, 32768, 65535, 65536, -32769, 2147483647, -2147483648, 4294967295, 4294967296]`,
		`'[9223372036854775807, -9223372036854775808, 18446744073709551615]'`, `[9223372036854775807, -9223372036854775808, 18446744073709551615]`,
		`'[1.0, 1e20, 0.1, -0.0, 1e15, 1e14, 1.2345678901234568e17, 1e-15, 1e-14, 1.5e-16, 1e308, 2.5e-300, 100.5, 1e1]'`,
		`[1.0, 1e20, 0.1, -0.0, 1e15, 100000000000000.0, 1.2345678901234568e17, 0.000000000000001, 0.00000000000001, 1.5e-16, 1e308, 2.5e-300, 100.5, 10.0]`,
		`JSON_ARRAY(CAST('12.340' AS DECIMAL(10,3)), CAST(-7 AS DECIMAL(5,0)))`, `[12.340, -7]`,
		`JSON_ARRAY(DATE'2015-01-15', TIMESTAMP'2015-01-15 23:24:25.5', TIME'-10:11:12.000001', TIME'838:59:59')`,
		`["2015-01-15", "2015-01-15 23:24:25.500000", "-10:11:12.000001", "838:59:59.000000"]`,
		`CAST(x'00ff10' AS JSON)`, `"base64:type15:AP8Q"`,
		`JSON_OBJECT('k', CAST(REPEAT('x', 100) AS BINARY))`, `{"k": "base64:type15:`+b64lines(100)+`"}`,
		`JSON_OBJECT('k', CAST(REPEAT('x', 57) AS BINARY))`, `{"k": "base64:type15:`+b64lines(57)+`"}`,
		`JSON_ARRAY(b'101', 2026)`, `["base64:type15:BQ==", 2026]`,
		`JSON_QUOTE('a"b\\c/d\n\t\r\b')`, `"a\"b\\c/d\n\t\r\b"`,
		`'"\\u0001\\u001f\\u007f\\f"'`, "\"\\u0001\\u001f\u007f\\f\"",
		`CONCAT('[', REPEAT('[', 98), REPEAT(']', 98), ']')`, strings.Repeat("[", 99)+strings.Repeat("]", 99),
		`CONCAT('{"', REPEAT('k', 300), '": "', REPEAT('v', 70000), '", "z": [1, 70000, "s"]}')`,
		`{"z": [1, 70000, "s"], "`+strings.Repeat("k", 300)+`": "`+strings.Repeat("v", 70000)+`"}`,
	)}}
}
