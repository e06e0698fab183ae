package scan_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
)

// probe is one chunk of a table with one row: its value between two marks.
type probe struct {
	low, high, end *position.Position // end: the log's end before the chunk
	value          int64
}

// change is a transaction of the log that set the value.
type change struct {
	id     gtid.ID
	file   string
	posEnd uint64
	value  int64
}

// TestMarks reads a row again and again while writers change it as fast as they
// can, with a log that is synced at each commit. What a chunk shows is never older
// than its low mark and never newer than its high one; where the low mark is exact,
// it is neither. What the log's end would have made of it is counted.
func TestMarks(t *testing.T) {
	const keyed, unkeyed = "id INT PRIMARY KEY, v BIGINT", "id INT, v BIGINT"
	for _, c := range []struct {
		name, table string
		server      func(testing.TB, ...testserver.Option) *testserver.DB
		opt         testserver.Option
		exact       bool
	}{
		{"mysql", keyed, testserver.MySQL, testserver.Args("--sync-binlog=1"), false},
		{"mysql without a key", unkeyed, testserver.MySQL, testserver.Args("--sync-binlog=1"), true},
		{"mysql without GTIDs", keyed, testserver.MySQL, testserver.NoGTID(), true},
		{"mariadb", keyed, testserver.MariaDB, testserver.Args("--sync-binlog=1"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := c.server(t, c.opt)
			db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t ("+c.table+")", "CREATE TABLE d.other (id INT PRIMARY KEY, v INT)",
				"INSERT INTO d.t VALUES (1, 0)", "INSERT INTO d.other VALUES (1, 0), (2, 0)")
			// A writer holds the table for as long as a sync of the log takes.
			conn := connect(t, db, func(o *scan.Options) { o.LockWait = time.Minute })
			tab := plan(t, conn, "t", scan.TableOptions{})
			if conn.Exact(tab) != c.exact && c.name != "mariadb" || c.name == "mariadb" && !conn.Exact(tab) {
				t.Fatalf("exact is %v", conn.Exact(tab))
			}
			probes := probeUnderFire(t, db, conn, tab)
			changes := valueChanges(t, db)
			early, moved := 0, 0
			for i, p := range probes {
				low, high := covered(t, changes, p.low), covered(t, changes, p.high)
				if p.value < low || p.value > high || c.exact && low != high {
					t.Fatalf("probe %d shows %d, the low mark has %d, the high one %d", i, p.value, low, high)
				}
				if p.value < covered(t, changes, p.end) {
					early++
				}
				if i > 0 && p.value != probes[i-1].value {
					moved++
				}
			}
			t.Logf("%d chunks, %d of them with another value than before; the log's end would have been too late a mark for %d", len(probes), moved, early)
			if moved < 10 {
				t.Error("the writers were too slow for the test to mean anything")
			}
		})
	}
}

