package scan

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// The columns of SHOW INDEX. The last is "Visible" on MySQL, "Ignored" on MariaDB.
const (
	indexNonUnique = 1
	indexName      = 2
	indexColumn    = 4
	indexOrder     = 5
	indexPrefix    = 7
	indexType      = 10
	indexVisible   = 13
)

// setLabelsMax is up to where a SET is compared exactly: servers compare its
// number as a double.
const setLabelsMax = 53

// enumLabelsMax is up to where the labels of an ENUM are listed in a statement.
const enumLabelsMax = 1000

// chooseKey settles the order in which the table is read. Fault:
// snapshot_no_key.
func (c *Conn) chooseKey(ctx context.Context, t *Table, columns []int) error {
	rows, err := c.query(ctx, t, "SHOW INDEX FROM "+definition.QuoteName(t.Name.Table)+" FROM "+definition.QuoteName(t.Name.DB))
	if err != nil {
		return err
	}
	texts, err := c.query(ctx, t, "SELECT COLUMN_NAME, COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, '') "+
		"FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "+replica.Quote(t.Name.DB)+" AND TABLE_NAME = "+replica.Quote(t.Name.Table))
	if err != nil {
		return err
	}
	best, why := -1, "it has neither a primary key nor a unique one without NULLs"
	for len(rows) > 0 {
		name := rows[0][indexName]
		n := slices.IndexFunc(rows, func(r []string) bool { return r[indexName] != name })
		if n < 0 {
			n = len(rows)
		}
		key, reason := t.usable(rows[:n], texts, columns)
		rows = rows[n:]
		if reason != "" {
			if name == "PRIMARY" {
				why = "its primary key can't be used: " + reason
			}
			continue
		}
		if key == nil {
			continue
		}
		price := cost(key)
		if name == "PRIMARY" {
			price = 0
		}
		if best < 0 || price < best {
			best, t.key, t.KeyName = price, key, name
		}
	}
	for _, k := range t.key {
		t.KeyColumns = append(t.KeyColumns, k.column)
	}
	if best >= 0 {
		t.print = t.fingerprint()
		t.stem = append(append([]byte(keyMagic), keySeparator), t.print...)
	}
	if best >= 0 {
		return nil
	}
	return c.checkUnkeyed(ctx, t, why)
}

// checkUnkeyed refuses a table without a key that is larger than one chunk may be.
// The server's guess may be twice what there is, so the rows are counted where it
// says too many: no farther than to one more than there may be.
func (c *Conn) checkUnkeyed(ctx context.Context, t *Table, why string) error {
	if t.unkeyedMax < 0 {
		return t.noKey(why)
	}
	if t.RowsEstimate <= uint64(t.unkeyedMax) {
		return nil // a chunk of more is refused
	}
	rows, err := c.query(ctx, t, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s LIMIT %d) AS t", t.quoted(), t.unkeyedMax+1))
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(rows[0][0]); err != nil || n > t.unkeyedMax {
		return t.noKey(why)
	}
	return nil
}

func (t *Table) noKey(why string) error {
	return fault.New(fault.Fatal, CodeNoKey, t.FullName(),
		"give the table a primary key (an invisible one will do), or leave it out of the snapshot",
		"the table has about %d rows and can't be read in chunks: %s", t.RowsEstimate, why)
}

// usable returns the columns of an index, nil for one that does not order all
// rows; reason says why one that does can't be used.
func (t *Table) usable(rows, texts [][]string, columns []int) (key []keyColumn, reason string) {
	for _, r := range rows {
		if r[indexNonUnique] != "0" || r[indexColumn] == "" {
			return nil, ""
		}
		i := t.Schema.Column(r[indexColumn])
		if i < 0 || t.Schema.Columns[i].Nullable {
			return nil, ""
		}
		col := &t.Schema.Columns[i]
		k := keyColumn{name: col.Name, native: col.Native, column: i, at: slices.Index(columns, i), typ: col.Type, kind: partKind(col), desc: r[indexOrder] == "D"}
		for _, text := range texts {
			if strings.EqualFold(text[0], col.Name) {
				k.charset, k.collation = text[1], text[2]
			}
		}
		hidden := len(r) > indexVisible && (r[indexVisible] == "NO" && len(r) > indexVisible+1 || r[indexVisible] == "YES" && len(r) == indexVisible+1)
		switch {
		case r[indexType] != "BTREE":
			return nil, "it is a " + r[indexType] + " index"
		case r[indexPrefix] != "" && r[indexPrefix] != "NULL":
			return nil, "it has only the beginning of " + col.Name
		case hidden:
			return nil, "it is invisible"
		case k.kind == 0:
			return nil, col.Name + " is of type " + col.Type.String()
		case col.Type == sdk.TypeSet && len(col.Labels) > setLabelsMax:
			return nil, col.Name + " is a SET of so many labels that servers do not compare it exactly"
		case len(key) == 0 && (col.Type == sdk.TypeSet || col.Type == sdk.TypeEnum && (k.desc || len(col.Labels) > enumLabelsMax)):
			return nil, col.Name + " is of type " + col.Type.String() + ", of which servers read no range"
		case !slices.Contains(columns, i):
			return nil, col.Name + " is not among the columns to read"
		}
		if len(key) == 0 && col.Type == sdk.TypeEnum {
			k.labels = col.Labels
		}
		key = append(key, k)
	}
	return key, ""
}

// partKind returns the kind of a key's part for a column, 0 for one that can't
// be in a key.
func partKind(c *sdk.Column) byte {
	switch c.Type {
	case sdk.TypeInt:
		return partInt
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear, sdk.TypeEnum, sdk.TypeSet:
		return partUint
	case sdk.TypeDecimal:
		return partDecimal
	case sdk.TypeFloat32, sdk.TypeFloat64:
		return partFloat
	case sdk.TypeString:
		return partText
	case sdk.TypeBytes:
		return partBytes
	case sdk.TypeDate, sdk.TypeDateTime:
		return partDate
	case sdk.TypeTimestamp:
		return partStamp
	case sdk.TypeTime:
		return partClock
	case sdk.TypeUUID, sdk.TypeInet:
		return partWord
	}
	return 0
}

// cost ranks keys: narrow numbers before texts.
func cost(key []keyColumn) (n int) {
	for _, k := range key {
		switch k.kind {
		case partInt, partUint:
			n += 2
		case partText, partBytes:
			n += 8
		default:
			n += 4
		}
	}
	return n
}
