package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
)

// catalog reads tables' definitions over connections of their own: a dump takes
// its connection over, and definitions are read rarely.
type catalog struct{ s *Source }

// Table implements assemble.Catalog: the definition is read first, the log's end
// after it.
func (c catalog) Table(ctx context.Context, n tables.Name) (t *binlog.CatalogTable, read *position.Position, err error) {
	v, err := c.s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	if t, err = v.table(ctx, n); err != nil {
		return nil, nil, c.s.sqlFault(err)
	}
	if read, err = v.head(ctx); err != nil {
		return nil, nil, c.s.sqlFault(err)
	}
	return t, read, nil
}

// table reads a definition, nil for a table that is not there. The key is the
// primary key, or the first unique one without NULLs.
func (v *server) table(ctx context.Context, n tables.Name) (*binlog.CatalogTable, error) {
	where := fmt.Sprintf("TABLE_SCHEMA = %s AND TABLE_NAME = %s", replica.Quote(n.DB), replica.Quote(n.Table))
	rows, err := v.conn.Query(ctx, "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COALESCE(CHARACTER_SET_NAME, ''), "+
		"COALESCE(GENERATION_EXPRESSION, ''), EXTRA FROM information_schema.COLUMNS WHERE "+where+" ORDER BY ORDINAL_POSITION")
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	t := &binlog.CatalogTable{DB: n.DB, Table: n.Table}
	index := map[string]int{}
	for _, r := range rows {
		col := binlog.CatalogColumn{Name: r[0], Native: r[1], Nullable: r[2] == "YES", Charset: r[3]}
		if base := strings.ToLower(r[1]); strings.HasPrefix(base, "enum(") || strings.HasPrefix(base, "set(") {
			col.Labels = labels(r[1])
		}
		index[r[0]] = len(t.Columns)
		t.Columns = append(t.Columns, col)
	}
	keys, err := v.conn.Query(ctx, "SELECT INDEX_NAME, COLUMN_NAME, NULLABLE, COALESCE(SUB_PART, '') FROM information_schema.STATISTICS WHERE "+
		where+" AND NON_UNIQUE = 0 ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX")
	if err != nil {
		return nil, err
	}
	t.Key = key(keys, index)
	return t, nil
}

// key returns the columns of the first unique index without NULLs, prefixes and
// expressions.
func key(rows [][]string, index map[string]int) []int {
	for i := 0; i < len(rows); {
		name, usable := rows[i][0], true
		var list []int
		for ; i < len(rows) && rows[i][0] == name; i++ {
			at, ok := index[rows[i][1]]
			usable = usable && ok && rows[i][2] != "YES" && rows[i][3] == ""
			list = append(list, at)
		}
		if usable {
			return list
		}
	}
	return nil
}

// labels reads the labels of "enum('a','b”c')".
func labels(native string) (list []string) {
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
