package examine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/checkup"
)

// setting is how a variable of the log should be.
type setting struct {
	name  string
	want  string
	level checkup.Level
	why   string
	note  string // follows the statements
}

// settings are the variables with one right value. Those that a server does
// not have are not looked at: they came with later releases, and the old
// behaviour is the good one.
var settings = []setting{
	{"binlog_format", "ROW", checkup.Failed, "changes are written as statements, which say nothing about rows",
		"-- sessions that are open keep the old format: let all clients connect anew"},
	{"binlog_row_image", "FULL", checkup.Warning, "columns that did not change are absent from updates and deletes, and keys may be all that a delete has", ""},
	{"binlog_row_metadata", "FULL", checkup.Warning,
		"the log has no names of columns: they come from the log's own DDL and the catalog, and a table altered while cdcd is far behind can stop it", ""},
	{"binlog_row_value_options", "", checkup.Warning, "updates of JSON columns hold the changed parts only, from which the document has to be put together", ""},
	{"sync_binlog", "1", checkup.Warning, "when the server's machine crashes, transactions that were already delivered can be gone from the server", ""},
	{"innodb_flush_log_at_trx_commit", "1", checkup.Warning, "when the server's machine crashes, transactions that were already delivered can be gone from the server", ""},
}

// log checks that the server writes a log, and how.
func (e *examiner) log(context.Context) error {
	e.judge(e.on("log_bin"), "log_bin is "+e.vars["log_bin"], checkup.Result{Check: "log_bin", Level: checkup.Failed,
		Why: "the server writes no binary log: there is nothing to read", Restart: true,
		Fix: []string{"write log_bin=binlog (and a server_id of its own) into the server's configuration; on MySQL take skip-log-bin out"}})
	for _, s := range settings {
		value, known := e.vars[s.name]
		if !known {
			continue
		}
		want := s.want
		if want == "" {
			want = "''"
		}
		fix := e.set(s.name, want)
		if s.note != "" {
			fix = append(fix, s.note)
		}
		e.judge(strings.EqualFold(value, s.want), fmt.Sprintf("%s is %s", s.name, orEmpty(value)),
			checkup.Result{Check: s.name, Level: s.level, Why: s.why, Fix: fix, SQL: true})
	}
	return nil
}

func orEmpty(value string) string {
	if value == "" {
		return "empty"
	}
	return value
}

// gtidMode checks that positions survive a change of server.
func (e *examiner) gtidMode(context.Context) error {
	if e.maria {
		e.judge(e.on("gtid_strict_mode"), "gtid_strict_mode is "+e.vars["gtid_strict_mode"], checkup.Result{
			Check: "gtid_mode", Level: checkup.Warning, Fix: e.set("gtid_strict_mode", "ON"), SQL: true,
			Why: "a write on the wrong server of a replication set gets a number out of order, and a position then means different rows on different servers"})
		return nil
	}
	mode := e.vars["gtid_mode"]
	level := checkup.Warning
	if e.WantGTIDs {
		level = checkup.Failed
	}
	e.judge(strings.EqualFold(mode, "ON"), "gtid_mode is "+orEmpty(mode), checkup.Result{
		Check: "gtid_mode", Level: level, SQL: true,
		Why: "positions are places in this server's files: another server can't take over, and a server that was reset is hard to tell",
		Fix: []string{"SET PERSIST enforce_gtid_consistency = ON;", "SET PERSIST gtid_mode = OFF_PERMISSIVE;",
			"SET PERSIST gtid_mode = ON_PERMISSIVE;", "SET PERSIST gtid_mode = ON;"}})
	return nil
}

// retentionMin is how long a log should be kept: a weekend of nobody looking.
const retentionMin = 72 * time.Hour

// retention checks how long the server keeps its log.
func (e *examiner) retention(ctx context.Context) error {
	rows, err := e.ask(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return err
	}
	var bytes uint64
	for _, r := range rows {
		n, _ := strconv.ParseUint(r[1], 10, 64)
		bytes += n
	}
	has := fmt.Sprintf("%d files of log, %.1f GiB", len(rows), float64(bytes)/(1<<30))
	keep := e.keep()
	if keep == 0 {
		e.add(checkup.Ok("binlog_retention", "the log is never deleted; %s", has))
		return nil
	}
	e.judge(keep >= retentionMin, fmt.Sprintf("the log is kept for %v; %s", keep, has), checkup.Result{
		Check: "binlog_retention", Level: checkup.Warning, Fix: e.setKeep(retentionMin), SQL: true,
		Why: fmt.Sprintf("a pipeline that stands still for longer than %v has lost its place for ever", keep)})
	if e.Kept > 0 {
		e.judge(keep >= e.Kept, fmt.Sprintf("the log is kept for %v, messages for %v", keep, e.Kept), checkup.Result{
			Check: "stream_retention", Level: checkup.Warning, Fix: e.setKeep(e.Kept), SQL: true,
			Why: fmt.Sprintf("a stream that is lost can be written anew from the log only for its last %v", keep)})
	}
	return nil
}

