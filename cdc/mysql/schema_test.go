package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// eachDefault runs a test on both servers as they are set up by default: the
// log does not name columns.
func eachDefault(t *testing.T, test func(t *testing.T, db *testserver.DB)) {
	t.Helper()
	beside(t, map[string]func(t *testing.T){
		"mysql":   func(t *testing.T) { test(t, testserver.MySQL(t, testserver.Args("--binlog-row-metadata=MINIMAL"))) },
		"mariadb": func(t *testing.T) { test(t, testserver.MariaDB(t, testserver.Args("--binlog-row-metadata=NO_LOG"))) },
		"mariadb minimal": func(t *testing.T) {
			test(t, testserver.MariaDB(t, testserver.Args("--binlog-row-metadata=MINIMAL")))
		},
	})
}

var alters = []struct{ sql, row string }{
	{"CREATE TABLE shop.orders (id INT UNSIGNED PRIMARY KEY, email VARCHAR(40), n INT)", ""},
	{"INSERT INTO shop.orders VALUES (1, 'a', 1)", `c shop.orders (id=1 email="a" n=1)`},
	{"ALTER TABLE shop.orders ADD COLUMN extra VARCHAR(20) CHARACTER SET latin1", ""},
	{"INSERT INTO shop.orders VALUES (2, 'b', 2, _utf8mb4 x'c3a4')", `c shop.orders (id=2 email="b" n=2 extra="ä")`},
	{"ALTER TABLE shop.orders DROP n, ADD kind ENUM('x','y') AFTER id", ""},
	{"INSERT INTO shop.orders VALUES (3, 'y', 'c', NULL)", `c shop.orders (id=3 kind="y" email="c" extra=NULL)`},
	{"ALTER TABLE shop.orders MODIFY kind ENUM('new','x','y','y''')", ""},
	{"INSERT INTO shop.orders VALUES (4, 'y''', 'd', NULL)", `c shop.orders (id=4 kind="y'" email="d" extra=NULL)`},
	{"ALTER TABLE shop.orders CHANGE email mail VARCHAR(40), MODIFY extra VARCHAR(40) CHARACTER SET latin1 FIRST", ""},
	{"INSERT INTO shop.orders VALUES (NULL, 5, 'x', 'e')", `c shop.orders (extra=NULL id=5 kind="x" mail="e")`},
	{"ALTER TABLE shop.orders RENAME COLUMN extra TO mail, RENAME COLUMN mail TO extra", ""},
	{"INSERT INTO shop.orders VALUES (NULL, 6, 'x', 'f')", `c shop.orders (mail=NULL id=6 kind="x" extra="f")`},
	{"CREATE TABLE shop.orders2 LIKE shop.orders", ""},
	{"ALTER TABLE shop.orders2 RENAME COLUMN id TO number, ADD INDEX (number), ENGINE=InnoDB", ""},
	{"RENAME TABLE shop.orders TO shop.orders_old, shop.orders2 TO shop.orders", ""},
	{"INSERT INTO shop.orders VALUES (NULL, 7, 'new', 'g')", `c shop.orders (mail=NULL number=7 kind="new" extra="g")`},
	{"INSERT INTO shop.orders_old VALUES (NULL, 8, 'new', 'h')", `c shop.orders_old (mail=NULL id=8 kind="new" extra="h")`},
	{"DROP TABLE shop.orders", ""},
	{"CREATE TABLE IF NOT EXISTS shop.orders AS SELECT 1 AS one, CAST('z' AS CHAR(3)) AS two", `c shop.orders (one=1 two="z")`},
	{"CREATE TABLE IF NOT EXISTS shop.orders (a INT, b INT)", ""},
	{"INSERT INTO shop.orders VALUES (9, 'i')", `c shop.orders (one=9 two="i")`},
	{"DROP DATABASE shop", ""},
	{"CREATE DATABASE shop CHARACTER SET latin1", ""},
	{"CREATE TABLE shop.orders (uno INT, dos TEXT)", ""},
	{"INSERT INTO shop.orders VALUES (10, _utf8mb4 x'c3bc')", `c shop.orders (uno=10 dos="ü")`},
}

