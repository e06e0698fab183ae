package scan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// Options say where and how to read.
type Options struct {
	Target replica.Target
	// Files says that the positions of the stream have no GTIDs: low marks are
	// then places of files.
	Files bool
	// RowBytesMax bounds a row; 64 MiB by default.
	RowBytesMax int
	// QueryTimeMax bounds a chunk at the server, unless the server's own limit is
	// lower; a minute by default.
	QueryTimeMax time.Duration
	// LockWait bounds how long a short lock is waited for; writers wait behind it.
	// A second by default, which is also the least.
	LockWait time.Duration
	// Quiet is the longest silence of the server; 60 s by default, and at least
	// QueryTimeMax.
	Quiet time.Duration
	// Limit is told, before more is read, how many bytes were; nil for no limit.
	Limit func(bytes int) error
	// ReadMax bounds one read of the socket; 0 for no bound.
	ReadMax int
}

func (o *Options) fill() {
	if o.RowBytesMax == 0 {
		o.RowBytesMax = 64 << 20
	}
	if o.QueryTimeMax == 0 {
		o.QueryTimeMax = time.Minute
	}
	o.LockWait = max(o.LockWait, time.Second)
	o.Quiet = max(o.Quiet, time.Minute, o.QueryTimeMax)
}

// Conn is a connection that reads tables. It is used by one goroutine.
type Conn struct {
	o      Options
	c      *replica.Conn // nil after it was lost
	lock   *replica.Conn // for short locks; nil until the first
	flavor gtid.Flavor
	server string // MySQL's uuid, MariaDB's server id
	gtids  bool   // low marks are sets of GTIDs
	full   bool   // binlog_row_metadata=FULL

	open bool               // a consistent snapshot is open
	low  *position.Position // the place of the log that it shows
	r    *reader            // of the table that was read last
}

// Open connects. Faults: snapshot_connection_lost; errors of the server are
// *mysql.MyError in the chain.
func Open(ctx context.Context, o Options) (*Conn, error) {
	o.fill()
	c := &Conn{o: o}
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Server names the server as positions do: its uuid, or its id on MariaDB.
func (c *Conn) Server() string { return c.server }

// Exact reports whether the low mark of a table is also the high one: chunks show
// the table exactly as it was there.
func (c *Conn) Exact(t *Table) bool { return !c.gtids || len(t.key) == 0 }

// Close closes the connection. It does not wait for the server, and may be called
// again.
func (c *Conn) Close() error {
	c.open = false
	err := c.lose()
	if c.lock != nil {
		err = errors.Join(err, c.lock.Close())
		c.lock = nil
	}
	return err
}

// lose gives the connection up.
func (c *Conn) lose() error {
	if c.c == nil {
		return nil
	}
	conn := c.c
	c.c = nil
	if !conn.Good() {
		return nil // closed already
	}
	return conn.Close()
}

// ready connects again after the connection was lost. Fault:
// snapshot_server_other.
func (c *Conn) ready(ctx context.Context) error {
	if c.c != nil && c.c.Good() {
		return nil
	}
	c.c, c.open = nil, false
	return c.dial(ctx)
}

func (c *Conn) dial(ctx context.Context) error {
	conn, err := replica.Connect(ctx, c.o.Target)
	if err != nil {
		return c.lostOr(ctx, err)
	}
	c.c = conn
	server := c.server
	if err = c.session(ctx); err == nil {
		err = c.identify(ctx)
	}
	if err == nil && server != "" && server != c.server {
		other := c.server
		c.server = server
		err = c.other(other)
	}
	if err != nil {
		return errors.Join(c.lostOr(ctx, err), c.lose())
	}
	return nil
}

func (c *Conn) other(server string) error {
	return fault.New(fault.Retryable, CodeOther, c.o.Target.Addr, "nothing needs to be done: what was being read is read again there",
		"server %s answers where %s was", server, c.server)
}

func (c *Conn) lostOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return c.sqlFault(nil, err)
}

