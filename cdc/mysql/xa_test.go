package mysql

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// prepareXA makes the tables, on a server whose prepared transactions lock
// nothing but their rows.
func prepareXA(t testing.TB, db *testserver.DB) {
	t.Helper()
	level := "transaction_isolation"
	if db.Flavor == testserver.FlavorMariaDB {
		level = "tx_isolation"
	}
	prepare(t, db)
	db.Exec(t, "SET GLOBAL "+level+"='READ-COMMITTED'", "SET GLOBAL innodb_lock_wait_timeout=5")
}

// xa returns the statements of an XA transaction up to its XA PREPARE.
func xa(id string, statements ...string) []string {
	return append(append([]string{"XA START " + id}, statements...), "XA END "+id, "XA PREPARE "+id)
}

// decide runs statements that end XA transactions. Those of a session that has
// just ended are unknown to others for a moment.
func decide(t testing.TB, db *testserver.DB, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		err := db.Try(sql)
		for deadline := time.Now().Add(60 * time.Second); testserver.ErrorCode(err) == 1397 && time.Now().Before(deadline); err = db.Try(sql) {
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// xaWorkload leaves XA transactions open over other transactions, other files and
// a restart, and returns the ids of the rows that are committed, in order.
func xaWorkload(t testing.TB, db *testserver.DB) (want []int) {
	t.Helper()
	add := func(from, n int) {
		for i := range n {
			want = append(want, from+i)
		}
	}
	prepareXA(t, db)
	db.Exec(t, xa("'a'", insert(1, 3), "SAVEPOINT s", insert(4, 1), "ROLLBACK TO s")...)
	db.Exec(t, insert(100, 2))
	db.Exec(t, xa("'large'", insert(1000, 600), insert(1600, 100))...)
	db.Exec(t, xa("'b','branch'", insert(10, 2))...)
	db.Exec(t, xa("'other','q',7", "INSERT INTO shop.other VALUES (1)")...)
	decide(t, db, "XA COMMIT 'other','q',7")
	db.Exec(t, "FLUSH BINARY LOGS", insert(200, 1))
	db.Exec(t, xa("'gone'", insert(20_000, 3))...)
	db.Restart(t)
	decide(t, db, "XA COMMIT 'b','branch'", "XA ROLLBACK 'gone'", insert(300, 1), "XA COMMIT 'large'")
	db.Exec(t, "XA START 'one'", insert(30_000, 3), "XA END 'one'", "XA COMMIT 'one' ONE PHASE")
	db.Exec(t, "XA START 'one'", insert(5000, 650), "XA END 'one'", "XA COMMIT 'one' ONE PHASE")
	decide(t, db, "XA COMMIT 'a'", insert(400, 1))
	for _, n := range [][2]int{{100, 2}, {200, 1}, {10, 2}, {300, 1}, {1000, 700}, {30_000, 3}, {5000, 650}, {1, 3}, {400, 1}} {
		add(n[0], n[1])
	}
	return want
}

// openXA returns a source that keeps little of prepared transactions.
func openXA(t testing.TB, db *testserver.DB, mode string, change ...func(*Config, *cdc.Env)) *Source {
	src := open(t, db, append(change, with(mode))...)
	src.held = 10_000
	return src
}

func ids(rows []cdctest.RecordedRow) (list []int) {
	for _, r := range rows {
		var id int
		fmt.Sscanf(r.Text, "c shop.orders (id=%d ", &id)
		list = append(list, id)
	}
	return list
}

// TestXA: rows come with XA COMMIT, once, in the order of commit, resumed from
// everywhere.
func TestXA(t *testing.T) {
	test := func(t *testing.T, db *testserver.DB, mode string) {
		want := xaWorkload(t, db)
		if d := cmp.Diff(want, ids(readAll(t, openXA(t, db, mode)))); d != "" {
			t.Fatal(d)
		}
		cdctest.Conform(t, func(t testing.TB) cdc.Source { return openXA(t, db, mode) })
	}
	modes(t, test)
	// Definitions come from the log's statements, for what is read again too.
	noNames := func(t *testing.T, db *testserver.DB) {
		want := xaWorkload(t, db)
		if d := cmp.Diff(want, ids(readAll(t, openXA(t, db, modeAuto)))); d != "" {
			t.Fatal(d)
		}
	}
	beside(t, map[string]func(t *testing.T){
		"mysql/no names":   func(t *testing.T) { noNames(t, testserver.MySQL(t, testserver.Args("--binlog-row-metadata=MINIMAL"))) },
		"mariadb/no names": func(t *testing.T) { noNames(t, testserver.MariaDB(t, testserver.Args("--binlog-row-metadata=NO_LOG"))) },
		"mysql/compressed": func(t *testing.T) {
			test(t, testserver.MySQL(t, testserver.Args("--binlog-transaction-compression=ON")), modeGTID)
		},
		"mariadb/compressed": func(t *testing.T) {
			test(t, testserver.MariaDB(t, testserver.Args("--log-bin-compress=ON", "--log-bin-compress-min-len=10")), modeAuto)
		},
	})
}

// TestXAServerKilled kills the server under prepared transactions while they are
// streamed.
func TestXAServerKilled(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepareXA(t, db)
		src := openXA(t, db, mode)
		s := start(t, src, initial(t, src))
		var want []int
		for round := range 2 {
			a, b := 10*round, 10_000*(round+1)
			db.Exec(t, xa("'a'", insert(a, 2))...)
			db.Exec(t, xa("'b'", insert(b, 600))...)
			if round%2 == 1 {
				s.awaitRows(t, len(want))
			}
			db.Kill()
			if err := db.Start(); err != nil {
				t.Fatal(err)
			}
			decide(t, db, "XA COMMIT 'b'", "XA COMMIT 'a'")
			for i := range 600 {
				want = append(want, b+i)
			}
			want = append(want, a, a+1)
		}
		if d := cmp.Diff(want, ids(s.awaitRows(t, len(want)))); d != "" {
			t.Fatal(d)
		}
	})
}

