package scan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// chunk reads a chunk between its marks.
func chunk(t testing.TB, c *scan.Conn, tab *scan.Table, r scan.Range, add func(*scan.Row) error) (scan.Done, error) {
	t.Helper()
	if _, err := c.Low(t.Context(), tab); err != nil {
		t.Fatal(err)
	}
	if add == nil {
		add = func(*scan.Row) error { return nil }
	}
	done, err := c.Chunk(t.Context(), tab, r, add)
	if err == nil {
		if _, err := c.High(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
	}
	return done, err
}

// TestBounds: a chunk ends with the row that reaches its bytes, whatever its rows
// are wide, and reading goes on behind it.
func TestBounds(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY, doc LONGBLOB)", "CREATE TABLE d.empty (n INT PRIMARY KEY)",
			"CREATE TABLE d.one (n INT PRIMARY KEY)", "INSERT INTO d.one VALUES (7)", "SET GLOBAL max_allowed_packet = 1073741824")
		c := connect(t, db)
		empty := plan(t, c, "empty", scan.TableOptions{})
		if done, err := chunk(t, c, empty, scan.Range{RowsMax: 5}, nil); err != nil || !done.End || done.Rows != 0 || done.Last != nil {
			t.Errorf("empty: %+v, %v", done, err)
		}
		if k, err := c.Last(t.Context(), empty); err != nil || k != nil {
			t.Errorf("the last key of nothing is %s, %v", k, err)
		}
		if got := readOrder(t, c, plan(t, c, "one", scan.TableOptions{}), 1, scan.Range{}); !cmp.Equal(got, []int64{7}) {
			t.Errorf("one: %v", got)
		}

		sizes := []int{10, 10, 20 << 20, 10, 17<<20 - 3, 70_000, 10, 16<<20 - 40, 10, 10}
		for i, n := range sizes {
			db.Exec(t, fmt.Sprintf("INSERT INTO d.t VALUES (%d, REPEAT('x', %d))", i, n))
		}
		tab := plan(t, c, "t", scan.TableOptions{})
		var got, rows []int
		var b sdk.Builder
		for after := scan.Key(nil); ; {
			done, err := chunk(t, c, tab, scan.Range{After: after, RowsMax: 4, BytesMax: 1 << 20}, func(r *scan.Row) error {
				b.Reset()
				b.BeginTx(sdk.TxInfo{})
				err := r.Append(&b, 0)
				got = append(got, len(b.Seal([]*sdk.Schema{nil}).Row(0).After().Bytes(1)))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, done.Rows)
			if done.End {
				break
			}
			after = done.Last
		}
		if d := cmp.Diff(sizes, got); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]int{3, 2, 3, 2}, rows); d != "" {
			t.Error("chunks", d)
		}
	})
}

// TestRowLarge: a row beyond the bound is refused before it is in memory, and
// the next chunk has a new connection.
func TestRowLarge(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY, doc LONGBLOB)", "SET GLOBAL max_allowed_packet = 1073741824")
		db.Exec(t, "INSERT INTO d.t VALUES (1, REPEAT('x', 1000)), (2, REPEAT('x', 1000))", "INSERT INTO d.t VALUES (3, REPEAT('x', 2000000))",
			"INSERT INTO d.t VALUES (4, REPEAT('x', 20000000))")
		c := connect(t, db, func(o *scan.Options) { o.RowBytesMax = 1 << 20 })
		tab := plan(t, c, "t", scan.TableOptions{})
		rows := 0
		for _, max := range []int{3, 4} {
			_, err := chunk(t, c, tab, scan.Range{RowsMax: max}, func(*scan.Row) error { rows++; return nil })
			if !fault.HasCode(err, scan.CodeLarge) || fault.Of(err).Path != "d.t" {
				t.Errorf("%v", err)
			}
		}
		if _, err := chunk(t, c, tab, scan.Range{RowsMax: 2}, func(*scan.Row) error { rows++; return nil }); err != nil || rows != 6 {
			t.Errorf("%d rows, %v", rows, err)
		}
	})
}