// lag compares how far the pipeline is behind with how long the log is kept. On
// a server without changes an old position is no lag.
func (e *examiner) lag(ctx context.Context) error {
	keep := e.keep()
	if e.Delivered.IsZero() || keep == 0 {
		return nil
	}
	rows, err := e.ask(ctx, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW BINLOG STATUS")
	if err != nil || len(rows) == 0 {
		return err
	}
	if e.LogPos == rows[0][0]+":"+rows[0][1] {
		e.add(checkup.Ok("position_retention", "the pipeline has delivered all that the log has"))
		return nil
	}
	behind := e.Now().Sub(e.Delivered).Round(time.Second)
	bad := checkup.Result{Check: "position_retention", Level: checkup.Warning, SQL: true,
		Why: fmt.Sprintf("in %v the server deletes what is not delivered yet", keep-behind),
		Fix: append(e.setKeep(2*keep), "-- and start the pipeline, or see why it is slow")}
	if behind >= keep {
		bad.Level, bad.Why = checkup.Failed, "the server may have deleted what is not delivered yet"
	}
	e.judge(behind < keep*3/4, fmt.Sprintf("the pipeline is %v behind, at %s; the log is kept for %v", behind, e.LogPos, keep), bad)
	return nil
}

// keepMax is the longest that MariaDB takes: 99 days.
const keepMax = 99 * 24 * time.Hour

// setKeep returns the statement that has the log kept for as long, in whole days
// where the server knows no seconds.
func (e *examiner) setKeep(d time.Duration) []string {
	d = min(d, keepMax)
	if _, ok := e.vars["binlog_expire_logs_seconds"]; !ok {
		return e.set("expire_logs_days", strconv.Itoa(int((d+24*time.Hour-1)/(24*time.Hour))))
	}
	return e.set("binlog_expire_logs_seconds", strconv.Itoa(int(d/time.Second)))
}

// keep returns for how long the log is kept; 0 for ever.
func (e *examiner) keep() time.Duration {
	if auto, ok := e.vars["binlog_expire_logs_auto_purge"]; ok && strings.EqualFold(auto, "OFF") {
		return 0
	}
	seconds, _ := strconv.ParseFloat(e.vars["binlog_expire_logs_seconds"], 64)
	days, _ := strconv.ParseFloat(e.vars["expire_logs_days"], 64)
	if seconds == 0 {
		seconds = days * 86400
	}
	return time.Duration(seconds) * time.Second
}

// logFilters checks that no schema is left out of the log.
func (e *examiner) logFilters(ctx context.Context) error {
	rows, err := e.ask(ctx, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW BINLOG STATUS")
	if err != nil {
		if denied(err) {
			return nil // replication_grant says so
		}
		return err
	}
	if len(rows) == 0 || len(rows[0]) < 4 {
		return nil // no log: log_bin says so
	}
	do, ignore := rows[0][2], rows[0][3]
	var missing []string
	for _, db := range e.followedDBs() {
		if slices.Contains(strings.Split(ignore, ","), db) || do != "" && !slices.Contains(strings.Split(do, ","), db) {
			missing = append(missing, db)
		}
	}
	switch {
	case len(missing) > 0:
		e.add(checkup.Result{Check: "binlog_filters", Level: checkup.Failed, Restart: true,
			Found: "the server leaves schemas out of its log: " + strings.Join(missing, ", "), Why: "their changes are nowhere to be read",
			Fix: []string{"take binlog-do-db and binlog-ignore-db out of the server's configuration"}})
	case do+ignore != "":
		e.add(checkup.Result{Check: "binlog_filters", Level: checkup.Warning, Restart: true,
			Found: fmt.Sprintf("binlog_do_db=%s binlog_ignore_db=%s", do, ignore),
			Why:   "changes of other schemas, and on MySQL statements under another default schema, are not in the log",
			Fix:   []string{"take binlog-do-db and binlog-ignore-db out of the server's configuration"}})
	default:
		e.add(checkup.Ok("binlog_filters", "the log has all schemas"))
	}
	return nil
}

// followedDBs returns the schemas that the patterns name one by one.
func (e *examiner) followedDBs() (dbs []string) {
	if e.Filter == nil {
		return nil
	}
	for _, n := range e.Filter.Named() {
		if !slices.Contains(dbs, n.DB) {
			dbs = append(dbs, n.DB)
		}
	}
	return dbs
}