// preparedAt returns a position with one open XA transaction.
func preparedAt(t testing.TB, src *Source, from cdc.Start) *position.Position {
	t.Helper()
	got, err := cdctest.Read(t, src, from, cdctest.UntilHead(t, src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := position.Decode(got[len(got)-1].End)
	if err != nil || len(p.Prepared) != 1 {
		t.Fatal(p, err)
	}
	return p
}

// TestXABefore: reading begins between XA PREPARE and XA COMMIT. What was
// prepared is found in the log, as far as it goes back.
func TestXABefore(t *testing.T) {
	test := func(t *testing.T, db *testserver.DB, mode string) {
		prepareXA(t, db)
		db.Exec(t, insert(500, 1))
		db.Exec(t, xa("'a'", insert(1, 3))...)
		db.Exec(t, "FLUSH BINARY LOGS", insert(600, 1))
		db.Exec(t, xa("'b'", insert(10_000, 700))...)
		db.Exec(t, xa("'old'", insert(2000, 1))...)
		src := openXA(t, db, mode, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		s := start(t, src, initial(t, src))
		decide(t, db, insert(700, 1), "XA COMMIT 'a'", "XA COMMIT 'b'", insert(800, 1))
		got := ids(s.awaitRows(t, 705))
		if got[0] != 700 || got[1] != 1 || got[4] != 10_000 || got[703] != 10_699 || got[704] != 800 {
			t.Errorf("%v", got)
		}
		for range searchFilesMax {
			db.Exec(t, "FLUSH BINARY LOGS")
		}
		src = openXA(t, db, mode, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		s.stop()
		s = start(t, src, initial(t, src))
		decide(t, db, insert(900, 1), "XA COMMIT 'old'")
		s.fails(t, "xa_prepared_before")
		if batches, _ := s.snapshot(); len(cdctest.Rows(batches)) != 1 {
			t.Error("what was whole before was not delivered")
		}
	}
	modes(t, test)
	t.Run("mysql/compressed", func(t *testing.T) {
		test(t, testserver.MySQL(t, testserver.Args("--binlog-transaction-compression=ON")), modeGTID)
	})
}

// searchFilesMax is how far back assemble looks for an XA PREPARE.
const searchFilesMax = 4

// TestXAElsewhere: a server that did not write the log which was read has the
// transaction by its GTID alone.
func TestXAElsewhere(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepareXA(t, db)
		src := openXA(t, db, modeAuto)
		from := initial(t, src)
		db.Exec(t, insert(1, 3))
		db.Exec(t, xa("'a'", insert(10, 700))...)
		db.Exec(t, insert(20_000, 1))
		p := preparedAt(t, src, from)
		x := p.Prepared[0]
		decide(t, db, "XA COMMIT 'a'")
		resume := func(x position.Prepared) *stream {
			p.Prepared = []position.Prepared{x}
			return start(t, openXA(t, db, modeAuto), cdc.Start{Base: p.Encode()})
		}
		x.Server, x.File, x.Pos = "another", "log.000009", 4
		if got := ids(resume(x).awaitRows(t, 700)); len(got) != 700 || got[0] != 10 {
			t.Errorf("%v", got)
		}
		gone := x
		gone.GTID.Number += 1000
		resume(gone).fails(t, "xa_prepare_lost")
		gone.GTID = gtid.ID{}
		resume(gone).fails(t, "xa_prepare_lost")
	})
}

// TestXAPurged: the log of XA PREPARE is gone when XA COMMIT comes.
func TestXAPurged(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepareXA(t, db)
		src := openXA(t, db, mode)
		from := initial(t, src)
		db.Exec(t, insert(1, 1))
		db.Exec(t, xa("'a'", insert(10, 1))...)
		db.Exec(t, "FLUSH BINARY LOGS", insert(2, 1))
		p := preparedAt(t, src, from)
		file := p.File
		for db.Query(t, "SHOW BINARY LOGS")[0][0] != file { // the reading that ended still holds it for a while
			db.Exec(t, "PURGE BINARY LOGS TO '"+file+"'")
			time.Sleep(50 * time.Millisecond)
		}
		decide(t, db, "XA COMMIT 'a'")
		s := start(t, openXA(t, db, mode), cdc.Start{Base: p.Encode()})
		s.fails(t, "xa_prepare_lost")
	})
}

