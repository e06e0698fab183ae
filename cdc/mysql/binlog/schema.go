package binlog

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// CatalogColumn is one column as information_schema.COLUMNS, or a table
// definition read elsewhere, describes it.
type CatalogColumn struct {
	Name     string
	Native   string // COLUMN_TYPE, such as "int unsigned" or "varchar(20)"
	Nullable bool
	Charset  string   // CHARACTER_SET_NAME; "" for columns that are no text
	Labels   []string // of ENUM and SET
}

// CatalogTable is a table as the server's catalog describes it, read over a
// connection with SET NAMES utf8mb4.
type CatalogTable struct {
	DB, Table string
	Columns   []CatalogColumn
	// Key holds the columns of the primary key, in key order, or of the first
	// unique key without nullable columns.
	Key []int
	// MariaDB keeps a hidden column, DB_ROW_HASH_n, behind the others for each
	// unique key whose values are too long for an index: the log has it, no SELECT
	// shows it. HashesMin is how many there are at least, HashesMax at most.
	HashesMin, HashesMax int
}

// RowPlan is the prepared decoder of a table's rows. It is used by one
// goroutine.
type RowPlan struct {
	table   string
	schema  *sdk.Schema
	columns []column
	hidden  int        // columns behind those, which are passed over
	z       columnZlib // of the COMPRESSED columns
}

// Schema returns the schema of the rows that the plan decodes.
func (pl *RowPlan) Schema() *sdk.Schema { return pl.schema }

// Clone returns a plan for another goroutine, with the same schema.
func (pl *RowPlan) Clone() *RowPlan {
	n := &RowPlan{table: pl.table, schema: pl.schema, columns: slices.Clone(pl.columns), hidden: pl.hidden}
	for i := range n.columns {
		c := &n.columns[i]
		if c.text != nil {
			c.text = newCharset(c.text.name)
		}
		if c.z != nil {
			c.z = &n.z
		}
	}
	return n
}

// BuildSchema makes a table's schema and the decoder of its rows. The caller
// numbers the schema (sdk.Schema.ID) before it decodes the first row.
//
// With binlog_row_metadata=FULL the log itself describes the table as it was, and
// c, which may be nil, only tells what no log does: MariaDB's UUID, INET and
// VECTOR types, and the type's own name; a column of c that does not fit is left
// out of account. Otherwise (TableMap.Complete) c has to supply names, labels, key and missing character
// sets, and must agree with the log.
//
// Faults: schema_mismatch where c and the log disagree, schema_incomplete where
// neither says what is needed, charset_unknown.
func BuildSchema(t *TableMap, c *CatalogTable) (*sdk.Schema, *RowPlan, error) {
	hidden := hiddenColumns(t, c)
	columns := t.Columns[:len(t.Columns)-hidden]
	if !t.HasNames() {
		if err := checkCatalog(t, c, columns); err != nil {
			return nil, nil, err
		}
	}
	s := &sdk.Schema{DB: t.DB, Table: t.Table, Columns: make([]sdk.Column, len(columns))}
	pl := &RowPlan{table: t.FullName(), schema: s, columns: make([]column, len(columns)), hidden: hidden}
	for i := range columns {
		b := planner{table: pl.table, m: &columns[i], out: &s.Columns[i], plan: &pl.columns[i], number: i + 1, z: &pl.z}
		if c != nil && i < len(c.Columns) && (!t.HasNames() || b.fits(&c.Columns[i])) {
			b.cat = &c.Columns[i]
		}
		if err := b.build(); err != nil {
			return nil, nil, err
		}
	}
	if t.HasNames() {
		s.Key = slices.Clone(t.Key)
		if slices.ContainsFunc(s.Key, func(k int) bool { return k >= len(columns) }) {
			s.Key = nil
		}
	} else {
		s.Key = slices.Clone(c.Key)
	}
	return s, pl, nil
}

// hiddenColumns returns how many of the table's last columns are MariaDB's
// hashes of unique keys. Without a catalog none is known to be, and they come as
// what they are.
func hiddenColumns(t *TableMap, c *CatalogTable) (n int) {
	if c == nil {
		return 0
	}
	for n < len(t.Columns) && n < c.HashesMax {
		m := &t.Columns[len(t.Columns)-1-n]
		hash := m.Type == ColLongLong && m.Nullable && (!m.SignKnown || m.Unsigned)
		if t.HasNames() {
			hash = hash && strings.HasPrefix(m.Name, "DB_ROW_HASH_") &&
				!slices.ContainsFunc(c.Columns, func(k CatalogColumn) bool { return strings.EqualFold(k.Name, m.Name) })
		} else {
			hash = hash && len(t.Columns)-n > len(c.Columns)
		}
		if !hash {
			break
		}
		n++
	}
	if !t.HasNames() && n < c.HashesMin {
		return 0
	}
	return n
}

