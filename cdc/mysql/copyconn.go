package mysql

import (
	"context"
	"errors"
	"slices"

	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// copyConn is a connection that reads tables. It implements snapshot.Conn.
type copyConn struct {
	d    *database
	host host
	scan *scan.Conn
}

func (c *copyConn) Close() error { return c.scan.Close() }

func (c *copyConn) Load(ctx context.Context) (int, error) {
	l, err := c.scan.Load(ctx)
	return l.ThreadsRunning, err
}

// Tables lists the followed tables, the largest first, those that are named by
// the options before.
func (c *copyConn) Tables(ctx context.Context, copied []string) (names []snapshot.Name, err error) {
	s := c.d.s
	var before *tables.Filter
	if len(copied) > 0 {
		before, _ = tables.New(copied)
	}
	v, err := s.dial(ctx, c.host)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	rows, err := v.conn.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES "+
		"WHERE TABLE_TYPE = 'BASE TABLE' ORDER BY DATA_LENGTH DESC, TABLE_SCHEMA, TABLE_NAME")
	if err != nil {
		return nil, v.sqlFault(err)
	}
	for _, r := range rows {
		if s.filter.Match(r[0], r[1]) && (before == nil || !before.Match(r[0], r[1])) {
			names = append(names, snapshot.Name{DB: r[0], Table: r[1]})
		}
	}
	order := s.config.SnapshotOptions.Tables
	slices.SortStableFunc(names, func(a, b snapshot.Name) int { return rank(order, a) - rank(order, b) })
	return names, nil
}

// rank is the place of a table among those that the options name, which come
// first.
func rank(order []SnapshotTable, n snapshot.Name) int {
	i := slices.IndexFunc(order, func(t SnapshotTable) bool { return t.matches(n) })
	if i < 0 {
		return len(order)
	}
	return i
}

// Plan implements snapshot.Conn.
func (c *copyConn) Plan(ctx context.Context, n snapshot.Name, r *snapshot.Request) (*snapshot.Table, error) {
	var o scan.TableOptions
	list := c.d.s.config.SnapshotOptions.Tables
	if r != nil {
		if o.Where, o.Columns = r.Where, r.Columns; !c.d.s.filter.Match(n.DB, n.Table) {
			return nil, nil // the configuration was changed since it was asked for
		}
	} else if i := rank(list, n); i < len(list) {
		o.Where, o.Columns = list[i].Where, list[i].Columns
	}
	t, err := c.scan.Plan(ctx, tables.Name{DB: n.DB, Table: n.Table}, o)
	if fault.HasCode(err, scan.CodeNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := c.d.a.Number(t.Schema); err != nil {
		return nil, err
	}
	return &snapshot.Table{Name: n, Schema: t.Schema, Key: t.KeyColumns, Print: t.Print(), Rows: int64(t.RowsEstimate), Plan: t,
		Splits: func(ctx context.Context, parts int) ([]snapshot.Key, error) { return c.splits(ctx, t, parts) }}, nil
}

// splits divides a large table.
func (c *copyConn) splits(ctx context.Context, t *scan.Table, parts int) (keys []snapshot.Key, err error) {
	if parts = min(parts, int(t.RowsEstimate)/c.d.s.splitRows); len(t.KeyColumns) == 0 || parts < 2 {
		return nil, nil
	}
	list, err := c.scan.Split(ctx, t, parts)
	for _, k := range list {
		keys = append(keys, snapshot.Key(k))
	}
	return keys, err
}

// Low implements snapshot.Conn.
func (c *copyConn) Low(ctx context.Context, t *snapshot.Table) (sdk.Position, error) {
	return mark(c.scan.Low(ctx, t.Plan.(*scan.Table)))
}

// View implements snapshot.Conn.
func (c *copyConn) View(ctx context.Context, t *snapshot.Table) (sdk.Position, error) {
	return mark(c.scan.View(ctx, t.Plan.(*scan.Table)))
}

func mark(p *position.Position, err error) (sdk.Position, error) {
	if err != nil {
		return "", err
	}
	return p.Encode(), nil
}

// Chunk implements snapshot.Conn.
func (c *copyConn) Chunk(ctx context.Context, t *snapshot.Table, r snapshot.Range, l snapshot.Limits, rows *snapshot.Rows) (*snapshot.Chunk, error) {
	var row *scan.Row
	key := func(dst []byte) ([]byte, error) { return row.AppendKey(dst) }
	whole := func(b *sdk.Builder) error { return row.Append(b, 0) }
	in := scan.Range{After: scan.Key(r.After), UpTo: scan.Key(r.UpTo), From: r.Again, RowsMax: l.Rows}
	if len(t.Key) == 0 {
		in.BytesMax = l.Bytes
	}
	schemas, err := c.d.a.Number(t.Schema)
	if err != nil {
		return nil, err
	}
	rows.Begin(schemas)
	done, err := c.scan.Chunk(ctx, t.Plan.(*scan.Table), in, func(next *scan.Row) error {
		row = next
		if err := rows.Add(key, whole); err != nil {
			return err
		}
		if rows.Enough() {
			return scan.ErrEnough
		}
		return nil
	})
	if ended := c.scan.Release(ctx); err == nil {
		err = ended
	}
	if fault.HasCode(err, scan.CodeChanged) || fault.HasCode(err, scan.CodeKeyStale) || fault.HasCode(err, scan.CodeNoTable) {
		return nil, errors.Join(snapshot.ErrChanged, err)
	}
	if err != nil {
		return nil, err
	}
	return &snapshot.Chunk{Last: done.End, Next: snapshot.Key(done.Last)}, nil
}