// probeUnderFire reads the table for a while.
func probeUnderFire(t *testing.T, db *testserver.DB, conn *scan.Conn, tab *scan.Table) (probes []probe) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for _, sql := range []string{"UPDATE d.t SET v = v + 1", "UPDATE d.other SET v = v + 1 WHERE id = 1", "UPDATE d.other SET v = v + 1 WHERE id = 2"} {
		c := db.Conn(t)
		writers.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Execute(sql); err != nil {
					t.Errorf("%s: %v", sql, err)
					return
				}
			}
		})
	}
	defer writers.Wait()
	defer cancel()
	peek := connect(t, db)
	var b sdk.Builder
	moved := 0
	for start := time.Now(); len(probes) < 200 || moved < 40 && time.Since(start) < 2*time.Minute; {
		p := probe{}
		var err error
		if p.end, err = peek.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.low, err = conn.Low(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		if _, err = conn.Chunk(t.Context(), tab, scan.Range{RowsMax: 10}, func(r *scan.Row) error {
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			err := r.Append(&b, 0)
			p.value = b.After().Int(1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if p.high, err = conn.High(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		if len(probes) > 0 && p.value != probes[len(probes)-1].value {
			moved++
		}
		probes = append(probes, p)
	}
	return probes
}

// valueChanges reads from the log who set the value, in order.
func valueChanges(t *testing.T, db *testserver.DB) (list []change) {
	t.Helper()
	conf := *mysql.Default()
	conf.DSN, conf.Tables = unit.NewSecret(db.DSN()), []string{"d.t"}
	src, err := mysql.New(conf, cdc.Env{Pipeline: "marks"})
	if err != nil {
		t.Fatal(err)
	}
	from, err := src.Initial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := db.Value(t, "SELECT v FROM d.t")
	err = src.Run(t.Context(), cdc.Start{Base: from}, func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		for i := range b.Rows() {
			r := b.Row(i)
			tx := r.Tx()
			ch := change{file: string(tx.File()), posEnd: tx.PosEnd(), value: r.After().Int(1)}
			flavor := gtid.MySQL
			if db.Flavor == testserverMariaDB {
				flavor = gtid.MariaDB
			}
			if id, err := gtid.ParseID(flavor, string(tx.ID())); err == nil { // else a place
				ch.id = id
			}
			list = append(list, ch)
		}
		if len(list) > 0 && string(r64(list[len(list)-1].value)) == want {
			return errRead
		}
		return nil
	})
	if err != errRead {
		t.Fatal(err)
	}
	return list
}

// covered returns the value as it is at a mark.
func covered(t *testing.T, changes []change, mark *position.Position) (v int64) {
	t.Helper()
	for _, c := range changes {
		in := false
		if mark.GTIDs != nil {
			in = mark.GTIDs.Has(c.id)
		} else {
			order, err := position.Compare(mark.File, mark.Pos, c.file, c.posEnd)
			if err != nil {
				t.Fatal(err)
			}
			in = order >= 0
		}
		if in {
			v = max(v, c.value)
		}
	}
	return v
}

// TestLock: without GTIDs a lock is asked for. It is short, does not wait for
// long, and says what is missing where it is not granted.
func TestLock(t *testing.T) {
	db := testserver.MySQL(t, testserver.NoGTID())
	db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	db.CreateUser(t, "poor", "secret", "SELECT ON *.*", "REPLICATION CLIENT ON *.*")
	c := connect(t, db, func(o *scan.Options) { o.Target.User, o.Target.Password = "poor", "secret" })
	tab := plan(t, c, "t", scan.TableOptions{})
	if _, err := c.Low(t.Context(), tab); !fault.HasCode(err, scan.CodeNoLow) || fault.Of(err).Class != fault.Environment {
		t.Errorf("without LOCK TABLES: %v", err)
	}

	c = connect(t, db)
	do := session(t, db)
	do("BEGIN", "INSERT INTO d.t VALUES (2)")
	start := time.Now()
	if _, err := c.Low(t.Context(), tab); !fault.HasCode(err, scan.CodeLockBusy) || fault.Of(err).Class != fault.Retryable {
		t.Errorf("behind a writer: %v", err)
	}
	if took := time.Since(start); took > 30*time.Second { // the server's own limit is a year
		t.Errorf("writers wait behind the lock for %v", took)
	}
	do("COMMIT")
	if _, err := c.Low(t.Context(), tab); err != nil {
		t.Fatal(err)
	}
	do("INSERT INTO d.t VALUES (3)") // no lock is left
	if got := len(readRows(t, c, tab, scan.Range{RowsMax: 10})); got != 2 {
		t.Errorf("%d rows: the snapshot was opened before the third", got)
	}
	if _, err := c.High(t.Context(), tab); err != nil {
		t.Fatal(err)
	}
}

// TestNoLog: without a log there is no mark.
func TestNoLog(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
		c := connect(t, db)
		tab := plan(t, c, "t", scan.TableOptions{})
		_, err := c.Low(t.Context(), tab)
		if err == nil { // MySQL keeps GTIDs without a log too
			_, err = c.High(t.Context(), tab)
		}
		if !fault.HasCode(err, scan.CodeBinlogOff) {
			t.Errorf("%v", err)
		}
	}, testserver.Args("--skip-log-bin"))
}
