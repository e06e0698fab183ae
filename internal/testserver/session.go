package testserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// Session is one connection as root, for load that keeps a transaction open
// over several statements. It is used by one goroutine at a time.
type Session struct{ conn *client.Conn }

// Session opens a connection; the caller closes it.
func (db *DB) Session() (*Session, error) {
	conn, err := db.connect()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", db.Flavor, err)
	}
	return &Session{conn}, nil
}

// Exec runs a statement and returns how many rows it changed.
func (s *Session) Exec(sql string) (rows uint64, err error) {
	result, err := s.conn.Execute(sql)
	if err != nil {
		return 0, fmt.Errorf("%w in: %.200s", err, sql)
	}
	defer result.Close()
	return result.AffectedRows, nil
}

// Query returns a statement's rows as text; NULL comes back as "NULL".
func (s *Session) Query(sql string) ([][]string, error) {
	result, err := s.conn.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%w in: %.200s", err, sql)
	}
	defer result.Close()
	rows := make([][]string, result.RowNumber())
	for r := range rows {
		rows[r] = make([]string, result.ColumnNumber())
		for c := range rows[r] {
			rows[r][c] = "NULL"
			if null, _ := result.IsNull(r, c); null {
				continue
			}
			text, err := result.GetString(r, c)
			if err != nil {
				return nil, fmt.Errorf("column %d: %w in: %.200s", c, err, sql)
			}
			rows[r][c] = strings.Clone(text) // a view of a buffer that Close gives back
		}
	}
	return rows, nil
}

// Close ends the connection; the server undoes what is not committed.
func (s *Session) Close() {
	_ = s.conn.Close() // the server may be gone, and often is
}

// ErrorCode returns the number of an error that the server itself reported,
// such as 1213 for a deadlock; 0 for a connection that broke.
func ErrorCode(err error) uint16 {
	if refused, ok := errors.AsType[*mysql.MyError](err); ok {
		return refused.Code
	}
	return 0
}