// TestXAMemory: a prepared transaction of 60 MB takes no more memory than what
// may be held, neither while it waits nor while it is handed out.
func TestXAMemory(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		const rows, bound = 60_000, 40 << 20
		prepareXA(t, db)
		depth := "SET SESSION cte_max_recursion_depth=1000000"
		if db.Flavor == testserver.FlavorMariaDB {
			depth = "SET SESSION max_recursive_iterations=1000000"
		}
		db.Exec(t, append([]string{depth}, xa("'a'", fmt.Sprintf("INSERT INTO shop.orders WITH RECURSIVE s (n) AS "+
			"(SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n, 1, REPEAT('x', 1000) FROM s", rows))...)...)
		decide(t, db, "XA COMMIT 'a'")
		src := open(t, db)
		got, most := 0, uint64(0)
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		err := src.Run(t.Context(), initial(t, src), func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			for i := range b.Rows() {
				got++
				if id := b.Row(i).After().Int(0); id != int64(got) {
					return fmt.Errorf("row %d is %d", got, id)
				}
			}
			runtime.ReadMemStats(&now)
			if most = max(most, now.HeapInuse); got == rows {
				return errDone
			}
			return nil
		})
		if err != errDone {
			t.Fatal(got, err)
		}
		if more := int64(most) - int64(before.HeapInuse); more > bound {
			t.Errorf("%d bytes of memory", more)
		} else {
			t.Logf("%d KiB of memory", more>>10)
		}
	})
}
