package examine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/checkup"
)

// role checks that a server which is itself a replica logs what it receives.
func (e *examiner) role(ctx context.Context) error {
	rows, err := e.ask(ctx, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
	if denied(err) {
		e.add(checkup.Result{Check: "log_replica_updates", Level: checkup.Skipped, Found: "whether the server is a replica can't be seen", Why: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		e.add(checkup.Ok("log_replica_updates", "the server replicates from nobody"))
		return nil
	}
	name, value := e.first("log_replica_updates", "log_slave_updates")
	e.judge(e.on(name), fmt.Sprintf("the server is a replica; %s is %s", name, value), checkup.Result{
		Check: "log_replica_updates", Level: checkup.Failed, Restart: true,
		Why: "what it receives from its primary is not in its own log", Fix: []string{"write " + name + "=ON into the server's configuration"}})
	return nil
}

// clockMax is how far apart two clocks may be before lag means nothing.
const clockMax = time.Second

// clock compares the server's clock with this machine's.
func (e *examiner) clock(ctx context.Context) error {
	before := e.Now()
	text, err := e.conn.Value(ctx, "SELECT UNIX_TIMESTAMP(NOW(6))")
	if err != nil {
		return err
	}
	after := e.Now()
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	middle := before.Add(after.Sub(before) / 2)
	apart := time.UnixMicro(int64(seconds * 1e6)).Sub(middle).Round(time.Millisecond)
	e.judge(apart.Abs() <= clockMax+after.Sub(before)/2, fmt.Sprintf("the server's clock is %v off this machine's", apart), checkup.Result{
		Check: "clock", Level: checkup.Warning, Why: "lag is the difference of the two clocks, and is wrong by as much",
		Fix: []string{"let both machines follow one time server (chrony, systemd-timesyncd)"}})
	return nil
}

// tables checks that the patterns mean something that the account may see.
func (e *examiner) tables(ctx context.Context) error {
	if e.Filter == nil {
		return nil
	}
	for _, n := range e.Filter.Named() {
		want := n.DB + "." + n.Table
		found, err := e.conn.Value(ctx, fmt.Sprintf("SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES "+
			"WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s", replica.Quote(n.DB), replica.Quote(n.Table)))
		if err != nil {
			return err
		}
		if found != want {
			e.add(checkup.Result{Check: "tables", Level: checkup.Failed, Found: fmt.Sprintf("tables[%d]: the account sees no table %s", n.Index, want),
				Why: "its changes would be passed over", SQL: true,
				Fix: []string{"-- correct the name in the configuration, or:", fmt.Sprintf("GRANT SELECT ON %s.* TO %s@'%%';", quoteName(n.DB), replica.Quote(e.Target.User))}})
		}
	}
	followed, err := e.followed(ctx)
	if err != nil {
		return err
	}
	e.judge(len(followed) > 0, fmt.Sprintf("%d followed tables are there", len(followed)), checkup.Result{Check: "tables", Level: checkup.Warning,
		Why: "the patterns meet none that the account may see, so nothing is delivered until one is made", SQL: true,
		Fix: []string{"-- correct the patterns in the configuration, or:", fmt.Sprintf("GRANT SELECT ON *.* TO %s@'%%';", replica.Quote(e.Target.User))}})
	return nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// tableRow is a base table of the server.
type tableRow struct{ db, name, engine string }

// followedMax bounds how many tables a finding lists.
const followedMax = 10

func (e *examiner) followed(ctx context.Context) (all []tableRow, err error) {
	return e.pick(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' ORDER BY 1, 2")
}

func (e *examiner) pick(ctx context.Context, sql string) (all []tableRow, err error) {
	rows, err := e.conn.Query(ctx, sql)
	for _, r := range rows {
		if e.Filter != nil && e.Filter.Match(r[0], r[1]) {
			all = append(all, tableRow{r[0], r[1], r[2]})
		}
	}
	return all, err
}

// list names some tables, and says how many more there are.
func list(all []tableRow, print func(tableRow) string) string {
	var names []string
	for i, t := range all {
		if i == followedMax {
			names = append(names, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		names = append(names, print(t))
	}
	return strings.Join(names, ", ")
}

// keys looks for tables that have no key.
func (e *examiner) keys(ctx context.Context) error {
	if e.Filter == nil {
		return nil
	}
	without, err := e.pick(ctx, "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, COALESCE(t.ENGINE, '') FROM information_schema.TABLES t "+
		"LEFT JOIN information_schema.TABLE_CONSTRAINTS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME "+
		"AND c.CONSTRAINT_TYPE IN ('PRIMARY KEY', 'UNIQUE') WHERE t.TABLE_TYPE = 'BASE TABLE' AND c.TABLE_NAME IS NULL ORDER BY 1, 2")
	if err != nil {
		return err
	}
	fix := []string{}
	for i, t := range without {
		if i < followedMax {
			fix = append(fix, fmt.Sprintf("ALTER TABLE %s.%s ADD COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY;", quoteName(t.db), quoteName(t.name)))
		}
	}
	found := "all followed tables have a key"
	if len(without) > 0 {
		found = "without a primary or unique key: " + list(without, func(t tableRow) string { return t.db + "." + t.name })
	}
	e.judge(len(without) == 0, found, checkup.Result{Check: "primary_keys", Level: checkup.Warning, Fix: fix, SQL: true,
		Why: "their rows can't be told apart: consumers see every change, and can't keep a copy by key"})
	return nil
}

// engines looks for tables whose changes can't be rolled back.
func (e *examiner) engines(ctx context.Context) error {
	if e.Filter == nil {
		return nil
	}
	rows, err := e.conn.Query(ctx, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'")
	if err != nil {
		return err
	}
	transactional := map[string]bool{}
	for _, r := range rows {
		transactional[strings.ToLower(r[0])] = true
	}
	followed, err := e.followed(ctx)
	if err != nil {
		return err
	}
	var bad []tableRow
	for _, t := range followed {
		if !transactional[strings.ToLower(t.engine)] {
			bad = append(bad, t)
		}
	}
	fix := []string{}
	for i, t := range bad {
		if i < followedMax {
			fix = append(fix, fmt.Sprintf("ALTER TABLE %s.%s ENGINE = InnoDB;", quoteName(t.db), quoteName(t.name)))
		}
	}
	found := "all followed tables are transactional"
	if len(bad) > 0 {
		found = "not transactional: " + list(bad, func(t tableRow) string { return t.db + "." + t.name + " (" + t.engine + ")" })
	}
	e.judge(len(bad) == 0, found, checkup.Result{Check: "engines", Level: checkup.Warning, Fix: fix, SQL: true,
		Why: "their changes stay when a transaction is rolled back, and a crash can part table and log"})
	return nil
}
