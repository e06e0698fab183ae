package binlogfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record runs a workload on a server, closes its log and returns the files.
func record(t *testing.T, db *testserver.DB) (files []string) {
	t.Helper()
	big := make([]string, 1500)
	for i := range big {
		big[i] = fmt.Sprintf("(%d, 1, '%s')", 1000+i, strings.Repeat("x", i%200))
	}
	db.Exec(t, "CREATE DATABASE shop",
		"CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT UNSIGNED, note VARCHAR(300))",
		"CREATE TABLE shop.other (id INT PRIMARY KEY)",
		"INSERT INTO shop.orders VALUES (1, 10, 'a'), (2, 4294967295, NULL)",
		"INSERT INTO shop.other VALUES (1)",
		"UPDATE shop.orders SET qty = 11 WHERE id = 1",
		"FLUSH BINARY LOGS",
		"BEGIN", "INSERT INTO shop.other VALUES (2)", "DELETE FROM shop.orders WHERE id = 2", "COMMIT",
		"INSERT INTO shop.orders VALUES "+strings.Join(big, ","),
		"BEGIN", "INSERT INTO shop.orders VALUES (5000, 1, 'rolled back')", "ROLLBACK",
		"TRUNCATE TABLE shop.orders",
		"FLUSH BINARY LOGS",
		"INSERT INTO shop.orders VALUES (3, 3, 'last')")
	for i := range 60 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 3, 'small')", 100+i))
	}
	db.Stop()
	files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	slices.Sort(files)
	return files
}

func TestConform(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		files := record(t, db)
		cdctest.Conform(t, func(t testing.TB) cdc.Source {
			src, err := New(Config{Files: files, Tables: []string{"shop.orders"}}, cdc.Env{})
			if err != nil {
				t.Fatal(err)
			}
			return src
		})
	})
}

// TestDefinitionsOfTheirTime: with the servers' default settings files don't
// name columns; their statements do.
func TestDefinitionsOfTheirTime(t *testing.T) {
	for name, db := range map[string]*testserver.DB{
		"mysql":   testserver.MySQL(t, testserver.Args("--binlog-row-metadata=MINIMAL")),
		"mariadb": testserver.MariaDB(t, testserver.Args("--binlog-row-metadata=NO_LOG")),
	} {
		t.Run(name, func(t *testing.T) {
			db.Exec(t, "CREATE DATABASE shop CHARACTER SET latin1", "CREATE TABLE shop.orders (id INT UNSIGNED PRIMARY KEY, a ENUM('x','y'), b TEXT)",
				"INSERT INTO shop.orders VALUES (4294967295, 'y', 'b')", "FLUSH BINARY LOGS",
				"ALTER TABLE shop.orders CHANGE b c TEXT FIRST, MODIFY a ENUM('new','x','y')",
				"INSERT INTO shop.orders VALUES (_utf8mb4 x'c3a4', 2, 'new')")
			db.Stop()
			files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(files)
			src, err := New(Config{Files: files, Tables: []string{"shop.orders"}}, cdc.Env{})
			if err != nil {
				t.Fatal(err)
			}
			from, err := src.Initial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := cdctest.Read(t, src, cdc.Start{Base: from}, func(cdctest.Recorded) bool { return false })
			if err != nil && err != cdc.ErrEnd {
				t.Fatal(err)
			}
			var list []string
			for _, r := range cdctest.Rows(got) {
				list = append(list, r.Text)
			}
			want := []string{`c shop.orders (id=4294967295 a="y" b="b")`, `c shop.orders (c="ä" id=2 a="new")`}
			if !slices.Equal(want, list) {
				t.Fatalf("got %q", list)
			}
		})
	}
}

// TestRows holds the source against what the workload did.
func TestRows(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		files := record(t, db)
		src, err := New(Config{Files: files, Tables: []string{"shop.orders"}}, cdc.Env{})
		if err != nil {
			t.Fatal(err)
		}
		initial, err := src.Initial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		batches, err := cdctest.Read(t, src, cdc.Start{Base: initial}, func(cdctest.Recorded) bool { return false })
		if err != io.EOF {
			t.Fatal(err)
		}
		rows := cdctest.Rows(batches)
		if len(rows) != 2+1+1+1500+1+1+60 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, want := range map[int]string{
			0:    `c shop.orders (id=1 qty=10 note="a")`,
			1:    `c shop.orders (id=2 qty=4294967295 note=NULL)`,
			2:    `u shop.orders [id=1 qty=10 note="a"] (id=1 qty=11 note="a")`,
			3:    `d shop.orders [id=2 qty=4294967295 note=NULL]`,
			4:    `c shop.orders (id=1000 qty=1 note="")`,
			1504: `t shop.orders`,
			1505: `c shop.orders (id=3 qty=3 note="last")`,
		} {
			if rows[i].Text != want {
				t.Errorf("row %d is %s, not %s", i, rows[i].Text, want)
			}
		}
		if !rows[1].Ends || rows[4].Ends || rows[4].Tx != rows[1503].Tx || !rows[1503].Ends || rows[1503].RowsTotal != 1500 {
			t.Errorf("bounds of transactions: %+v, %+v", rows[4], rows[1503])
		}
	})
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"files_invalid":  {Files: nil, Tables: []string{"a.b"}},
		"tables_invalid": {Files: []string{"a.1"}},
	} {
		if _, err := New(c, cdc.Env{}); !fault.HasCode(err, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New(Config{Files: []string{"x/a.1", "y/a.1"}, Tables: []string{"a.b"}}, cdc.Env{})
	if !fault.HasCode(err, "files_invalid") || fault.Of(err).Path != "files[1]" {
		t.Errorf("%v", err)
	}
}

func TestPreflight(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "no.1"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := New(Config{Files: []string{filepath.Join(dir, "no.1"), filepath.Join(dir, "missing.2")}, Tables: []string{"a.b"}}, cdc.Env{})
	if err != nil {
		t.Fatal(err)
	}
	err = src.Preflight(context.Background())
	if !fault.HasCode(err, "binlog_corrupt") || !fault.HasCode(err, "binlog_unreadable") {
		t.Errorf("%v", err)
	}
}

// TestCutFile reads a log that ends inside a transaction, as a crash leaves it.
func TestCutFile(t *testing.T) {
	db := testserver.MySQL(t)
	files := record(t, db)
	content, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(files[1]))
	for _, keep := range []int{len(content) / 2, len(content) * 3 / 4} {
		part := slices.Clone(content[:keep])
		part[4+17] |= 1 // in use
		if err := os.WriteFile(path, part, 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := New(Config{Files: []string{path}, Tables: []string{"shop.orders"}}, cdc.Env{})
		if err != nil {
			t.Fatal(err)
		}
		initial, _ := src.Initial(context.Background())
		batches, err := cdctest.Read(t, src, cdc.Start{Base: initial}, func(cdctest.Recorded) bool { return false })
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for _, r := range cdctest.Rows(batches) {
			if strings.Contains(r.Text, "id=1000 ") && r.Ends {
				t.Error("a transaction without an end has one")
			}
		}
		if last := batches[len(batches)-1]; len(last.Rows) > 0 && !last.Rows[0].Ends && last.End != last.Begin {
			t.Errorf("the position moved to %s", last.End)
		}
	}
}
