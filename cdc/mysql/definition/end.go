package definition

import (
	"context"
	"fmt"
	"strconv"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
)

// Status asks for the end of the log by whatever name the server knows. Its
// first columns are file and position, the fifth is MySQL's set of GTIDs.
func Status(ctx context.Context, c *replica.Conn) (rows [][]string, err error) {
	const syntax = 1064
	for _, sql := range []string{"SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW BINLOG STATUS"} {
		rows, err = c.Query(ctx, sql)
		if replica.Code(err) != syntax {
			return rows, err
		}
	}
	return rows, err
}

// LogEnd returns the end of what the server has written to its log; "" where it
// writes none.
func LogEnd(ctx context.Context, c *replica.Conn) (file string, pos uint64, err error) {
	rows, err := Status(ctx, c)
	if err != nil || len(rows) == 0 || len(rows[0]) < 2 {
		return "", 0, err
	}
	if pos, err = strconv.ParseUint(rows[0][1], 10, 64); err != nil {
		return "", 0, fmt.Errorf("position of the log's end: %w", err)
	}
	return rows[0][0], pos, nil
}
