package definition

import (
	"context"
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/schema"
)

// Read reads a definition, nil for a table that is not there.
func Read(ctx context.Context, c *replica.Conn, n tables.Name) (*schema.Table, error) {
	where := fmt.Sprintf("TABLE_SCHEMA = %s AND TABLE_NAME = %s", replica.Quote(n.DB), replica.Quote(n.Table))
	rows, err := c.Query(ctx, "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COALESCE(CHARACTER_SET_NAME, ''), EXTRA "+
		"FROM information_schema.COLUMNS WHERE "+where+" ORDER BY ORDINAL_POSITION")
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	t := &schema.Table{DB: n.DB, Name: n.Table}
	for _, r := range rows {
		col := schema.Column{Name: r[0], Native: r[1], NotNull: r[2] != "YES", Charset: schema.CharsetName(r[3]),
			Invisible: strings.Contains(r[4], "INVISIBLE")}
		if base := strings.ToLower(r[1]); strings.HasPrefix(base, "enum(") || strings.HasPrefix(base, "set(") {
			col.Labels = knownLabels(labels(r[1], c.Flavor() == gtid.MariaDB), col.Charset)
		}
		t.Columns = append(t.Columns, col)
	}
	rows, err = c.Query(ctx, "SELECT COALESCE(TABLE_COLLATION, '') FROM information_schema.TABLES WHERE "+where)
	if err != nil {
		return nil, err
	}
	if len(rows) == 1 {
		charset, _, _ := strings.Cut(rows[0][0], "_")
		t.Charset = schema.CharsetName(charset)
	}
	// In the order in which the server has them, which information_schema does
	// not tell.
	if rows, err = c.Query(ctx, "SHOW INDEX FROM "+QuoteName(n.Table)+" FROM "+QuoteName(n.DB)); err != nil {
		return nil, err
	}
	t.Keys = keys(rows)
	return t, nil
}

// QuoteName quotes a name.
func QuoteName(text string) string { return "`" + strings.ReplaceAll(text, "`", "``") + "`" }

// keys reads the rows of SHOW INDEX.
func keys(rows [][]string) (list []schema.Key) {
	const nonUnique, keyName, columnName, subPart = 1, 2, 4, 7
	for _, r := range rows {
		if len(r) <= subPart {
			continue
		}
		if len(list) == 0 || list[len(list)-1].Name != r[keyName] {
			list = append(list, schema.Key{Name: r[keyName], Primary: r[keyName] == "PRIMARY", Unique: r[nonUnique] == "0"})
		}
		k := &list[len(list)-1]
		k.Parts = append(k.Parts, schema.Part{Column: r[columnName], Prefix: r[subPart] != "" && r[subPart] != "NULL"})
	}
	return list
}

// knownLabels returns the labels, nil where one of them may not be what it
// seems. The catalogs of both servers are in utf8mb3: a character beyond its
// reach is a question mark there, in SHOW CREATE TABLE too, and only
// binlog_row_metadata=FULL tells what it was.
func knownLabels(list []string, charset string) []string {
	switch charset {
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		for _, l := range list {
			if strings.Contains(l, "?") {
				return nil
			}
		}
	}
	return list
}

// labels reads the labels of "enum('a','b”c')".
// MariaDB has backslashes and ends of lines escaped in it.
func labels(native string, maria bool) (list []string) {
	text := native[strings.IndexByte(native, '(')+1:]
	for {
		start := strings.IndexByte(text, '\'')
		if start < 0 {
			return list
		}
		text = text[start+1:]
		var label strings.Builder
		for len(text) > 0 {
			c := text[0]
			text = text[1:]
			if c == '\\' && maria && text != "" {
				i := strings.IndexByte("nr0", text[0])
				c = text[0]
				if i >= 0 {
					c = "\n\r\x00"[i]
				}
				label.WriteByte(c)
				text = text[1:]
				continue
			}
			if c == '\'' {
				if !strings.HasPrefix(text, "'") {
					break
				}
				text = text[1:]
			}
			label.WriteByte(c)
		}
		list = append(list, label.String())
	}
}
