package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestChecksumsChange: the server turns checksums off and on under the reading.
func TestChecksumsChange(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode))
		s := start(t, src, initial(t, src))
		n := 0
		for _, algorithm := range []string{"NONE", "CRC32", "NONE", "CRC32"} {
			db.Exec(t, insert(100*n, 600), "SET GLOBAL binlog_checksum="+algorithm, insert(100*n+50_000, 1))
			n += 601
			s.awaitRows(t, n)
		}
	})
}

// TestBesideRows: events that stand beside rows, and statements that other
// databases may write, change nothing.
func TestBesideRows(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.Exec(t, "CREATE DATABASE o", "CREATE TABLE o.t (id INT AUTO_INCREMENT PRIMARY KEY, v DOUBLE, s VARCHAR(99))")
		file := filepath.Join(db.BinlogDir(), "load.csv")
		if err := os.WriteFile(file, []byte(strings.Repeat("7\t0.5\ttext\n", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		rows := "SET SESSION binlog_annotate_row_events=ON"
		if db.Flavor == testserver.FlavorMySQL {
			rows = "SET SESSION binlog_rows_query_log_events=ON"
		}
		db.Exec(t, "USE o", "SET SESSION binlog_format=STATEMENT", "SET @u = 'user', @n = 3.5",
			"INSERT INTO t (v, s) VALUES (RAND(), @u), (@n, 'x')", "INSERT INTO t (v) VALUES (LAST_INSERT_ID())",
			"LOAD DATA INFILE '"+file+"' INTO TABLE t", "UPDATE t SET v = 1", "DELETE FROM t WHERE id = 7",
			"SET SESSION binlog_format=MIXED", "INSERT INTO t (v, s) VALUES (1, UUID())", "UPDATE t SET s = UUID() LIMIT 1",
			"SET SESSION binlog_format=ROW", rows, "USE shop", insert(1, 2), "DELETE FROM orders WHERE id = 1")
		src := open(t, db)
		got := texts(readAll(t, src))
		want := []string{`c shop.orders (id=1 qty=1 note="")`, `c shop.orders (id=2 qty=1 note="x")`, `d shop.orders [id=1 qty=1 note=""]`}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// TestLedHere: statements of another table lead to a followed one.
func TestLedHere(t *testing.T) {
	for name, c := range map[string]struct {
		set, sql string
		maria    bool
	}{
		"trigger":                       {"CREATE TRIGGER shop.x AFTER INSERT ON shop.other FOR EACH ROW INSERT INTO shop.orders VALUES (NEW.id + 10, 1, 'by trigger')", "INSERT INTO shop.other VALUES (1)", true},
		"trigger of another database":   {"CREATE TRIGGER o.x AFTER INSERT ON o.t FOR EACH ROW INSERT INTO shop.orders VALUES (NEW.id + 10, 1, 'by trigger')", "INSERT INTO o.t VALUES (1)", false},
		"load":                          {"SET @a = 1", "LOAD DATA INFILE '{file}' INTO TABLE shop.orders", true},
		"update of several":             {"INSERT INTO o.t VALUES (1)", "UPDATE o.t, shop.orders SET t.id = 2, qty = 3 WHERE t.id = orders.id", true},
		"statement of a mixed log":      {"SET SESSION binlog_format=MIXED", "UPDATE shop.orders SET qty = 9", true},
		"statement before its database": {"USE o", "REPLACE shop.orders VALUES (1, 2, 'x')", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := func(t *testing.T, db *testserver.DB) {
				prepare(t, db)
				file := filepath.Join(db.BinlogDir(), "load.csv")
				if err := os.WriteFile(file, []byte("7\t1\ttext\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				db.Exec(t, "CREATE DATABASE o", "CREATE TABLE o.t (id INT PRIMARY KEY)", "INSERT INTO shop.orders VALUES (1, 1, 'x')")
				if db.Flavor == testserver.FlavorMySQL {
					db.Exec(t, "SET GLOBAL log_bin_trust_function_creators=ON")
				}
				src := open(t, db)
				s := start(t, src, initial(t, src))
				s.awaitRows(t, 1)
				db.Exec(t, "SET SESSION binlog_format=STATEMENT", c.set, strings.ReplaceAll(c.sql, "{file}", file))
				s.fails(t, "statement_format")
			}
			t.Run("mysql", func(t *testing.T) { test(t, testserver.MySQL(t)) })
			if c.maria { // which does not say what a statement of another database led to
				t.Run("mariadb", func(t *testing.T) { test(t, testserver.MariaDB(t)) })
			}
		})
	}
}

// TestGTIDGaps: numbers that are left out, and others that come late.
func TestGTIDGaps(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	src := open(t, db, with(modeGTID))
	s := start(t, src, initial(t, src))
	uuid := "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	for i, n := range []string{"5", "1", "1000000", "9223372036854775806", "2"} {
		db.Exec(t, "SET GTID_NEXT='"+uuid+":"+n+"'", insert(i, 1), "SET GTID_NEXT='AUTOMATIC'")
		s.awaitRows(t, i+1)
	}
	db.Exec(t, "SET GTID_NEXT='"+uuid+":3'", "COMMIT", "SET GTID_NEXT='AUTOMATIC'", insert(100, 1)) // an empty one fills a gap
	s.awaitRows(t, 6)
	s.stop()
	batches, _ := s.snapshot()
	last := batches[len(batches)-1].End
	if !strings.Contains(string(last), uuid+":1-3:5:1000000:9223372036854775806") {
		t.Errorf("position %s", last)
	}
	again := start(t, open(t, db, with(modeGTID)), cdc.Start{Base: last})
	db.Exec(t, "SET GTID_NEXT='"+uuid+":4'", insert(200, 1), "SET GTID_NEXT='AUTOMATIC'")
	if rows := again.awaitRows(t, 1); rows[0].Tx != uuid+":4" {
		t.Errorf("%v", rows)
	}
}
