package binlog

import (
	"strconv"
	"strings"
)

// String returns the type's name in the server's sources.
func (t ColumnType) String() string {
	names := map[ColumnType]string{
		ColTiny: "TINY", ColShort: "SHORT", ColLong: "LONG", ColFloat: "FLOAT", ColDouble: "DOUBLE",
		ColNull: "NULL", ColTimestamp: "TIMESTAMP", ColLongLong: "LONGLONG", ColInt24: "INT24",
		ColDate: "DATE", ColTime: "TIME", ColDateTime: "DATETIME", ColYear: "YEAR", ColNewDate: "NEWDATE",
		ColVarchar: "VARCHAR", ColBit: "BIT", ColTimestamp2: "TIMESTAMP2", ColDateTime2: "DATETIME2",
		ColTime2: "TIME2", ColTypedArray: "TYPED_ARRAY", ColBlobCompressed: "BLOB_COMPRESSED",
		ColVarcharCompressed: "VARCHAR_COMPRESSED", ColVector: "VECTOR", ColJSON: "JSON",
		ColNewDecimal: "NEWDECIMAL", ColEnum: "ENUM", ColSet: "SET", ColBlob: "BLOB",
		ColVarString: "VAR_STRING", ColString: "STRING", ColGeometry: "GEOMETRY",
	}
	if n := names[t]; n != "" {
		return n
	}
	return "TYPE_" + strconv.Itoa(int(t))
}

// native writes the server's own name of a column's type as far as the log tells
// it. Lengths of text are in characters there and in bytes in the log, which is
// why they take the character set's widest character into account.
func (b *planner) native() string {
	m := b.m
	arg := func(name string, n int) string { return name + "(" + strconv.Itoa(n) + ")" }
	fraction := func(name string) string {
		if isTemporal2(m.Type) && m.Meta > 0 {
			return arg(name, int(m.Meta))
		}
		return name
	}
	binary := b.plan.text != nil && b.plan.text.form == formBytes
	switch m.Type {
	case ColTiny, ColShort, ColInt24, ColLong, ColLongLong, ColFloat, ColDouble, ColNewDecimal:
		return m.nativeNumber()
	case ColBit:
		return arg("bit", int(b.out.Length))
	case ColYear:
		return "year"
	case ColDate, ColNewDate:
		return "date"
	case ColTime, ColTime2:
		return fraction("time")
	case ColDateTime, ColDateTime2:
		return fraction("datetime")
	case ColTimestamp, ColTimestamp2:
		return fraction("timestamp")
	case ColString, ColVarString:
		if binary {
			return arg("binary", int(m.Meta))
		}
		return arg("char", int(m.Meta)/b.plan.text.widest())
	case ColVarchar, ColVarcharCompressed:
		if binary {
			return arg("varbinary", int(m.Meta))
		}
		return arg("varchar", int(m.Meta)/b.plan.text.widest())
	case ColBlob, ColBlobCompressed:
		return sizePrefix(m.Meta) + map[bool]string{true: "blob", false: "text"}[binary]
	case ColEnum, ColSet:
		quoted := make([]string, len(b.out.Labels))
		for i, l := range b.out.Labels {
			quoted[i] = "'" + strings.ReplaceAll(l, "'", "''") + "'"
		}
		return strings.ToLower(m.Type.String()) + "(" + strings.Join(quoted, ",") + ")"
	case ColJSON:
		return "json"
	case ColGeometry:
		names := [...]string{"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"}
		return names[int(m.Geometry)%len(names)]
	case ColVector:
		if m.Dimensions > 0 {
			return arg("vector", int(m.Dimensions))
		}
		return "vector"
	}
	return ""
}

// nativeNumber names a type that may be unsigned.
func (m *ColumnMap) nativeNumber() string {
	name := map[ColumnType]string{ColTiny: "tinyint", ColShort: "smallint", ColInt24: "mediumint", ColLong: "int",
		ColLongLong: "bigint", ColFloat: "float", ColDouble: "double"}[m.Type]
	if m.Type == ColNewDecimal {
		name = "decimal(" + strconv.Itoa(int(m.Meta>>8)) + "," + strconv.Itoa(int(m.Meta&0xff)) + ")"
	}
	if m.Unsigned {
		name += " unsigned"
	}
	return name
}

func sizePrefix(lengthBytes uint16) string {
	switch lengthBytes {
	case 1:
		return "tiny"
	case 3:
		return "medium"
	case 4:
		return "long"
	}
	return ""
}

// widest returns the bytes of the character set's longest character.
func (c *charset) widest() int {
	switch c.name {
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		return 4
	case "utf8mb3", "utf8", "ujis", "eucjpms":
		return 3
	case "ucs2", "big5", "gb2312", "gbk", "sjis", "cp932", "euckr":
		return 2
	}
	return 1
}
