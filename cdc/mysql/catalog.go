package mysql

import (
	"context"
	"errors"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/schema"
)

// catalog reads tables' definitions over connections of their own: a dump takes
// its connection over, and definitions are read rarely.
type catalog struct{ s *Source }

// Table implements assemble.Catalog: the definition is read first, the log's end
// after it.
func (c catalog) Table(ctx context.Context, n tables.Name) (t *schema.Table, read *position.Position, err error) {
	v, err := c.s.dial(ctx, c.s.hosts[c.s.current()])
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	if t, err = v.table(ctx, n); err != nil {
		return nil, nil, v.sqlFault(err)
	}
	if read, err = v.head(ctx); err != nil {
		return nil, nil, v.sqlFault(err)
	}
	return t, read, nil
}

// Charset implements assemble.Catalog.
func (c catalog) Charset(ctx context.Context, db string) (charset string, read *position.Position, err error) {
	v, err := c.s.dial(ctx, c.s.hosts[c.s.current()])
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	rows, err := v.conn.Query(ctx, "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "+replica.Quote(db))
	if err != nil {
		return "", nil, v.sqlFault(err)
	}
	if read, err = v.head(ctx); err != nil {
		return "", nil, v.sqlFault(err)
	}
	if len(rows) == 1 {
		charset = schema.CharsetName(rows[0][0])
	}
	return charset, read, nil
}

// table reads a definition, nil for a table that is not there.
func (v *server) table(ctx context.Context, n tables.Name) (*schema.Table, error) {
	return definition.Read(ctx, v.conn, n)
}
