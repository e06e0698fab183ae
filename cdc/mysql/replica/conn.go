package replica

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
)

// connectTimeout bounds dialing, handshake and login; queryTimeout one query.
const (
	connectTimeout = 10 * time.Second
	queryTimeout   = 60 * time.Second
)

// Conn is a connection for questions in SQL. It is used by one goroutine.
type Conn struct {
	c    *client.Conn
	sock *socket
	rows *bufio.Reader // of Select
	bad  bool          // a Select was left in the middle
}

// Connect opens a connection. It is given up when ctx ends or ten seconds have
// passed. The error is the server's *mysql.MyError where it gave one.
func Connect(ctx context.Context, t Target) (*Conn, error) {
	c, err := connect(ctx, t)
	if err != nil && t.TLS == TLSPreferred && strings.Contains(err.Error(), "does not support TLS") {
		t.TLS = TLSOff
		c, err = connect(ctx, t)
	}
	return c, err
}

func connect(ctx context.Context, t Target) (*Conn, error) {
	conf, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var sock *socket
	closed, stop := make(chan struct{}), func() bool { return true }
	dial := func(dctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(dctx, network, addr)
		if err != nil {
			return nil, err
		}
		sock = newSocket(c)
		stop = context.AfterFunc(ctx, func() { // ends the handshake too
			defer close(closed)
			c.Close()
		})
		deadline, _ := ctx.Deadline()
		if err := sock.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return sock, nil
	}
	c, err := client.ConnectWithDialer(ctx, "tcp", t.Addr, t.User, t.Password, "", dial, func(c *client.Conn) error {
		c.SetTLSConfig(conf)
		c.SetAttributes(map[string]string{"program_name": "cdcd"})
		return nil
	})
	if !stop() {
		<-closed
	}
	if err != nil {
		if ctx.Err() != nil && context.Cause(ctx) != nil && !isServerError(err) {
			return nil, fmt.Errorf("connect: %w", errors.Join(context.Cause(ctx), err))
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn := &Conn{c: c, sock: sock}
	if err := sock.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	// The handshake names a collation that MariaDB does not know.
	if _, err := conn.Query(ctx, "SET NAMES utf8mb4"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

func isServerError(err error) bool {
	_, ok := errors.AsType[*mysql.MyError](err)
	return ok
}

// guarded runs f, and release when ctx ends before f does. Nothing of it is
// left running when it returns.
func guarded(ctx context.Context, release func(), f func() error) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		release()
	})
	err := f()
	if !stop() {
		<-done
	}
	return err
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Version is what the server calls itself, such as "10.11.6-MariaDB-log".
func (c *Conn) Version() string { return c.c.GetServerVersion() }

// Flavor is whose server it is.
func (c *Conn) Flavor() gtid.Flavor {
	if strings.Contains(strings.ToLower(c.Version()), "mariadb") {
		return gtid.MariaDB
	}
	return gtid.MySQL
}

// Query runs one statement and returns its rows as text; NULL is "".
func (c *Conn) Query(ctx context.Context, sql string) (rows [][]string, err error) {
	_, rows, err = c.Table(ctx, sql)
	return rows, err
}

// Table is Query with the names of the columns.
func (c *Conn) Table(ctx context.Context, sql string) (names []string, rows [][]string, err error) {
	err = guarded(ctx, func() { c.sock.Conn.Close() }, func() error {
		if err := c.sock.SetDeadline(time.Now().Add(queryTimeout)); err != nil {
			return err
		}
		r, err := c.c.Execute(sql)
		if err != nil {
			return fmt.Errorf("%w in: %.100s", err, sql)
		}
		defer r.Close()
		if r.Resultset == nil {
			return nil
		}
		for _, f := range r.Fields {
			names = append(names, string(f.Name))
		}
		rows = make([][]string, r.RowNumber())
		for i := range rows {
			rows[i] = make([]string, r.ColumnNumber())
			for k := range rows[i] {
				text, err := r.GetString(i, k)
				if err != nil {
					return err
				}
				rows[i][k] = strings.Clone(text) // a view of what Close gives back
			}
		}
		return c.sock.SetDeadline(time.Time{})
	})
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return names, rows, err
}

// Value returns the only cell of a statement's result, or "" for no row.
func (c *Conn) Value(ctx context.Context, sql string) (string, error) {
	rows, err := c.Query(ctx, sql)
	if err != nil || len(rows) == 0 || len(rows[0]) == 0 {
		return "", err
	}
	return rows[0][0], nil
}

// Code returns the server's error code in err's chain, or 0.
func Code(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MyError](err); ok {
		return e.Code
	}
	return 0
}

// Quote makes a string literal of text.
func Quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