// checkCatalog compares the catalog with a log that does not name its columns.
func checkCatalog(t *TableMap, c *CatalogTable, columns []ColumnMap) error {
	if c == nil {
		return incomplete(t.FullName(), "the log does not name the table's columns, and the server no longer has the table")
	}
	if len(c.Columns) != len(columns) {
		return mismatch(t.FullName(), "the log has %d columns here, the server's catalog %d", len(columns), len(c.Columns))
	}
	for i := range c.Columns {
		if why := disagree(&columns[i], &c.Columns[i]); why != "" {
			return mismatch(t.FullName()+"."+c.Columns[i].Name, "column %d: %s", i+1, why)
		}
	}
	for _, k := range c.Key {
		if k < 0 || k >= len(c.Columns) {
			return mismatch(t.FullName(), "the key names column %d of %d", k+1, len(c.Columns))
		}
	}
	return nil
}

func mismatch(place, what string, args ...any) error {
	return fault.New(fault.Fatal, CodeSchemaMismatch, place,
		hintMetadata+"; or start from a position behind the last change of the table's definition", what, args...)
}

func incomplete(place, what string, args ...any) error {
	return fault.New(fault.Fatal, CodeSchemaIncomplete, place, hintMetadata, what, args...)
}

// nativeBase returns the first word of a native type: "int" of "int(11) unsigned".
func nativeBase(native string) string {
	n := strings.ToLower(native)
	if i := strings.IndexAny(n, " ("); i >= 0 {
		n = n[:i]
	}
	return n
}

// disagree says how the catalog's column can't be the log's; "" if it can.
func disagree(m *ColumnMap, c *CatalogColumn) string {
	base := nativeBase(c.Native)
	types := nativeTypes(base)
	if types == nil {
		return "the catalog's type " + c.Native + " is not known"
	}
	if !slices.Contains(types, m.Type) {
		return "the catalog says " + c.Native + ", the log has " + m.Type.String()
	}
	if m.SignKnown && isInteger(m.Type) && m.Unsigned != strings.Contains(strings.ToLower(c.Native), "unsigned") {
		return "the catalog says " + c.Native + ", the log differs in the sign"
	}
	if p, s := nativeNumbers(c.Native); m.Type == ColNewDecimal && p > 0 && (p != int(m.Meta>>8) || s != int(m.Meta&0xff)) {
		return "the catalog says " + c.Native + ", the log has another precision or scale"
	}
	if d, _ := nativeNumbers(c.Native); isTemporal2(m.Type) && d != int(m.Meta) {
		return "the catalog says " + c.Native + ", the log has another number of fractional digits"
	}
	if m.Nullable != c.Nullable {
		return "the catalog and the log differ in whether it may be NULL"
	}
	return disagreeText(m, c, base)
}

// disagreeText compares what text, bytes and labels are wide.
func disagreeText(m *ColumnMap, c *CatalogColumn, base string) string {
	n, _ := nativeNumbers(c.Native)
	wide := 0 // bytes of a character; 0 not known
	if textual(c.Native) {
		name := c.Charset
		if m.Collation != 0 {
			if name = charsetOf(m.Collation); name != c.Charset && c.Charset != "" && name != "" {
				return "the catalog says character set " + c.Charset + ", the log has " + name
			}
		}
		wide = (&charset{name: name}).widest()
		if name == "" {
			wide = 0
		}
	} else if isText(m) && m.Collation != 0 && charsetOf(m.Collation) != charsetBinary {
		return "the catalog says " + c.Native + ", the log has text"
	}
	length := "the catalog says " + c.Native + ", the log has another length"
	switch base {
	case "char", "varchar":
		if wide != 0 && m.Type != ColVarcharCompressed && int(m.Meta) != n*wide {
			return length
		}
	case "binary", "varbinary":
		if m.Type != ColVarcharCompressed && int(m.Meta) != n {
			return length
		}
	case "vector":
		if m.Type == ColVarchar && int(m.Meta) != 4*n {
			return length
		}
	case "bit":
		if int(m.Meta>>8)*8+int(m.Meta&0xff) != n {
			return length
		}
	case "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob":
		size := map[byte]uint16{'t': 1, 'm': 3, 'l': 4}[base[0]]
		if size == 0 || base == "text" {
			size = 2
		}
		if m.Type == ColBlob && m.Meta != size {
			return length
		}
	case "enum":
		if want := enumBytes(len(c.Labels)); len(c.Labels) > 0 && int(m.Meta) != want {
			return "the catalog and the log differ in the number of labels"
		}
	case "set":
		want := (len(c.Labels) + 7) / 8
		if want > 4 {
			want = 8
		}
		if len(c.Labels) > 0 && int(m.Meta) != want {
			return "the catalog and the log differ in the number of labels"
		}
	}
	return ""
}

