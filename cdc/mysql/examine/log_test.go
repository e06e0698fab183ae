package examine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/examine"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// find returns the one result of a check.
func find(t *testing.T, results []checkup.Result, check string) checkup.Result {
	t.Helper()
	var found []checkup.Result
	for _, r := range results {
		if r.Check == check {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d results for %s: %v", len(found), check, results)
	}
	return found[0]
}

// TestPositionRetention: how far a pipeline is behind, against how long the
// server keeps its log.
func TestPositionRetention(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 4000", "CREATE DATABASE shop", "CREATE TABLE shop.fine (a INT PRIMARY KEY)")
		behind := func(d time.Duration, pos string) checkup.Result {
			now := time.Now()
			return find(t, look(t, db.DSN(), func(r *examine.Request) {
				r.Delivered, r.LogPos, r.Now = now.Add(-d), pos, func() time.Time { return now }
			}), "position_retention")
		}
		for _, c := range []struct {
			behind time.Duration
			want   checkup.Level
			say    string
		}{
			{2900 * time.Second, checkup.OK, "48m20s behind, at binlog.000001:4; the log is kept for 1h6m40s"},
			{3100 * time.Second, checkup.Warning, "51m40s behind"},
			{4100 * time.Second, checkup.Failed, "1h8m20s behind"},
		} {
			r := behind(c.behind, "binlog.000001:4")
			if r.Level != c.want || !strings.Contains(r.Found, c.say) {
				t.Errorf("%v behind: %+v", c.behind, r)
			}
			if c.want != checkup.OK && (r.Why == "" || len(r.Fix) < 2 || !r.SQL) {
				t.Errorf("says too little: %+v", r)
			}
		}
		if r := behind(3100*time.Second, "binlog.000001:4"); !strings.Contains(r.Why, "in 15m0s ") {
			t.Errorf("does not say when: %+v", r)
		}

		end := db.Query(t, map[string]string{"mysql": "SHOW BINARY LOG STATUS", "mariadb": "SHOW MASTER STATUS"}[db.Flavor])[0]
		if r := behind(5000*time.Second, end[0]+":"+end[1]); r.Level != checkup.OK || !strings.Contains(r.Found, "all that the log has") {
			t.Errorf("at the end of a log without changes: %+v", r)
		}

		mend(t, db, []checkup.Result{behind(4100*time.Second, "binlog.000001:4")})
		if r := behind(4100*time.Second, "binlog.000001:4"); r.Level != checkup.OK || !strings.Contains(r.Found, "kept for 2h13m20s") {
			t.Errorf("after the statements: %+v", r)
		}

		// The longest that both servers take is not exceeded by the advice.
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 5000000")
		mend(t, db, []checkup.Result{behind(5100000*time.Second, "binlog.000001:4")})
		if got := db.Value(t, "SELECT @@global.binlog_expire_logs_seconds"); got != "8553600" {
			t.Errorf("after the statements the log is kept for %s s", got)
		}

		silent := func(what string, d time.Duration) {
			for _, r := range look(t, db.DSN(), func(r *examine.Request) {
				if d != 0 {
					r.Delivered, r.LogPos = time.Now().Add(-d), "binlog.000001:4"
				}
			}) {
				if r.Check == "position_retention" {
					t.Errorf("%s: %+v", what, r)
				}
			}
		}
		silent("nothing delivered yet", 0)
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 0")
		silent("a log that is kept for ever", 4100*time.Second)
	})
}

// TestReplicaUpdates: a replica that does not log what it receives has nothing
// to read.
func TestReplicaUpdates(t *testing.T) {
	start := map[string]func(testing.TB, ...testserver.Option) *testserver.DB{"mysql": testserver.MySQL, "mariadb": testserver.MariaDB}
	for flavor, server := range start {
		t.Run(flavor, func(t *testing.T) {
			primary := server(t)
			if r := find(t, look(t, primary.DSN(), nil), "log_replica_updates"); r.Level != checkup.OK || !strings.Contains(r.Found, "from nobody") {
				t.Errorf("a primary: %+v", r)
			}
			for value, want := range map[string]checkup.Level{"ON": checkup.OK, "OFF": checkup.Failed} {
				replica := server(t, testserver.Args("--log-slave-updates="+value))
				replica.Replicate(t, primary)
				r := find(t, look(t, replica.DSN(), nil), "log_replica_updates")
				if r.Level != want || !strings.Contains(r.Found, "the server is a replica") || r.Restart != (want == checkup.Failed) {
					t.Errorf("%s: %+v", value, r)
				}
				if want == checkup.Failed && !strings.Contains(strings.Join(r.Fix, ""), "_updates=ON") {
					t.Errorf("the way out is not named: %+v", r)
				}
				replica.Promote(t)
			}
		})
	}
}
