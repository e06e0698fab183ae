package examine_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/mysql/examine"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// look examines a server as a pipeline that follows shop.* would.
func look(t *testing.T, dsn string, change func(*examine.Request)) []checkup.Result {
	t.Helper()
	target, err := replica.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	filter, faults := tables.New([]string{"shop.*"})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	// A number of its own: the server may not have noticed yet that the last one who
	// looked is gone.
	r := examine.Request{Target: target, Filter: filter, ServerID: 1<<30 | rand.Uint32(), Now: time.Now}
	if change != nil {
		change(&r)
	}
	return examine.Run(t.Context(), r)
}

// not returns the checks that did not come out well, with their level.
func not(results []checkup.Result) map[string]string {
	bad := map[string]string{}
	for _, r := range results {
		if r.Level != checkup.OK {
			bad[r.Check] = r.Level.String()
		}
	}
	return bad
}

// mend runs the statements of all results that have some, as a person would.
func mend(t *testing.T, db *testserver.DB, results []checkup.Result) {
	t.Helper()
	for _, r := range results {
		for _, fix := range r.Fix {
			if statement, _, _ := strings.Cut(fix, "--"); r.SQL && statement != "" {
				db.Exec(t, strings.TrimSuffix(strings.TrimSpace(statement), ";"))
			}
		}
	}
}

// A server with everything set badly: each finding's statements mend it.
func TestStatementsMendTheServer(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.heap (a INT)", "CREATE TABLE shop.isam (a INT PRIMARY KEY) ENGINE=MyISAM",
			"CREATE TABLE shop.fine (a INT PRIMARY KEY)", "SET GLOBAL binlog_format = MIXED", "SET GLOBAL binlog_row_image = MINIMAL",
			"SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2", "SET GLOBAL binlog_expire_logs_seconds = 3600")
		db.Exec(t, map[string]string{"mysql": "SET GLOBAL binlog_row_metadata = MINIMAL", "mariadb": "SET GLOBAL binlog_row_metadata = NO_LOG"}[db.Flavor])
		want := map[string]string{"binlog_format": "failed", "binlog_row_image": "warning", "binlog_row_metadata": "warning", "sync_binlog": "warning",
			"innodb_flush_log_at_trx_commit": "warning", "binlog_retention": "warning", "primary_keys": "warning", "engines": "warning"}
		if db.Flavor == "mysql" {
			db.Exec(t, "SET GLOBAL binlog_row_value_options = PARTIAL_JSON")
			want["binlog_row_value_options"] = "warning"
		} else {
			want["gtid_mode"] = "warning" // gtid_strict_mode is off by default
		}
		results := look(t, db.DSN(), nil)
		if diff := cmp.Diff(want, not(results)); diff != "" {
			t.Fatalf("findings:\n%s\n%v", diff, results)
		}
		for _, r := range results {
			if r.Level != checkup.OK && (r.Why == "" || len(r.Fix) == 0 || r.Found == "") {
				t.Errorf("says too little: %+v", r)
			}
		}
		mend(t, db, results)
		if left := not(look(t, db.DSN(), nil)); len(left) > 0 {
			t.Errorf("the statements did not mend %v", left)
		}
	})
}

// TestCascades: what foreign keys do is in the log of recent servers alone.
func TestCascades(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.p (a INT PRIMARY KEY)",
			"CREATE TABLE shop.fine (a INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.p (a))")
		if level := not(look(t, db.DSN(), nil))["cascades"]; level != "" {
			t.Errorf("without actions: %s", level)
		}
		db.Exec(t, "CREATE TABLE shop.c (a INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.p (a) ON DELETE CASCADE)",
			"CREATE DATABASE other", "CREATE TABLE other.c (a INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.p (a) ON DELETE SET NULL)")
		for _, r := range look(t, db.DSN(), nil) {
			if r.Check != "cascades" {
				continue
			}
			if warned := strings.Contains(r.Found, "shop.c ("); warned != (db.Flavor == "mariadb") || strings.Contains(r.Found, "other") || strings.Contains(r.Found, "fine") {
				t.Errorf("%+v", r)
			}
		}
	})
}