// TestDefinitionsFollowed: with default settings, from the earliest log, each
// row comes with the names of its time; and so it does after a restart at any
// position.
func TestDefinitionsFollowed(t *testing.T) {
	eachDefault(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop")
		var want []string
		for _, a := range alters {
			db.Exec(t, a.sql)
			if a.row != "" {
				want = append(want, a.row)
			}
		}
		st := &store{}
		keep := func(c *Config, e *cdc.Env) { c.Tables, e.Schemas = []string{"shop.*"}, st }
		src := open(t, db, keep)
		got, err := cdctest.Read(t, src, initial(t, src), cdctest.UntilHead(t, src))
		if err != nil {
			t.Fatal(err)
		}
		rows := cdctest.Rows(got)
		if d := cmp.Diff(want, texts(rows)); d != "" {
			t.Fatal(d)
		}
		puts := len(st.list)
		// From every position at which one can stop.
		seen, from := 0, map[string]bool{}
		positions := []cdc.Start{initial(t, open(t, db, keep))}
		for _, b := range got {
			positions = append(positions, cdc.Start{Base: b.End})
		}
		for _, p := range positions {
			if from[string(p.Base)] {
				continue
			}
			from[string(p.Base)] = true
			again := open(t, db, keep)
			batches, err := cdctest.Read(t, again, p, cdctest.UntilHead(t, again))
			if err != nil {
				t.Fatalf("from %s: %v", p.Base, err)
			}
			list := texts(cdctest.Rows(batches))
			if d := cmp.Diff(want[len(want)-len(list):], append([]string{}, list...)); d != "" {
				t.Fatalf("from %s: %s", p.Base, d)
			}
			seen++
		}
		if len(st.list) != puts {
			t.Errorf("%d records, then %d", puts, len(st.list))
		}
		t.Logf("%d positions, %d records", seen, puts)
	})
}

// TestRestartBehindAlter: what a restart needs is what was true at its
// position, whatever was changed meanwhile.
func TestRestartBehindAlter(t *testing.T) {
	eachDefault(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, a VARCHAR(10), b VARCHAR(10))")
		st := &store{}
		keep := func(c *Config, e *cdc.Env) { c.Start, e.Schemas = startLatest, st }
		src := open(t, db, keep) // the definition is from before the log: the catalog has it
		s := start(t, src, initial(t, src))
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, 'x', 'y')")
		s.awaitRows(t, 1)
		s.stop()
		batches, _ := s.snapshot()
		db.Exec(t, "INSERT INTO shop.orders VALUES (2, 'x', 'y')",
			"ALTER TABLE shop.orders RENAME COLUMN a TO b, RENAME COLUMN b TO a", "INSERT INTO shop.orders VALUES (3, 'x', 'y')")
		s = start(t, open(t, db, keep), cdc.Start{Base: batches[len(batches)-1].End})
		want := []string{`c shop.orders (id=2 a="x" b="y")`, `c shop.orders (id=3 b="x" a="y")`}
		if d := cmp.Diff(want, texts(s.awaitRows(t, 2))); d != "" {
			t.Fatal(d)
		}
		s.stop()
	})
}

// TestDefinitionOfLater: rows that only the catalog of today could name, and a
// statement behind them that made it so, stop the reading.
func TestDefinitionOfLater(t *testing.T) {
	eachDefault(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, a INT, b INT)")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		from := initial(t, src)
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, 2, 3)", "ALTER TABLE shop.orders ADD INDEX (a)",
			"INSERT INTO shop.orders VALUES (2, 2, 3)")
		s := start(t, open(t, db), from)
		s.awaitRows(t, 2) // an index changes nothing
		s.stop()
		db.Exec(t, "ALTER TABLE shop.orders RENAME COLUMN a TO b, RENAME COLUMN b TO a", "INSERT INTO shop.orders VALUES (3, 2, 3)")
		start(t, open(t, db), from).fails(t, "schema_uncertain")
	})
}

// TestDatabaseOfBefore: a database's default is not in a log that begins later.
func TestDatabaseOfBefore(t *testing.T) {
	eachDefault(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop CHARACTER SET latin1")
		// By a pattern: a table named by itself must be there at the beginning.
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.Start, c.Tables = startLatest, []string{"shop.*"} })
		from := initial(t, src)
		db.Exec(t, "CREATE TABLE shop.orders (id INT, note TEXT)", "INSERT INTO shop.orders VALUES (1, _utf8mb4 x'c3a4')",
			"ALTER TABLE shop.orders ADD more VARCHAR(9) FIRST", "INSERT INTO shop.orders VALUES (_utf8mb4 x'c3a4', 2, 'x')")
		s := start(t, open(t, db), from)
		want := []string{`c shop.orders (id=1 note="ä")`, `c shop.orders (more="ä" id=2 note="x")`}
		if d := cmp.Diff(want, texts(s.awaitRows(t, 2))); d != "" {
			t.Fatal(d)
		}
		s.stop()
		db.Exec(t, "ALTER DATABASE shop CHARACTER SET utf8mb4")
		code := "schema_uncertain"
		if db.Value(t, "SELECT @@binlog_row_metadata") == "NO_LOG" {
			code = "value_undecodable" // nothing in the log tells before
		}
		start(t, open(t, db), from).fails(t, code)
	})
}

