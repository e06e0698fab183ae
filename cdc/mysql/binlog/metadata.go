package binlog

// The types of TABLE_MAP's optional metadata fields.
const (
	metaSignedness     = 1
	metaDefaultCharset = 2
	metaColumnCharset  = 3
	metaColumnName     = 4
	metaSetLabels      = 5
	metaEnumLabels     = 6
	metaGeometryType   = 7
	metaSimpleKey      = 8
	metaKeyWithPrefix  = 9
	metaLabelsDefault  = 10
	metaLabelsCharset  = 11
	metaVisibility     = 12
	metaVectorDim      = 13
)

// The kinds of column that one metadata field speaks of, in column order.
func isNumeric(m *ColumnMap) bool {
	switch m.Type {
	case ColTiny, ColShort, ColInt24, ColLong, ColLongLong, ColNewDecimal, ColFloat, ColDouble, ColYear:
		return true
	}
	return false
}

func isText(m *ColumnMap) bool {
	switch m.Type {
	case ColString, ColVarString, ColVarchar, ColBlob:
		return true
	}
	return false
}

// MySQL counts VECTOR among its texts, MariaDB GEOMETRY and compressed columns.
func isTextMySQL(m *ColumnMap) bool { return isText(m) || m.Type == ColVector }

func isTextMaria(m *ColumnMap) bool {
	return isText(m) || m.Type == ColGeometry || m.Type == ColBlobCompressed || m.Type == ColVarcharCompressed
}

func isEnum(m *ColumnMap) bool     { return m.Type == ColEnum }
func isSet(m *ColumnMap) bool      { return m.Type == ColSet }
func isLabelled(m *ColumnMap) bool { return m.Type == ColEnum || m.Type == ColSet }
func isGeometry(m *ColumnMap) bool { return m.Type == ColGeometry }
func isVector(m *ColumnMap) bool   { return m.Type == ColVector }
func isAny(*ColumnMap) bool        { return true }

// readOptional reads the optional metadata: fields of type, length and value.
// Fields of later versions are left out.
func (t *TableMap) readOptional(h Header, c *cursor, maria bool) error {
	text := isTextMySQL
	if maria {
		text = isTextMaria
	}
	for len(c.p) > 0 {
		field := c.u8()
		v := cursor{p: c.text()}
		t.readField(field, &v, text)
		if c.bad || v.bad || len(v.p) != 0 {
			return corrupt(h.place(), "table %s: metadata field %d does not fit the columns", t.FullName(), field)
		}
	}
	return nil
}

// readField reads one field to its end.
func (t *TableMap) readField(field byte, v *cursor, text func(*ColumnMap) bool) {
	switch field {
	case metaSignedness:
		t.readBits(v, isNumeric, func(m *ColumnMap, on bool) { m.SignKnown, m.Unsigned = true, on })
	case metaVisibility:
		t.readBits(v, isAny, func(m *ColumnMap, on bool) { m.Invisible = !on })
	case metaDefaultCharset:
		t.readDefaultCharset(v, text)
	case metaLabelsDefault:
		t.readDefaultCharset(v, isLabelled)
	case metaColumnCharset:
		t.each(v, text, func(m *ColumnMap) { m.Collation = uint32(v.packed()) })
	case metaLabelsCharset:
		t.each(v, isLabelled, func(m *ColumnMap) { m.Collation = uint32(v.packed()) })
	case metaColumnName:
		t.each(v, isAny, func(m *ColumnMap) { m.Name = string(v.take(int(v.u8()))) })
		t.names = true
	case metaSetLabels:
		t.each(v, isSet, func(m *ColumnMap) { m.Labels = readLabels(v) })
	case metaEnumLabels:
		t.each(v, isEnum, func(m *ColumnMap) { m.Labels = readLabels(v) })
	case metaGeometryType:
		t.each(v, isGeometry, func(m *ColumnMap) { m.Geometry = uint8(v.packed()) })
	case metaVectorDim:
		t.each(v, isVector, func(m *ColumnMap) { m.Dimensions = uint32(v.packed()) })
	case metaSimpleKey, metaKeyWithPrefix:
		t.Key = t.Key[:0]
		for len(v.p) > 0 && !v.bad {
			k := v.packed()
			if field == metaKeyWithPrefix {
				v.packed() // characters of the prefix: the row's value is whole all the same
			}
			if k >= uint64(len(t.Columns)) {
				v.bad = true
				return
			}
			t.Key = append(t.Key, int(k))
		}
	default:
		v.p = nil
	}
}

// each calls set for the columns that the field speaks of.
func (t *TableMap) each(v *cursor, of func(*ColumnMap) bool, set func(*ColumnMap)) {
	for i := range t.Columns {
		if v.bad {
			return
		}
		if m := &t.Columns[i]; of(m) {
			set(m)
		}
	}
}

// readBits reads one bit for each column of a kind, the highest bit first.
func (t *TableMap) readBits(v *cursor, of func(*ColumnMap) bool, set func(*ColumnMap, bool)) {
	n := 0
	t.each(v, of, func(m *ColumnMap) {
		if n/8 >= len(v.p) {
			v.bad = true
			return
		}
		set(m, v.p[n/8]&(0x80>>(n%8)) != 0)
		n++
	})
	v.take((n + 7) / 8)
}

// readDefaultCharset reads a collation, then pairs of column (counted among
// its kind) and collation for those that differ.
func (t *TableMap) readDefaultCharset(v *cursor, of func(*ColumnMap) bool) {
	collation := uint32(v.packed())
	var columns []*ColumnMap
	t.each(v, of, func(m *ColumnMap) {
		m.Collation = collation
		columns = append(columns, m)
	})
	for len(v.p) > 0 && !v.bad {
		i, id := v.packed(), v.packed()
		if i >= uint64(len(columns)) {
			v.bad = true
			return
		}
		columns[i].Collation = uint32(id)
	}
}

// labelsMax is what an ENUM may have.
const labelsMax = 65535

// readLabels reads the labels of one ENUM or SET: views.
func readLabels(v *cursor) [][]byte {
	n := v.count(1)
	if n > labelsMax {
		v.bad = true
		return nil
	}
	labels := make([][]byte, n)
	for i := range labels {
		labels[i] = v.text()
	}
	return labels
}