// TestOptions: predicates, lists of columns, and the columns that no SELECT *
// shows.
func TestOptions(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", `CREATE TABLE d.t (n INT PRIMARY KEY, a INT, b VARCHAR(10) INVISIBLE DEFAULT 'inv', v INT AS (a + 1) VIRTUAL,
			s INT AS (a * 2) STORED, u INT NOT NULL, UNIQUE KEY (u))`,
			"INSERT INTO d.t (n, a, u) VALUES (1, 10, 9), (2, NULL, 8), (3, 30, 7), (4, 40, 6), (5, 50, 5)")
		c := connect(t, db)
		all := func(o scan.TableOptions, size int) (rows []string) {
			t.Helper()
			tab := plan(t, c, "t", o)
			for r := (scan.Range{RowsMax: size}); ; {
				if _, err := c.Low(t.Context(), tab); err != nil {
					t.Fatal(err)
				}
				var b sdk.Builder
				done, err := c.Chunk(t.Context(), tab, r, func(row *scan.Row) error {
					b.Reset()
					b.BeginTx(sdk.TxInfo{})
					err := row.Append(&b, 0)
					text := ""
					for i := range tab.Schema.Columns {
						text += show(&tab.Schema.Columns[i], b.After(), i) + " "
					}
					rows = append(rows, strings.TrimSpace(text))
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if done.Rows > size {
					t.Errorf("%d rows in a chunk of %d", done.Rows, size)
				}
				if done.End {
					return rows
				}
				r.After = done.Last
			}
		}
		for size := 1; size < 7; size++ {
			for _, k := range []struct {
				o    scan.TableOptions
				want []string
			}{
				{scan.TableOptions{}, []string{"1 10 inv 11 20 9", "2 NULL inv NULL NULL 8", "3 30 inv 31 60 7", "4 40 inv 41 80 6", "5 50 inv 51 100 5"}},
				{scan.TableOptions{Where: "a > 30 OR n = 1 -- and more"}, []string{"1 10 inv 11 20 9", "4 40 inv 41 80 6", "5 50 inv 51 100 5"}},
				{scan.TableOptions{Where: "FALSE"}, nil},
				{scan.TableOptions{Columns: []string{"V", "b"}}, []string{"1 - inv 11 - -", "2 - inv NULL - -", "3 - inv 31 - -", "4 - inv 41 - -", "5 - inv 51 - -"}},
				{scan.TableOptions{Columns: []string{"a"}, Where: "b = 'inv' AND n < 3"}, []string{"1 10 - - - -", "2 NULL - - - -"}},
			} {
				if d := cmp.Diff(k.want, all(k.o, size)); d != "" {
					t.Errorf("%+v in chunks of %d: %s", k.o, size, d)
				}
			}
		}
	})
}

// TestPlanFaults: what can't be planned says why, and how it could.
func TestPlanFaults(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY)", "CREATE VIEW d.v AS SELECT * FROM d.t", "CREATE TABLE d.my (n INT PRIMARY KEY) ENGINE=MyISAM",
			"CREATE TABLE d.none (n INT, v VARCHAR(20) NOT NULL, UNIQUE KEY (n), UNIQUE KEY (v(3)), KEY (v))", "CREATE TABLE d.prefix (v VARCHAR(100), PRIMARY KEY (v(10)))",
			"CREATE TABLE d.labels (s SET('a','b') PRIMARY KEY)", "CREATE TABLE d.two (v VARCHAR(20) NOT NULL, n BIGINT NOT NULL, UNIQUE KEY (v), UNIQUE KEY number (n))")
		for _, table := range []string{"none", "prefix", "labels"} {
			db.Exec(t, "INSERT INTO d."+table+" VALUES ("+map[string]string{"none": "1, 'abc'", "prefix": "'x'", "labels": "'a'"}[table]+")")
		}
		if db.Flavor == testserverMariaDB {
			db.Exec(t, "CREATE TABLE d.versions (n INT PRIMARY KEY) WITH SYSTEM VERSIONING")
		} else {
			db.Exec(t, "CREATE VIEW d.versions AS SELECT * FROM d.t")
		}
		db.CreateUser(t, "poor", "secret", "SELECT ON d.two")
		c := connect(t, db)
		for _, k := range []struct {
			table, code string
			class       fault.Class
			o           scan.TableOptions
		}{
			{"absent", scan.CodeNoTable, fault.Fatal, scan.TableOptions{}},
			{"v", scan.CodeEngine, fault.Fatal, scan.TableOptions{}},
			{"my", scan.CodeEngine, fault.Fatal, scan.TableOptions{}},
			{"versions", scan.CodeEngine, fault.Fatal, scan.TableOptions{}},
			{"none", scan.CodeNoKey, fault.Fatal, scan.TableOptions{UnkeyedRowsMax: -1}},
			{"prefix", scan.CodeNoKey, fault.Fatal, scan.TableOptions{UnkeyedRowsMax: -1}},
			{"labels", scan.CodeNoKey, fault.Fatal, scan.TableOptions{UnkeyedRowsMax: -1}},
			{"t", scan.CodeColumns, fault.Config, scan.TableOptions{Columns: []string{"x"}}},
			{"t", scan.CodeWhere, fault.Config, scan.TableOptions{Where: "x = 1"}},
			{"t", scan.CodeWhere, fault.Config, scan.TableOptions{Where: "n = 1)"}},
			{"t", scan.CodeWhere, fault.Config, scan.TableOptions{Where: "n = "}},
			{"t", scan.CodeChanged, fault.Retryable, scan.TableOptions{Schema: &sdk.Schema{DB: "d", Table: "t"}}},
		} {
			_, err := c.Plan(t.Context(), tables.Name{DB: "d", Table: k.table}, k.o)
			if !fault.HasCode(err, k.code) || fault.Of(err).Class != k.class || fault.Of(err).Hint == "" || fault.Of(err).Path != "d."+k.table {
				t.Errorf("%s %+v: %v", k.table, k.o, err)
			}
		}
		if tab := plan(t, c, "two", scan.TableOptions{}); tab.KeyName != "number" || !cmp.Equal(tab.KeyColumns, []int{1}) {
			t.Errorf("chose %s %v", tab.KeyName, tab.KeyColumns)
		}
		if tab := plan(t, c, "two", scan.TableOptions{Columns: []string{"v"}}); tab.KeyName != "v" {
			t.Errorf("with v alone chose %s", tab.KeyName) // v is the log's key
		}
		p := connect(t, db, func(o *scan.Options) { o.Target.User, o.Target.Password = "poor", "secret" })
		if _, err := p.Plan(t.Context(), tables.Name{DB: "d", Table: "t"}, scan.TableOptions{}); !fault.HasCode(err, scan.CodeNoTable) {
			t.Errorf("hidden: %v", err)
		}
		tab := plan(t, p, "two", scan.TableOptions{})
		if _, err := p.High(t.Context(), tab); !fault.HasCode(err, scan.CodeDenied) || !strings.Contains(fault.Of(err).Hint, "REPLICATION CLIENT") {
			t.Errorf("the log's end: %v", err)
		}
	})
}

// TestUnkeyed: a table without a key is one chunk, up to its bounds.
func TestUnkeyed(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT, v VARCHAR(100))", "INSERT INTO d.t VALUES (1, 'a'), (1, 'a'), (NULL, REPEAT('x', 100))")
		c := connect(t, db)
		tab := plan(t, c, "t", scan.TableOptions{UnkeyedRowsMax: 3})
		rows := 0
		count := func(r *scan.Row) error {
			rows++
			if k, err := r.AppendKey(nil); err != nil || len(k) != 0 {
				t.Errorf("key %s, %v", k, err)
			}
			return nil
		}
		if done, err := chunk(t, c, tab, scan.Range{RowsMax: 1, BytesMax: 1000}, count); err != nil || !done.End || rows != 3 {
			t.Errorf("%+v, %d rows, %v", done, rows, err)
		}
		if _, err := chunk(t, c, tab, scan.Range{BytesMax: 50}, nil); !fault.HasCode(err, scan.CodeNoKey) {
			t.Errorf("bytes: %v", err)
		}
		db.Exec(t, "INSERT INTO d.t VALUES (4, '')")
		if _, err := chunk(t, c, tab, scan.Range{}, nil); !fault.HasCode(err, scan.CodeNoKey) {
			t.Errorf("rows: %v", err)
		}
		if _, err := c.Last(t.Context(), tab); !fault.HasCode(err, scan.CodeNoKey) {
			t.Errorf("last: %v", err)
		}
	})
}

// TestUnkeyedGuess: what the server takes a table without a key for does not
// decide whether it is read.
func TestUnkeyedGuess(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT) STATS_AUTO_RECALC=0", "INSERT INTO d.t VALUES (1), (2), (3)")
		db.Exec(t, "ANALYZE TABLE d.t", "UPDATE mysql.innodb_table_stats SET n_rows = 30000 WHERE database_name = 'd' AND table_name = 't'")
		db.Restart(t) // it reads its guesses when it opens a table
		c := connect(t, db)
		tab := plan(t, c, "t", scan.TableOptions{UnkeyedRowsMax: 3})
		if tab.RowsEstimate < 4 {
			t.Fatalf("the server takes it for %d rows", tab.RowsEstimate)
		}
		if done, err := chunk(t, c, tab, scan.Range{}, nil); err != nil || !done.End || done.Rows != 3 {
			t.Errorf("%+v, %v", done, err)
		}
		db.Exec(t, "INSERT INTO d.t VALUES (4)")
		if _, err := c.Plan(t.Context(), tables.Name{DB: "d", Table: "t"}, scan.TableOptions{UnkeyedRowsMax: 3}); !fault.HasCode(err, scan.CodeNoKey) {
			t.Errorf("four rows: %v", err)
		}
	})
}

// TestInterrupted: what ends a chunk from outside ends it at once, and the next
// one has a good connection.
func TestInterrupted(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY, v VARCHAR(1000))",
			"INSERT INTO d.t WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT n, REPEAT('x', 1000) FROM s")
		c := connect(t, db)
		tab := plan(t, c, "t", scan.TableOptions{})
		good := func(what string) {
			t.Helper()
			if done, err := chunk(t, c, tab, scan.Range{RowsMax: 1000}, nil); err != nil || done.Rows != 900 {
				t.Errorf("after %s: %+v, %v", what, done, err)
			}
		}
		mine := errors.New("the taker's own")
		if _, err := chunk(t, c, tab, scan.Range{RowsMax: 1000}, func(*scan.Row) error { return mine }); err != mine && !errors.Is(err, mine) {
			t.Errorf("%v", err)
		}
		good("the taker's error")

		ctx, cancel := context.WithCancel(t.Context())
		if _, err := c.Low(ctx, tab); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Chunk(ctx, tab, scan.Range{RowsMax: 1000}, func(*scan.Row) error { cancel(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		good("the end of the context")

		if _, err := c.Low(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		// Connections that were closed may still be listed, and gone when they are to
		// be killed.
		const unknownThread = 1094
		for _, r := range db.Query(t, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'root' AND ID <> CONNECTION_ID()") {
			if err := db.Try("KILL " + r[0]); err != nil && testserver.ErrorCode(err) != unknownThread {
				t.Fatal(err)
			}
		}
		_, err := c.Chunk(t.Context(), tab, scan.Range{RowsMax: 1000}, nil)
		if !fault.HasCode(err, scan.CodeLost) || fault.Of(err).Class != fault.Retryable {
			t.Errorf("killed: %v", err)
		}
		if _, err := c.Chunk(t.Context(), tab, scan.Range{RowsMax: 1000}, nil); !fault.HasCode(err, scan.CodeLost) {
			t.Errorf("a chunk without a low mark: %v", err)
		}
		good("a lost connection")

		db.Stop()
		if _, err := c.Load(t.Context()); !fault.HasCode(err, scan.CodeLost) {
			t.Errorf("no server: %v", err)
		}
	})
}

// TestChanged: a table whose definition changes is not read by the old one.
func TestChanged(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		for i, ddl := range []string{"MODIFY v BIGINT", "MODIFY v INT UNSIGNED", "MODIFY v VARCHAR(10)", "CHANGE v w INT", "DROP v"} {
			db.Exec(t, fmt.Sprintf("CREATE DATABASE IF NOT EXISTS d"), fmt.Sprintf("CREATE TABLE d.t%d (n INT PRIMARY KEY, v INT)", i), fmt.Sprintf("INSERT INTO d.t%d VALUES (1, 1), (2, 2)", i))
			c := connect(t, db)
			tab := plan(t, c, fmt.Sprintf("t%d", i), scan.TableOptions{})
			done, err := chunk(t, c, tab, scan.Range{RowsMax: 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			db.Exec(t, fmt.Sprintf("ALTER TABLE d.t%d %s", i, ddl))
			if _, err := chunk(t, c, tab, scan.Range{After: done.Last, RowsMax: 1}, nil); !fault.HasCode(err, scan.CodeChanged) {
				t.Errorf("%s: %v", ddl, err)
			}
		}
	})
}

// TestSlow: the server's limit of time ends a chunk, with a fault that says so.
func TestSlow(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)")
		limit := "SET GLOBAL max_execution_time = 3000"
		if db.Flavor == testserverMariaDB {
			limit = "SET GLOBAL max_statement_time = 3"
		}
		c := connect(t, db)
		// The first row is read at once, each of the others takes far more than the
		// limit.
		tab := plan(t, c, "t", scan.TableOptions{Where: "n = 1 OR SLEEP(60) = 0"})
		db.Exec(t, limit)
		strict := connect(t, db)
		start := time.Now()
		_, err := chunk(t, strict, tab, scan.Range{RowsMax: 9}, nil)
		if !fault.HasCode(err, scan.CodeSlow) || fault.Of(err).Class != fault.Retryable || time.Since(start) > time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := chunk(t, strict, tab, scan.Range{RowsMax: 1}, nil); err != nil {
			t.Errorf("a small one: %v", err)
		}
	})
}