// An account that may do nothing: the GRANTs that are named are enough.
func TestGrants(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
		db.CreateUser(t, "poor", "secret-word", "USAGE ON *.*")
		named, faults := tables.New([]string{"shop.orders"})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		follow := func(r *examine.Request) { r.Filter = named }
		results := look(t, db.UserDSN("poor", "secret-word"), follow)
		bad := not(results)
		for _, check := range []string{"tables", "log_status_grant", "replication_grant"} {
			if bad[check] == "" || bad[check] == "ok" {
				t.Errorf("%s is not found: %v", check, bad)
			}
		}
		var grants []checkup.Result
		for _, r := range results {
			if slices.Contains([]string{"tables", "log_status_grant", "replication_grant"}, r.Check) {
				grants = append(grants, r)
			}
		}
		mend(t, db, grants)
		bad = not(look(t, db.UserDSN("poor", "secret-word"), follow))
		for _, check := range []string{"tables", "log_status_grant", "replication_grant", "binlog_retention"} {
			if bad[check] == "failed" || bad[check] == "skipped" {
				t.Errorf("%s is %s after the statements", check, bad[check])
			}
		}
		if db.Flavor == "mysql" {
			if bad["log_status_grant"]+bad["replication_grant"] != "" {
				t.Errorf("grants are not enough: %v", bad)
			}
		}
		for _, r := range look(t, db.UserDSN("poor", "not-the-password"), follow) {
			if r.Check != "reachable" || r.Level != checkup.Failed || strings.Contains(r.Found+strings.Join(r.Fix, ""), "not-the-password") {
				t.Errorf("a wrong password: %+v", r)
			}
		}
	})
}

// What only a restart changes: no log, no GTIDs where they are wanted, a log
// without the followed schema.
func TestServersThatCannotBeRead(t *testing.T) {
	t.Run("no log", func(t *testing.T) {
		db := testserver.MySQL(t, testserver.Args("--skip-log-bin"))
		if r := find(t, look(t, db.DSN(), nil), "log_bin"); r.Level != checkup.Failed || !r.Restart {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no gtids", func(t *testing.T) {
		db := testserver.MySQL(t, testserver.NoGTID())
		if r := find(t, look(t, db.DSN(), nil), "gtid_mode"); r.Level != checkup.Warning {
			t.Errorf("%+v", r)
		}
		results := look(t, db.DSN(), func(r *examine.Request) { r.WantGTIDs = true })
		r := find(t, results, "gtid_mode")
		if r.Level != checkup.Failed {
			t.Errorf("%+v", r)
		}
		mend(t, db, []checkup.Result{r})
		if r := find(t, look(t, db.DSN(), nil), "gtid_mode"); r.Level != checkup.OK {
			t.Errorf("after the statements: %+v", r)
		}
	})
	t.Run("filtered log", func(t *testing.T) {
		named, _ := tables.New([]string{"shop.orders"})
		db := testserver.MariaDB(t, testserver.Args("--binlog-ignore-db=shop"))
		if r := find(t, look(t, db.DSN(), func(r *examine.Request) { r.Filter = named }), "binlog_filters"); r.Level != checkup.Failed {
			t.Errorf("%+v", r)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		db := testserver.MariaDB(t)
		db.Stop()
		results := look(t, db.DSN(), nil)
		if len(results) != 1 || results[0].Check != "reachable" || results[0].Level != checkup.Failed || results[0].SQL {
			t.Errorf("%+v", results)
		}
	})
	t.Run("the server's own number", func(t *testing.T) {
		db := testserver.MariaDB(t)
		id := db.Value(t, "SELECT @@server_id")
		results := look(t, db.DSN(), func(r *examine.Request) { r.ServerID = atoi(id) })
		if r := find(t, results, "server_id"); r.Level != checkup.Failed {
			t.Errorf("%+v", r)
		}
	})
	t.Run("clocks apart", func(t *testing.T) {
		db := testserver.MariaDB(t)
		results := look(t, db.DSN(), func(r *examine.Request) { r.Now = func() time.Time { return time.Now().Add(time.Hour) } })
		if r := find(t, results, "clock"); r.Level != checkup.Warning || !strings.Contains(r.Found, "-1h0m") && !strings.Contains(r.Found, "-59m5") {
			t.Errorf("%+v", r)
		}
	})
}

func atoi(s string) (n uint32) {
	for _, c := range s {
		n = n*10 + uint32(c-'0')
	}
	return n
}

// A stream that keeps messages for longer than the server keeps its log can't
// be written anew as a whole; the statement mends that.
func TestMessagesKeptLongerThanTheLog(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 345600") // 4 days
		level := func(kept time.Duration) (checkup.Level, []checkup.Result) {
			t.Helper()
			results := look(t, db.DSN(), func(r *examine.Request) { r.Kept = kept })
			for _, r := range results {
				if r.Check == "stream_retention" {
					return r.Level, []checkup.Result{r}
				}
			}
			return checkup.Skipped, nil
		}
		for kept, want := range map[time.Duration]checkup.Level{0: checkup.Skipped, 96 * time.Hour: checkup.OK, 72 * time.Hour: checkup.OK} {
			if got, _ := level(kept); got != want {
				t.Errorf("messages kept for %v: %v, want %v", kept, got, want)
			}
		}
		bad, results := level(7 * 24 * time.Hour)
		if bad != checkup.Warning {
			t.Fatalf("messages kept for 7 days: %v", bad)
		}
		mend(t, db, results)
		if got, _ := level(7 * 24 * time.Hour); got != checkup.OK {
			t.Errorf("mended: %v", got)
		}
	})
}
