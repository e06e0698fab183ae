package scan

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
)

// Load is how busy a server is.
type Load struct {
	ThreadsRunning int           // that work right now, this question's own included
	Lag            time.Duration // of a server that is a replica itself; valid if LagKnown
	LagKnown       bool
	// Waiting is how many commits wait for a replica's acknowledgement
	// (semi-synchronous replication), a sign that replicas suffer.
	Waiting int
	// History is how many transactions' old row versions InnoDB keeps: it grows
	// while a snapshot stays open. 0 where the account may not ask.
	History int64
}

// Load asks how busy the server is.
func (c *Conn) Load(ctx context.Context) (l Load, err error) {
	if err := c.ready(ctx); err != nil {
		return l, err
	}
	rows, err := c.query(ctx, nil, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_running', 'Rpl_semi_sync_source_wait_sessions', "+
		"'Rpl_semi_sync_master_wait_sessions', 'Innodb_history_list_length')")
	if err != nil {
		return l, err
	}
	for _, r := range rows {
		n, err := strconv.ParseInt(r[1], 10, 64)
		if err != nil {
			continue // of what a later version calls by the name, nothing is known
		}
		switch strings.ToLower(r[0]) {
		case "threads_running":
			l.ThreadsRunning = int(n)
		case "innodb_history_list_length":
			l.History = n
		default:
			l.Waiting = int(n)
		}
	}
	if c.flavor == gtid.MySQL {
		rows, err := c.c.Query(ctx, "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'")
		if err == nil && len(rows) == 1 {
			l.History, _ = strconv.ParseInt(rows[0][0], 10, 64) // 0 for what is no number
		} else if err != nil && replica.Code(err) == 0 {
			return l, c.lostOr(ctx, err)
		}
	}
	l.Lag, l.LagKnown, err = c.lag(ctx)
	return l, err
}

// lag asks a replica how far it is behind: the worst of its channels. An account
// without the privilege to ask is told nothing.
func (c *Conn) lag(ctx context.Context) (worst time.Duration, known bool, err error) {
	for _, sql := range []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"} {
		names, rows, err := c.c.Table(ctx, sql)
		switch {
		case err == nil:
		case replica.Code(err) == errParse:
			continue
		case replica.Code(err) != 0:
			return 0, false, nil
		default:
			return 0, false, c.lostOr(ctx, err)
		}
		at := slices.IndexFunc(names, func(n string) bool { return n == "Seconds_Behind_Source" || n == "Seconds_Behind_Master" })
		for _, r := range rows {
			if at < 0 {
				break
			}
			if n, err := strconv.Atoi(r[at]); err == nil { // NULL while replication stands
				worst, known = max(worst, time.Duration(n)*time.Second), true
			}
		}
		return worst, known, nil
	}
	return 0, false, nil
}
