package cdctest

import (
	"encoding/base64"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

func byteStrings() (out []Probe) {
	add := func(column string, values ...string) {
		out = append(out, Probe{Kind: "Bytes", Column: column, Type: sdk.TypeBytes, Select: hexed, Values: pairs(values...)})
	}
	add("BINARY(1)", "x'00'", "00", "x'ff'", "ff", "''", "00")
	add("BINARY(4)", "x'01020304'", "01020304", "x'01'", "01000000", "''", "00000000", "x'0100'", "01000000", "x'00000001'", "00000001", "'  '", "20200000")
	add("BINARY(255)", "x'01'", "01"+strings.Repeat("00", 254), "REPEAT(x'ff', 255)", strings.Repeat("ff", 255))
	add("VARBINARY(1)", "x'00'", "00", "''", "")
	add("VARBINARY(255)", "REPEAT(x'ab', 255)", strings.Repeat("ab", 255), "x'0100'", "0100")
	add("VARBINARY(256)", "REPEAT(x'ab', 256)", strings.Repeat("ab", 256), "x'00ff80'", "00ff80", "''", "", "x'0100'", "0100")
	add("VARBINARY(60000)", "REPEAT(x'ab', 60000)", strings.Repeat("ab", 60000))
	add("TINYBLOB", "x'00ff'", "00ff", "''", "", "REPEAT(x'ab', 255)", strings.Repeat("ab", 255))
	add("BLOB", "x'00ff'", "00ff", "''", "", "REPEAT(x'ab', 65535)", strings.Repeat("ab", 65535))
	add("MEDIUMBLOB", "x'00'", "00", "REPEAT(x'ab', 65535)", strings.Repeat("ab", 65535), "REPEAT(x'ab', 65536)", strings.Repeat("ab", 65536),
		"REPEAT(x'ab', 65537)", strings.Repeat("ab", 65537))
	add("LONGBLOB", "x'00ff'", "00ff", "REPEAT(x'cd', 200000)", strings.Repeat("cd", 200000))
	add("VARCHAR(20) CHARACTER SET binary", "x'00ff'", "00ff")
	add("CHAR(3) CHARACTER SET binary", "x'01'", "010000")
	add("TEXT CHARACTER SET binary", "x'00ff'", "00ff")
	return out
}

// documents are JSON: MySQL prints its own, MariaDB keeps the text.
func documents() []Probe {
	setup := []string{"CREATE TABLE parts (b BIT(9), y YEAR, e ENUM('x','ü'), s SET('a','b'), g POINT, d DECIMAL(65,30), f FLOAT, ts TIMESTAMP(3) NULL)",
		"INSERT INTO parts VALUES (b'100000001', 2026, 'ü', 'a,b', ST_GeomFromText('POINT(1 2)'), -0.000000000000000000000000000001, 0.1, '2026-11-21 10:11:12.345')"}
	return []Probe{
		{Kind: "JSON", Column: "JSON", Flavor: MariaDB, Type: sdk.TypeString,
			Values: append(same(`{"b":1,  "a":[1.0,null]}`, `null`, `"é😀\n"`, `1e400`), Value{SQL: `'{"a":1,"a":2}'`, Text: `{"a":1,"a":2}`})},
		{Kind: "JSON", Column: "JSON", Flavor: MySQL, Type: sdk.TypeJSON, Setup: setup, Values: append(plainDocuments(), pairs(
			`JSON_ARRAY(CAST('12.340' AS DECIMAL(10,3)), CAST(-7 AS DECIMAL(5,0)))`, `[12.340, -7]`,
			`(SELECT JSON_ARRAY(d) FROM parts)`, `[-0.000000000000000000000000000001]`,
			`(SELECT JSON_ARRAY(b, y, e, s) FROM parts)`, `["base64:type16:AQE=", 2026, "ü", "a,b"]`,
			`(SELECT JSON_ARRAY(f, ts) FROM parts)`, `[0.10000000149011612, "2026-11-21 10:11:12.345000"]`,
			`(SELECT JSON_ARRAY(g) FROM parts)`, `[{"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:MySQL::0"}}, "type": "Point", "coordinates": [1.0, 2.0]}]`,
			`JSON_ARRAY(DATE'2015-01-15', TIMESTAMP'2015-01-15 23:24:25.5', TIME'-10:11:12.000001', TIME'838:59:59', DATE'1000-01-01')`,
			`["2015-01-15", "2015-01-15 23:24:25.500000", "-10:11:12.000001", "838:59:59.000000", "1000-01-01"]`,
			`CAST(x'00ff10' AS JSON)`, `"base64:type15:AP8Q"`,
			`JSON_OBJECT('k', CAST(REPEAT('x', 100) AS BINARY))`, `{"k": "base64:type15:`+base64Lines(100)+`"}`,
			`JSON_OBJECT('k', CAST(REPEAT('x', 57) AS BINARY))`, `{"k": "base64:type15:`+base64Lines(57)+`"}`,
			`JSON_ARRAY(b'101', 2026)`, `["base64:type15:BQ==", 2026]`,
			`JSON_QUOTE('a"b\\c/d\n\t\r\b')`, `"a\"b\\c/d\n\t\r\b"`,
			`'"\\u0001\\u001f\\u007f\\f"'`, "\"\\u0001\\u001f\u007f\\f\"",
			`CONCAT('[', REPEAT('[', 98), REPEAT(']', 98), ']')`, strings.Repeat("[", 99)+strings.Repeat("]", 99),
			`CONCAT(REPEAT('{"a":', 99), '1', REPEAT('}', 99))`, strings.Repeat(`{"a": `, 99)+"1"+strings.Repeat("}", 99),
			`CONCAT('{"', REPEAT('k', 300), '": "', REPEAT('v', 70000), '", "z": [1, 70000, "s"]}')`,
			`{"z": [1, 70000, "s"], "`+strings.Repeat("k", 300)+`": "`+strings.Repeat("v", 70000)+`"}`,
		)...)},
	}
}

// plainDocuments have nothing but what JSON itself has.
func plainDocuments() []Value {
	return pairs(
		`'null'`, `null`, `'true'`, `true`, `'false'`, `false`, `'"text"'`, `"text"`, `'""'`, `""`, `'{}'`, `{}`, `'[]'`, `[]`, `'1'`, `1`,
		`'{"bb":1, "a":[1,2,{"c":null}], "ccc":"é😀"}'`, `{"a": [1, 2, {"c": null}], "bb": 1, "ccc": "é😀"}`,
		`'{"a":1, "b":2, "a":3, "":4}'`, `{"": 4, "a": 3, "b": 2}`,
		`'"\\ud83d\\ude00 \\u00e9 \\u0000"'`, `"😀 é \u0000"`,
		`'[0, -1, 32767, -32768, 32768, 65535, 65536, -32769, 2147483647, -2147483648, 4294967295, 4294967296]'`,
		`[0, -1, 32767, -32768, 32768, 65535, 65536, -32769, 2147483647, -2147483648, 4294967295, 4294967296]`,
		`'[9223372036854775807, -9223372036854775808, 18446744073709551615, 18446744073709551616, -9223372036854775809]'`,
		`[9223372036854775807, -9223372036854775808, 18446744073709551615, 1.8446744073709552e19, -9.223372036854776e18]`,
		`'[1.0, 1e20, 0.1, -0.0, -0, 1e15, 1e14, 1.2345678901234568e17, 1e-15, 1e-14, 1.5e-16, 1e308, 2.5e-300, 100.5, 1e1]'`,
		`[1.0, 1e20, 0.1, -0.0, 0, 1e15, 100000000000000.0, 1.2345678901234568e17, 0.000000000000001, 0.00000000000001, 1.5e-16, 1e308, 2.5e-300, 100.5, 10.0]`,
	)
}

// base64Lines is how MySQL writes n letters x in base 64.
func base64Lines(n int) string {
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", n)))
	for at := 76; at < len(text); at += 78 {
		text = text[:at] + `\n` + text[at:]
	}
	return text
}

// wkb is a geometry as the servers keep it: SRID, byte order and the words
// that follow, in hexadecimal.
func wkb(srid string, words ...string) string { return srid + "01" + strings.Join(words, "") }

// The words of well-known binary.
const (
	one, two, three = "000000000000f03f", "0000000000000040", "0000000000000840"
	zero            = "0000000000000000"
	n1, n2, n4      = "01000000", "02000000", "04000000"
	pointType       = "01000000"
	lineType        = "02000000"
	polygonType     = "03000000"
	noSRID          = "00000000"
)

func spatial() (out []Probe) {
	point := pointType + one + two
	line := lineType + n2 + zero + one + two + three
	ring := polygonType + n1 + n4 + zero + zero + zero + one + one + one + zero + zero
	add := func(column string, values ...string) {
		p := Probe{Kind: "Geometry and vectors", Column: column, Type: sdk.TypeGeometry, Select: hexed}
		for i := 0; i < len(values); i += 2 {
			p.Values = append(p.Values, Value{SQL: "ST_GeomFromText('" + values[i] + "')", Text: values[i+1]})
		}
		out = append(out, p)
	}
	points := wkb(noSRID, "04000000", n2, "01", pointType, one, two, "01", pointType, two, three)
	collection := wkb(noSRID, "07000000", n2, "01", point, "01", line)
	add("GEOMETRY", "POINT(1 2)", wkb(noSRID, point), "LINESTRING(0 1,2 3)", wkb(noSRID, line), "POLYGON((0 0,0 1,1 1,0 0))", wkb(noSRID, ring),
		"MULTIPOINT(1 2,2 3)", points, "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 1,2 3))", collection)
	add("POINT", "POINT(1 2)", wkb(noSRID, point))
	add("LINESTRING", "LINESTRING(0 1,2 3)", wkb(noSRID, line))
	add("POLYGON", "POLYGON((0 0,0 1,1 1,0 0))", wkb(noSRID, ring))
	add("MULTIPOINT", "MULTIPOINT(1 2,2 3)", points)
	add("MULTILINESTRING", "MULTILINESTRING((0 1,2 3))", wkb(noSRID, "05000000", n1, "01", line))
	add("MULTIPOLYGON", "MULTIPOLYGON(((0 0,0 1,1 1,0 0)))", wkb(noSRID, "06000000", n1, "01", ring))
	add("GEOMETRYCOLLECTION", "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 1,2 3))", collection)
	out = append(out, Probe{Kind: "Geometry and vectors", Column: "POINT SRID 3857", Flavor: MySQL, Type: sdk.TypeGeometry, Select: hexed,
		Values: pairs("ST_GeomFromText('POINT(1 2)', 3857)", wkb("110f0000", point))})
	out = append(out, Probe{Kind: "Geometry and vectors", Column: "POINT REF_SYSTEM_ID=4326", Flavor: MariaDB, Type: sdk.TypeGeometry, Select: hexed,
		Values: pairs("ST_GeomFromText('POINT(1 2)', 4326)", wkb("e6100000", point))})
	return append(out, Probe{Kind: "Geometry and vectors", Column: "VECTOR(3)", Flavor: MySQL, Type: sdk.TypeVector, Select: hexed, Values: triples(
		"STRING_TO_VECTOR('[1,-2,0.5]')", "0000803f000000c00000003f", "[1,-2,0.5]",
		"STRING_TO_VECTOR('[0.1]')", "cdcccc3d", "[0.1]",
		"STRING_TO_VECTOR('[1e-7,3.4028234e38]')", "95bfd633ffff7f7f", "[1e-07,3.4028235e+38]")})
}

// mariaTypes are the types that MariaDB alone has.
func mariaTypes() (out []Probe) {
	add := func(p Probe) {
		p.Kind, p.Flavor = "MariaDB's own", MariaDB
		out = append(out, p)
	}
	add(Probe{Column: "UUID", Type: sdk.TypeUUID, Catalog: true, Values: same("123e4567-e89b-12d3-a456-426655440000",
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffff00", "01890a5d-ac96-774b-bcce-b302099a8057")})
	add(Probe{Column: "INET4", Type: sdk.TypeInet, Catalog: true, Values: same("1.2.3.4", "0.0.0.0", "10.0.0.0", "255.255.255.255")})
	add(Probe{Column: "INET6", Type: sdk.TypeInet, Catalog: true, Values: same("::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4",
		"ff00::", "fe80::1:0:0:0", "2001:db8::1:0:0:1", "::1.2.3.4", "1:2:3:4:5:6:7:8")})
	add(Probe{Column: "VARCHAR(1000) COMPRESSED CHARACTER SET latin1", Type: sdk.TypeString, Values: same("", "short é", strings.Repeat("é", 900))})
	add(Probe{Column: "TEXT COMPRESSED CHARACTER SET utf8mb4", Type: sdk.TypeString, Values: same("", "short", strings.Repeat("日本", 4000))})
	add(Probe{Column: "BLOB COMPRESSED", Type: sdk.TypeBytes, Select: hexed,
		Values: pairs("REPEAT(x'ab', 5000)", strings.Repeat("ab", 5000), "x'00'", "00", "''", "")})
	add(Probe{Column: "VARBINARY(900) COMPRESSED", Type: sdk.TypeBytes, Select: hexed,
		Values: pairs("REPEAT(x'ab', 900)", strings.Repeat("ab", 900), "x'00'", "00")})
	add(Probe{Column: "LONGTEXT COMPRESSED CHARACTER SET utf8mb4", Type: sdk.TypeString, Values: same("", strings.Repeat("é", 50000))})
	return out
}
