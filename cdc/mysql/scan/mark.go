package scan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// Low returns a place of the log all before which the chunks that are read until
// High show. It ends what an earlier Low began, and connects again where the
// connection was lost.
//
// A server makes a transaction visible after it has written it to its log, so the
// log's end is no low mark:
//
//   - MySQL with GTIDs: gtid_executed, to which a transaction is added when it is
//     visible;
//   - MariaDB: a consistent snapshot, whose place in the log the server knows;
//   - MySQL without GTIDs, or a table without a key: the log's end while a lock
//     keeps writers of this table away, and a consistent snapshot that a second
//     connection opened meanwhile. The lock lasts for two questions.
//
// Faults: snapshot_no_low_mark, snapshot_lock_busy, binlog_off.
func (c *Conn) Low(ctx context.Context, t *Table) (*position.Position, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if err := c.finish(ctx); err != nil {
		return nil, err
	}
	var err error
	switch {
	case c.flavor == gtid.MariaDB:
		c.low, err = c.snapshot(ctx, t)
	case !c.Exact(t):
		return c.executed(ctx, t)
	default:
		c.low, err = c.locked(ctx, t)
	}
	return c.low, err
}

// High returns a place of the log that has all that the chunks since Low show,
// and ends what Low began. Where Exact holds it is Low's.
func (c *Conn) High(ctx context.Context, t *Table) (*position.Position, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if c.low != nil {
		low := c.low
		return low, c.finish(ctx)
	}
	return c.end(ctx, t, c.c)
}

// View opens a consistent snapshot, out of which the chunks that follow are read
// until Release or the next Low, and returns a place of the log that has all that
// they show: its end, which is read when the snapshot is open. It comes behind Low.
func (c *Conn) View(ctx context.Context, t *Table) (*position.Position, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if c.low != nil {
		return c.low, nil
	}
	if _, err := c.query(ctx, t, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return nil, err
	}
	c.open = true
	return c.end(ctx, t, c.c)
}

// Release ends what Low and View began, so that the server need not keep it.
func (c *Conn) Release(ctx context.Context) error {
	if c.c == nil || !c.c.Good() { // the server does so by itself
		c.low, c.open = nil, false
		return nil
	}
	return c.finish(ctx)
}

// End returns the end of what the server has written to its log.
func (c *Conn) End(ctx context.Context) (*position.Position, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	return c.end(ctx, nil, c.c)
}

// finish ends an open snapshot.
func (c *Conn) finish(ctx context.Context) error {
	c.low = nil
	if !c.open {
		return nil
	}
	c.open = false
	_, err := c.query(ctx, nil, "COMMIT")
	return err
}

// executed is what MySQL shows, as a set.
func (c *Conn) executed(ctx context.Context, t *Table) (*position.Position, error) {
	rows, err := c.query(ctx, t, "SELECT @@global.gtid_executed")
	if err != nil {
		return nil, err
	}
	set, err := gtid.Parse(gtid.MySQL, rows[0][0])
	if err != nil {
		return nil, err
	}
	return &position.Position{Flavor: gtid.MySQL, GTIDs: set, Server: c.server}, nil
}

// snapshot opens MariaDB's consistent snapshot.
func (c *Conn) snapshot(ctx context.Context, t *Table) (*position.Position, error) {
	if _, err := c.query(ctx, t, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return nil, err
	}
	c.open = true
	rows, err := c.query(ctx, t, "SHOW STATUS WHERE Variable_name IN ('binlog_snapshot_file', 'binlog_snapshot_position')")
	if err != nil {
		return nil, err
	}
	p := &position.Position{Flavor: c.flavor, Server: c.server}
	for _, r := range rows {
		if r[0] == "Binlog_snapshot_file" {
			p.File = r[1]
		} else if p.Pos, err = strconv.ParseUint(r[1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", r[0], err)
		}
	}
	if p.File == "" {
		return nil, c.binlogOff()
	}
	return p, nil
}

// locked opens a consistent snapshot while a second connection locks the table.
func (c *Conn) locked(ctx context.Context, t *Table) (p *position.Position, err error) {
	if c.lock == nil {
		if c.lock, err = replica.Connect(ctx, c.o.Target); err != nil {
			c.lock = nil
			return nil, c.lostOr(ctx, err)
		}
	}
	defer func() {
		if err != nil && c.lock != nil { // it may still hold the lock
			err = errors.Join(err, c.lock.Close())
			c.lock = nil
		}
	}()
	seconds := strconv.Itoa(int(c.o.LockWait / time.Second))
	if _, err = c.lock.Query(ctx, "SET SESSION wait_timeout = 86400, lock_wait_timeout = "+seconds); err != nil {
		return nil, c.lostOr(ctx, err)
	}
	server, err := c.lock.Value(ctx, "SELECT @@server_uuid")
	if err != nil {
		return nil, c.lostOr(ctx, err)
	}
	if server = strings.ToLower(server); server != c.server {
		return nil, c.other(server)
	}
	if _, err = c.lock.Query(ctx, "LOCK TABLES "+t.quoted()+" READ"); err != nil {
		switch replica.Code(err) {
		case errAccessDB, errTableDenied, errNeedsPrivilege:
			return nil, fault.New(fault.Environment, CodeNoLow, t.FullName(),
				"set gtid_mode=ON on the server, or GRANT LOCK TABLES on the database to the account of cdcd; a table without a key needs the latter",
				"what the table shows can't be placed in the log without a short lock: %w", err)
		}
		return nil, c.sqlFault(t, err)
	}
	if _, err = c.query(ctx, t, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return nil, err
	}
	c.open = true
	if p, err = c.end(ctx, t, c.lock); err != nil {
		return nil, err
	}
	_, err = c.lock.Query(ctx, "UNLOCK TABLES")
	return p, c.sqlFault(t, err)
}

// end returns the end of what the server has written to its log, as a place: its
// set of GTIDs lags behind.
func (c *Conn) end(ctx context.Context, t *Table, conn *replica.Conn) (*position.Position, error) {
	file, pos, err := definition.LogEnd(ctx, conn)
	if err != nil {
		if replica.Code(err) == 0 {
			return nil, errors.Join(c.lostOr(ctx, err), c.lose())
		}
		return nil, c.sqlFault(t, err)
	}
	if file == "" {
		return nil, c.binlogOff()
	}
	return &position.Position{Flavor: c.flavor, File: file, Pos: pos, Server: c.server}, nil
}

func (c *Conn) binlogOff() error {
	return fault.New(fault.Environment, CodeBinlogOff, c.o.Target.Addr, "start the server with log_bin", "the server writes no binary log")
}