// session makes the server send values as they are.
func (c *Conn) session(ctx context.Context) error {
	for _, sql := range []string{
		"SET NAMES utf8mb4",
		"SET SESSION character_set_results = NULL, time_zone = '+00:00', sql_mode = '', autocommit = 1, " +
			"sql_select_limit = 18446744073709551615, sql_big_selects = 1, net_write_timeout = 86400, wait_timeout = 86400, lock_wait_timeout = " +
			strconv.Itoa(int(c.o.LockWait.Seconds())),
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	} {
		if _, err := c.c.Query(ctx, sql); err != nil {
			return err
		}
	}
	if c.c.Flavor() == gtid.MariaDB {
		return c.timeLimit(ctx, "max_statement_time", 1)
	}
	// MySQL's statistics are a day old by default, and its own keys can be hidden.
	for _, sql := range []string{"SET SESSION information_schema_stats_expiry = 0",
		"SET SESSION show_gipk_in_create_table_and_information_schema = ON"} {
		if _, err := c.c.Query(ctx, sql); err != nil && replica.Code(err) != errUnknownVariable {
			return err
		}
	}
	return c.timeLimit(ctx, "max_execution_time", 1000)
}

// errUnknownVariable is both servers' answer to a variable that they don't have.
const errUnknownVariable = 1193

// timeLimit bounds statements at the server, unless it does so more strictly
// itself. The variable counts in parts of a second.
func (c *Conn) timeLimit(ctx context.Context, variable string, parts int) error {
	text, err := c.c.Value(ctx, "SELECT @@session."+variable)
	if err != nil {
		return err
	}
	now, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	want := c.o.QueryTimeMax.Seconds() * float64(parts)
	if now != 0 && now <= want {
		return nil
	}
	_, err = c.c.Query(ctx, "SET SESSION "+variable+" = "+strconv.FormatFloat(want, 'f', -1, 64))
	return err
}

// identify asks who is there.
func (c *Conn) identify(ctx context.Context) error {
	c.flavor = c.c.Flavor()
	names := []string{"server_id", "server_uuid", "gtid_mode", "binlog_row_metadata"}
	if c.flavor == gtid.MariaDB {
		names = []string{"server_id", "binlog_row_metadata"}
	}
	v, err := c.variables(ctx, names...)
	if err != nil {
		return err
	}
	c.full = strings.EqualFold(v["binlog_row_metadata"], "FULL")
	if c.flavor == gtid.MariaDB {
		c.server, c.gtids = v["server_id"], false
		return nil
	}
	c.server = strings.ToLower(v["server_uuid"])
	c.gtids = v["gtid_mode"] == "ON" && !c.o.Files
	return nil
}

// variables asks for global variables; unknown ones are missing in the answer.
// SHOW goes through all that the server has, which costs it a millisecond: it is
// left to servers that do not know one of them.
func (c *Conn) variables(ctx context.Context, names ...string) (map[string]string, error) {
	named, err := c.c.Query(ctx, "SELECT @@global."+strings.Join(names, ", @@global."))
	if err == nil && len(named) == 1 && len(named[0]) == len(names) {
		out := map[string]string{}
		for i, n := range names {
			out[n] = named[0][i]
		}
		return out, nil
	}
	if err != nil && replica.Code(err) != errUnknownVariable {
		return nil, err
	}
	rows, err := c.c.Query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"+strings.Join(names, "','")+"')")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rows {
		out[strings.ToLower(r[0])] = r[1]
	}
	return out, nil
}

// query asks a question about a table.
func (c *Conn) query(ctx context.Context, t *Table, sql string) ([][]string, error) {
	rows, err := c.c.Query(ctx, sql)
	if err != nil {
		if replica.Code(err) == 0 {
			err = errors.Join(c.lostOr(ctx, err), c.lose())
			return nil, err
		}
		return nil, c.sqlFault(t, err)
	}
	return rows, nil
}