func TestDefinitionNotUnderstood(t *testing.T) {
	db := testserver.MariaDB(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	src := open(t, db, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
	s := start(t, src, initial(t, src))
	db.Exec(t, "INSERT INTO shop.orders VALUES (1)")
	s.awaitRows(t, 1)
	// MariaDB's ORACLE mode is not read; the catalog says what came of it.
	db.Exec(t, "SET sql_mode=ORACLE", "ALTER TABLE shop.orders ADD d VARCHAR2(10)", "INSERT INTO shop.orders VALUES (2, 'x')")
	if d := cmp.Diff([]string{`c shop.orders (id=1)`, `c shop.orders (id=2 d="x")`}, texts(s.awaitRows(t, 2))); d != "" {
		t.Fatal(d)
	}
}

// TestLabelsLost: the servers' catalogs have a question mark for a label's
// character beyond utf8mb3. Without full metadata such a table is refused, if it
// is older than the log.
func TestLabelsLost(t *testing.T) {
	eachDefault(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "SET NAMES utf8mb4",
			"CREATE TABLE shop.orders (id INT PRIMARY KEY, mood ENUM('a','😀') CHARACTER SET utf8mb4, sure ENUM('yes','?') CHARACTER SET latin1)")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		from := initial(t, src)
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, 2, 2)")
		s := start(t, open(t, db), from)
		s.fails(t, "schema_incomplete")
		db.Exec(t, "SET GLOBAL binlog_row_metadata = FULL")
		src = open(t, db, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		from = initial(t, src)
		db.Exec(t, "INSERT INTO shop.orders VALUES (2, 2, 2)")
		s = start(t, open(t, db), from)
		if d := cmp.Diff([]string{`c shop.orders (id=2 mood="😀" sure="?")`}, texts(s.awaitRows(t, 1))); d != "" {
			t.Fatal(d)
		}
		s.stop()
	})
}

// TestHashedKeys: MariaDB keeps a hidden column for a unique key that is too long
// for an index, and logs it. It is no column of the table to anybody who asks.
func TestHashedKeys(t *testing.T) {
	run := func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, a TEXT, b VARCHAR(3000) CHARACTER SET utf8mb4, n BIGINT UNSIGNED, UNIQUE (a), UNIQUE (b, id))")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		from := initial(t, src)
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, 'x', NULL, 7), (2, NULL, 'y', NULL)", "UPDATE shop.orders SET a = 'z' WHERE id = 2")
		want := []string{`c shop.orders (id=1 a="x" b=NULL n=7)`, `c shop.orders (id=2 a=NULL b="y" n=NULL)`,
			`u shop.orders [id=2 a=NULL b="y" n=NULL] (id=2 a="z" b="y" n=NULL)`}
		s := start(t, open(t, db), from)
		if d := cmp.Diff(want, texts(s.awaitRows(t, 3))); d != "" {
			t.Fatal(d)
		}
		db.Exec(t, "ALTER TABLE shop.orders DROP INDEX a, ADD m BIGINT UNSIGNED", "INSERT INTO shop.orders VALUES (3, 'x', 'w', 1, NULL)",
			"SET SESSION binlog_row_image=MINIMAL", "UPDATE shop.orders SET b = 'v' WHERE id = 3")
		want = append(want, `c shop.orders (id=3 a="x" b="w" n=1 m=NULL)`,
			`u shop.orders [id=3 a=absent b=absent n=absent m=absent] (id=absent a=absent b="v" n=absent m=absent)`)
		if d := cmp.Diff(want, texts(s.awaitRows(t, 5))); d != "" {
			t.Fatal(d)
		}
		s.stop()
	}
	for _, metadata := range []string{"FULL", "MINIMAL", "NO_LOG"} {
		t.Run(metadata, func(t *testing.T) {
			t.Parallel()
			run(t, testserver.MariaDB(t, testserver.Args("--binlog-row-metadata="+metadata)))
		})
	}
}
