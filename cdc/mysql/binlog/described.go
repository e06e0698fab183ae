package binlog

import (
	"fmt"
	"slices"
	"strings"
)

// describe makes of a catalog's column what the log says of it.
func (m *ColumnMap) describe(c *CatalogColumn, maria, full bool) error {
	base := nativeBase(c.Native)
	a, b := nativeNumbers(c.Native)
	types := nativeTypes(base)
	if types == nil {
		return fmt.Errorf("the catalog's type %s is not known", c.Native)
	}
	*m = ColumnMap{Type: types[len(types)-1], Nullable: c.Nullable}
	if full {
		m.Name = c.Name
	}
	switch base {
	case "decimal", "numeric":
		m.Meta = uint16(a<<8 | b)
	case "bit":
		m.Meta = uint16(a/8<<8 | a%8)
	case "date":
		m.Type = ColDate
	case "time", "datetime", "timestamp", "year":
		m.Meta = uint16(a)
	case "json":
		m.Type, m.Meta = ColJSON, 4
	case "vector":
		m.Type, m.Meta, m.Dimensions = ColVector, 4, uint32(a)
		if maria {
			m.Type, m.Meta, m.Dimensions = ColVarchar, uint16(4*a), 0
		}
	case "enum", "set":
		return m.describeLabels(c)
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
		"geomcollection", "geometrycollection":
		m.Meta = 4
		m.Geometry = uint8(max(0, slices.Index([]string{"geometry", "point", "linestring", "polygon", "multipoint",
			"multilinestring", "multipolygon", "geomcollection", "geometrycollection"}, base)))
		m.Geometry = min(m.Geometry, 7)
	default:
		m.describeText(c, base, a)
	}
	if isNumeric(m) {
		m.SignKnown = true
		m.Unsigned = strings.Contains(strings.ToLower(c.Native), "unsigned")
	}
	return nil
}

// describeText is about text and bytes; length is in characters.
func (m *ColumnMap) describeText(c *CatalogColumn, base string, length int) {
	wide := 1
	if textual(c.Native) && c.Charset != "" {
		wide = (&charset{name: c.Charset}).widest()
	}
	switch base {
	case "char", "binary":
		m.Type, m.Meta = ColString, uint16(length*wide)
	case "uuid", "inet6":
		m.Type, m.Meta = ColString, 16
	case "inet4":
		m.Type, m.Meta = ColString, 4
	case "varchar", "varbinary":
		m.Type, m.Meta = ColVarchar, uint16(length*wide)
	case "tinytext", "tinyblob":
		m.Type, m.Meta = ColBlob, 1
	case "text", "blob":
		m.Type, m.Meta = ColBlob, 2
	case "mediumtext", "mediumblob":
		m.Type, m.Meta = ColBlob, 3
	case "longtext", "longblob":
		m.Type, m.Meta = ColBlob, 4
	default:
		return
	}
	m.Collation = collationOf(charsetBinary)
	if textual(c.Native) {
		m.Collation = collationOf(c.Charset)
	}
}

// describeLabels gives the labels in UTF-8, whatever the column's character set:
// what they become is the same.
func (m *ColumnMap) describeLabels(c *CatalogColumn) error {
	if len(c.Labels) == 0 {
		return fmt.Errorf("its labels are not known")
	}
	m.Collation = collationOf("utf8mb4")
	for _, l := range c.Labels {
		m.Labels = append(m.Labels, []byte(l))
	}
	if m.Type == ColEnum {
		m.Meta = uint16(enumBytes(len(c.Labels)))
		return nil
	}
	m.Meta = uint16(len(c.Labels)+7) / 8
	if m.Meta > 4 {
		m.Meta = 8
	}
	return nil
}

// collationOf returns some collation of a character set, 0 for none.
func collationOf(name string) uint32 {
	for id := uint32(1); id < 1024; id++ {
		if charsetOf(id) == name {
			return id
		}
	}
	return 0
}
