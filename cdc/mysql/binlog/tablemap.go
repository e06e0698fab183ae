package binlog

import "slices"

// ColumnType is the number by which TABLE_MAP names a column's type.
type ColumnType uint8

// The column types that logs hold. ENUM and SET are written as STRING with the
// real type in the metadata; TableMap has already resolved them.
const (
	ColTiny              ColumnType = 1
	ColShort             ColumnType = 2
	ColLong              ColumnType = 3
	ColFloat             ColumnType = 4
	ColDouble            ColumnType = 5
	ColNull              ColumnType = 6
	ColTimestamp         ColumnType = 7
	ColLongLong          ColumnType = 8
	ColInt24             ColumnType = 9
	ColDate              ColumnType = 10
	ColTime              ColumnType = 11
	ColDateTime          ColumnType = 12
	ColYear              ColumnType = 13
	ColNewDate           ColumnType = 14
	ColVarchar           ColumnType = 15
	ColBit               ColumnType = 16
	ColTimestamp2        ColumnType = 17
	ColDateTime2         ColumnType = 18
	ColTime2             ColumnType = 19
	ColTypedArray        ColumnType = 20
	ColBlobCompressed    ColumnType = 140 // MariaDB: COMPRESSED
	ColVarcharCompressed ColumnType = 141 // MariaDB: COMPRESSED
	ColVector            ColumnType = 242
	ColJSON              ColumnType = 245
	ColNewDecimal        ColumnType = 246
	ColEnum              ColumnType = 247
	ColSet               ColumnType = 248
	ColBlob              ColumnType = 252
	ColVarString         ColumnType = 253
	ColString            ColumnType = 254
	ColGeometry          ColumnType = 255
)

// TableMap says what the rows events behind it that carry its id consist of.
type TableMap struct {
	ID        uint64
	Flags     uint16
	DB, Table string
	Columns   []ColumnMap
	// Key holds the columns of the primary key, in key order, or of the first
	// unique key without nullable columns, which the servers take for one: with
	// binlog_row_metadata=FULL only.
	Key   []int
	names bool
}

// ColumnMap is what the log says of one column.
type ColumnMap struct {
	Type     ColumnType
	Meta     uint16 // depends on Type: lengths, precision and scale, fractional digits
	Nullable bool

	// The rest is optional metadata: names, labels and key with
	// binlog_row_metadata=FULL, the others also with MINIMAL. MySQL writes it
	// from 8.0.1, MariaDB from 10.5.
	SignKnown  bool
	Unsigned   bool
	Collation  uint32 // id; 0 not known
	Name       string
	Labels     [][]byte // of ENUM and SET, in the column's character set
	Geometry   uint8    // 0 GEOMETRY, 1 POINT, ... 7 GEOMETRYCOLLECTION
	Dimensions uint32   // of VECTOR
	Invisible  bool
	Array      bool // the hidden column of a multi-valued index, in form of JSON
}

// HasNames reports whether the log names the columns: binlog_row_metadata=FULL.
func (t *TableMap) HasNames() bool { return t.names }

// Complete reports whether the log itself tells all that decoding needs: with
// names, and without columns in MariaDB's old temporal formats, whose fractional
// digits are in no log.
func (t *TableMap) Complete() bool {
	return t.names && !slices.ContainsFunc(t.Columns, func(m ColumnMap) bool { return isOldTemporal(m.Type) })
}

// FullName returns "db.table".
func (t *TableMap) FullName() string { return t.DB + "." + t.Table }

// columnsMax is more than either server allows (4,096).
const columnsMax = 1 << 14

// parseTableMap decodes a TABLE_MAP; the result keeps views of body.
func (p *Parser) parseTableMap(h Header, body []byte) (*TableMap, error) {
	id, err := p.tableID(Event{Header: h, Body: body})
	if err != nil {
		return nil, err
	}
	c := cursor{p: body}
	c.take(6)
	if p.format.postHeader(TableMapEvent) == 6 {
		c = cursor{p: body[4:]}
	}
	t := &TableMap{ID: id, Flags: c.u16()}
	t.DB = string(c.take(int(c.u8())))
	c.u8() // a zero ends the name
	t.Table = string(c.take(int(c.u8())))
	c.u8()
	n := c.count(1)
	if n > columnsMax {
		c.bad = true
	}
	types := c.take(n)
	meta := cursor{p: c.text()}
	nulls := c.take((n + 7) / 8)
	if c.bad {
		return nil, corrupt(h.place(), "a table map of %d bytes ends too early", len(body))
	}
	t.Columns = make([]ColumnMap, n)
	for i := range t.Columns {
		t.Columns[i] = ColumnMap{Type: ColumnType(types[i]), Nullable: nulls[i/8]>>(i%8)&1 != 0}
		if !t.Columns[i].readMeta(&meta) {
			return nil, unsupported(h.place(), "upgrade cdcd, or leave the table out",
				"table %s: column %d has the type %d", t.FullName(), i+1, types[i])
		}
	}
	if meta.bad || len(meta.p) != 0 {
		return nil, corrupt(h.place(), "table %s: the columns' metadata does not fit their types", t.FullName())
	}
	if err := t.readOptional(h, &c, p.opt.Flavor == FlavorMariaDB); err != nil {
		return nil, err
	}
	return t, nil
}

// readMeta reads the metadata that the column's type has; false says that the
// type is not known. MySQL: "Table_map_event", table of column types.
func (m *ColumnMap) readMeta(c *cursor) bool {
	switch m.Type {
	case ColTiny, ColShort, ColLong, ColLongLong, ColInt24, ColNull, ColYear,
		ColDate, ColNewDate, ColTime, ColDateTime, ColTimestamp:
	case ColFloat, ColDouble, ColTime2, ColDateTime2, ColTimestamp2,
		ColBlob, ColBlobCompressed, ColJSON, ColGeometry, ColVector:
		m.Meta = uint16(c.u8())
	case ColVarchar, ColVarString, ColVarcharCompressed, ColBit:
		m.Meta = c.u16()
	case ColNewDecimal:
		m.Meta = uint16(c.u8())<<8 | uint16(c.u8()) // precision, scale
	case ColString, ColEnum, ColSet:
		m.readStringMeta(c.u8(), c.u8())
	case ColTypedArray:
		return m.readArrayMeta(c)
	default:
		return false
	}
	return true
}

// readStringMeta resolves STRING: its first byte is the real type, or, where
// bits 4 and 5 are not both set, holds bits 8 and 9 of the length, inverted.
func (m *ColumnMap) readStringMeta(real, length byte) {
	m.Type, m.Meta = ColumnType(real), uint16(length)
	if real&0x30 != 0x30 {
		m.Type = ColumnType(real | 0x30)
		m.Meta |= uint16(real&0x30^0x30) << 4
	}
}

// readArrayMeta skips the element's type and metadata of a TYPED_ARRAY, the
// hidden column of a multi-valued index; the value itself is JSON.
func (m *ColumnMap) readArrayMeta(c *cursor) bool {
	element := ColumnMap{Type: ColumnType(c.u8())}
	if element.Type == ColTypedArray || !element.readMeta(c) {
		return false
	}
	m.Type, m.Meta, m.Array = ColJSON, 4, true
	return true
}
