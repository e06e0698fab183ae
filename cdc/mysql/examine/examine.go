package examine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/checkup"
)

// Request says what is looked at.
type Request struct {
	Target replica.Target
	Filter *tables.Filter // followed tables; nil for none in particular
	// WantGTIDs is set where the configuration insists on GTIDs.
	WantGTIDs bool
	// ServerID is the id with which the pipeline registers as a replica.
	ServerID uint32
	Now      func() time.Time
	// Delivered and LogPos are how far the pipeline has come, and Kept how long its
	// messages are; see cdc.Examination.
	Delivered time.Time
	LogPos    string
	Kept      time.Duration
}

// Run looks at everything that it can. It ends early when the server can't be
// reached or ctx ends; the results so far are returned, and the last one says so.
func Run(ctx context.Context, r Request) []checkup.Result {
	e := &examiner{Request: r}
	conn, err := replica.Connect(ctx, r.Target)
	if err != nil {
		return []checkup.Result{e.unreachable(err)}
	}
	e.conn, e.maria = conn, conn.Flavor() == gtid.MariaDB
	e.add(checkup.Ok("reachable", "%s answers: %s", r.Target.Addr, conn.Version()))
	for _, look := range []struct {
		check string
		run   func(context.Context) error
	}{
		{"variables", e.readVariables},
		{"tls", e.encryption}, {"auth_plugin", e.plugin},
		{"log_bin", e.log}, {"gtid_mode", e.gtidMode}, {"server_id", e.serverID},
		{"binlog_retention", e.retention}, {"position_retention", e.lag}, {"log_replica_updates", e.role}, {"binlog_filters", e.logFilters},
		{"clock", e.clock}, {"tables", e.tables}, {"primary_keys", e.keys}, {"engines", e.engines}, {"cascades", e.cascades},
		{"replication_grant", e.grants}, // last: it registers the connection as a replica's
	} {
		if err := look.run(ctx); err != nil && !e.skip(ctx, look.check, err) {
			break
		}
	}
	if err := conn.Close(); err != nil && ctx.Err() == nil {
		e.skip(ctx, "close", err)
	}
	return e.results
}

// examiner is one examination.
type examiner struct {
	Request
	conn    *replica.Conn
	maria   bool
	vars    map[string]string // global variables, names in lower case
	results []checkup.Result
}

func (e *examiner) add(r checkup.Result) { e.results = append(e.results, r) }

// judge adds a result that is good, or else the given one.
func (e *examiner) judge(good bool, found string, bad checkup.Result) {
	if good {
		bad = checkup.Result{Check: bad.Check}
	}
	bad.Found = found
	e.add(bad)
}

// skip records a look that failed; false means that no other will do better.
func (e *examiner) skip(ctx context.Context, check string, err error) bool {
	r := checkup.Result{Check: check, Level: checkup.Skipped, Found: "could not be looked at", Why: err.Error()}
	if ctx.Err() != nil {
		r.Why = context.Cause(ctx).Error()
	}
	e.add(r)
	return ctx.Err() == nil && replica.Code(err) != 0
}

func (e *examiner) unreachable(err error) checkup.Result {
	r := checkup.Result{Check: "reachable", Level: checkup.Failed, Found: err.Error(), Why: "nothing can be read",
		Fix: []string{"check host and port in the DSN, that the server runs, and that a firewall lets the connection through"}}
	switch replica.Code(err) {
	case errAccessDenied, errAccessDeniedDB, errAccessDeniedNoPassword:
		r.Fix = []string{
			fmt.Sprintf("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY 'the password of the DSN';", replica.Quote(e.Target.User)),
			fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED BY 'the password of the DSN';", replica.Quote(e.Target.User)),
		}
	}
	return r
}

// Numbers of the servers' errors: what every release has in mysqld_ername.h.
const (
	errAccessDeniedDB         = 1044
	errAccessDenied           = 1045
	errSyntax                 = 1064
	errTableDenied            = 1142
	errColumnDenied           = 1143
	errSpecificDenied         = 1227
	errAccessDeniedNoPassword = 1698
)

func denied(err error) bool {
	switch replica.Code(err) {
	case errAccessDeniedDB, errAccessDenied, errTableDenied, errColumnDenied, errSpecificDenied:
		return true
	}
	return false
}

// readVariables notes how the server is set up.
func (e *examiner) readVariables(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return err
	}
	e.vars = make(map[string]string, len(rows))
	for _, r := range rows {
		e.vars[strings.ToLower(r[0])] = r[1]
	}
	return nil
}

// on reports whether a switch is on; the servers write it in both ways.
func (e *examiner) on(name string) bool {
	return strings.EqualFold(e.vars[name], "ON") || e.vars[name] == "1"
}

// first returns the first variable that the server has: names differ between
// families and releases.
func (e *examiner) first(names ...string) (name, value string) {
	for _, name := range names {
		if value, ok := e.vars[name]; ok {
			return name, value
		}
	}
	return "", ""
}

// set returns the statement that sets a global variable for good. MariaDB has
// none: there it lasts until the server is restarted.
func (e *examiner) set(name, value string) []string {
	if e.maria {
		return []string{fmt.Sprintf("SET GLOBAL %s = %s; -- and %s=%s under [mariadbd] in the server's configuration", name, value, name, value)}
	}
	return []string{fmt.Sprintf("SET PERSIST %s = %s;", name, value)}
}

// ask runs the first of some statements that the server knows.
func (e *examiner) ask(ctx context.Context, statements ...string) (rows [][]string, err error) {
	for _, sql := range statements {
		rows, err = e.conn.Query(ctx, sql)
		if replica.Code(err) != errSyntax {
			return rows, err
		}
	}
	return rows, errors.Join(errors.New("the server knows none of the statements that ask for it"), err)
}