func enumBytes(labels int) int {
	if labels > 255 {
		return 2
	}
	return 1
}

// textual reports whether a native type is one of text.
func textual(native string) bool {
	switch nativeBase(native) {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		return true
	}
	return false
}

func isInteger(t ColumnType) bool {
	return t == ColTiny || t == ColShort || t == ColInt24 || t == ColLong || t == ColLongLong
}

// isOldTemporal reports whether it is one of the types that MySQL before 5.6
// wrote, and MariaDB with mysql56_temporal_format=OFF.
func isOldTemporal(t ColumnType) bool {
	return t == ColTime || t == ColDateTime || t == ColTimestamp
}

func isTemporal2(t ColumnType) bool {
	return t == ColTime2 || t == ColDateTime2 || t == ColTimestamp2
}

// nativeNumbers returns the numbers in the parentheses of a native type, 0 for
// those that are not there.
func nativeNumbers(native string) (a, b int) {
	i := strings.IndexByte(native, '(')
	if i < 0 {
		return 0, 0
	}
	n := [2]int{}
	k := 0
	for _, r := range native[i+1:] {
		switch {
		case r >= '0' && r <= '9' && n[k] < 1<<20:
			n[k] = n[k]*10 + int(r-'0')
		case r == ',' && k == 0:
			k = 1
		default:
			return n[0], n[1]
		}
	}
	return n[0], n[1]
}

// nativeTypes returns the types that the log may have for a native type.
func nativeTypes(base string) []ColumnType {
	switch base {
	case "tinyint", "bool", "boolean":
		return []ColumnType{ColTiny}
	case "smallint":
		return []ColumnType{ColShort}
	case "mediumint":
		return []ColumnType{ColInt24}
	case "int", "integer":
		return []ColumnType{ColLong}
	case "bigint":
		return []ColumnType{ColLongLong}
	case "float":
		return []ColumnType{ColFloat}
	case "double", "real":
		return []ColumnType{ColDouble}
	case "decimal", "numeric":
		return []ColumnType{ColNewDecimal}
	case "bit":
		return []ColumnType{ColBit}
	case "year":
		return []ColumnType{ColYear}
	case "date":
		return []ColumnType{ColDate, ColNewDate}
	case "time":
		return []ColumnType{ColTime, ColTime2}
	case "datetime":
		return []ColumnType{ColDateTime, ColDateTime2}
	case "timestamp":
		return []ColumnType{ColTimestamp, ColTimestamp2}
	case "char", "binary", "uuid", "inet4", "inet6":
		return []ColumnType{ColString, ColVarString}
	case "varchar", "varbinary":
		return []ColumnType{ColVarchar, ColVarString, ColVarcharCompressed}
	case "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob":
		return []ColumnType{ColBlob, ColBlobCompressed}
	case "enum":
		return []ColumnType{ColEnum}
	case "set":
		return []ColumnType{ColSet}
	case "json":
		return []ColumnType{ColJSON, ColBlob}
	case "vector":
		return []ColumnType{ColVector, ColVarchar}
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
		"multipolygon", "geomcollection", "geometrycollection":
		return []ColumnType{ColGeometry}
	}
	return nil
}

// labelsUTF8 converts the labels that the log has.
func labelsUTF8(labels [][]byte, text *charset) ([][]byte, error) {
	out := make([][]byte, len(labels))
	for i, l := range labels {
		var err error
		if out[i], err = text.append(nil, l); err != nil {
			return nil, err
		}
		if !utf8.Valid(out[i]) {
			return nil, errText // labels of character set binary
		}
		out[i] = bytes.Clone(out[i])
	}
	return out, nil
}
