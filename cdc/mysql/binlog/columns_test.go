package binlog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestColumnCounts reads tables of one column and of as many as InnoDB takes,
// around the sizes at which bitmaps and masks take another byte or word, with
// NULLs in patterns, in full and minimal images.
func TestColumnCounts(t *testing.T) {
	counts := []int{1, 2, 8, 9, 39, 40, 41, 64, 65, 128, 129, 300, 1017}
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d")
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			run(t, c, "SET GLOBAL binlog_row_metadata = "+metadata)
			for _, n := range counts {
				table := fmt.Sprintf("t%d_%s", n, metadata)
				columns, values := []string{"c0 INT PRIMARY KEY"}, make([][]string, 3)
				for i := 1; i < n; i++ {
					columns = append(columns, fmt.Sprintf("c%d SMALLINT", i))
				}
				for k := range values { // no, every second, and all values are NULL
					values[k] = []string{itoa(k)}
					for i := 1; i < n; i++ {
						v := itoa(i)
						if k == 2 || k == 1 && i%2 == 0 {
							v = "NULL"
						}
						values[k] = append(values[k], v)
					}
				}
				run(t, c, "CREATE TABLE "+table+" ("+strings.Join(columns, ",")+")", "SET SESSION binlog_row_image = FULL")
				for _, v := range values {
					run(t, c, "INSERT INTO "+table+" VALUES ("+strings.Join(v, ",")+")")
				}
				last := fmt.Sprintf("c%d", n-1)
				run(t, c, "SET SESSION binlog_row_image = MINIMAL", fmt.Sprintf("UPDATE %s SET %s = 77 WHERE c0 = 1", table, last))
			}
		}
		catalog := catalogOf(t, db)
		r := newLogReader(db.Flavor, func(m *binlog.TableMap) *binlog.CatalogTable {
			if m.HasNames() {
				return nil
			}
			return catalog(m)
		})
		r.dir(t, db)
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			for _, n := range counts {
				compareCounts(t, r, fmt.Sprintf("d.t%d_%s", n, metadata), n)
			}
		}
	})
}

func compareCounts(t *testing.T, r *logReader, name string, n int) {
	t.Helper()
	changes := r.changes[name]
	if len(changes) != 4 {
		t.Errorf("%s: %d changes", name, len(changes))
		return
	}
	for k := range 3 {
		for i, got := range changes[k].after {
			want := itoa(i)
			switch {
			case i == 0:
				want = itoa(k)
			case k == 2 || k == 1 && i%2 == 0:
				want = cdctest.NullText
			}
			if got != want || len(changes[k].after) != n {
				t.Errorf("%s: row %d, column %d of %d is %s, want %s", name, k, i, len(changes[k].after), got, want)
			}
		}
	}
	absent := func(except int, v string) []string {
		out := slices.Repeat([]string{cdctest.AbsentText}, n)
		out[except] = v
		return out
	}
	if got := changes[3]; got.op != sdk.OpUpdate || !slices.Equal(got.before, absent(0, "1")) || !slices.Equal(got.after, absent(n-1, "77")) {
		t.Errorf("%s: the minimal image is %s", name, brief(got))
	}
}

// TestKeyInBefore: an update in a minimal image says which row it was in the
// image before, whatever key the table has: the primary one, one of several
// columns, a unique one, none (then all columns), a generated one.
func TestKeyInBefore(t *testing.T) {
	const gone = cdctest.AbsentText
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d", "SET SESSION binlog_row_image = MINIMAL",
			"CREATE TABLE a (v INT, id INT PRIMARY KEY)", "INSERT INTO a VALUES (5, 1)", "UPDATE a SET v = 6",
			"CREATE TABLE b (x INT, v INT, y INT, PRIMARY KEY (y, x))", "INSERT INTO b VALUES (1, 5, 2)", "UPDATE b SET v = 6, x = 3",
			"CREATE TABLE c (v INT, u INT NOT NULL UNIQUE)", "INSERT INTO c VALUES (5, 1)", "UPDATE c SET v = NULL",
			"CREATE TABLE e (v INT, w INT)", "INSERT INTO e VALUES (5, 1)", "UPDATE e SET v = 6",
			"CREATE TABLE g (v INT, g INT AS (v * 2) STORED, w INT AS (v * 3) VIRTUAL, id INT PRIMARY KEY)",
			"INSERT INTO g (v, id) VALUES (5, 1)", "UPDATE g SET v = 6")
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		want := map[string]change{
			"d.a": {before: []string{gone, "1"}, after: []string{"6", gone}},
			"d.b": {before: []string{"1", gone, "2"}, after: []string{"3", "6", gone}},
			"d.c": {before: []string{gone, "1"}, after: []string{cdctest.NullText, gone}},
			"d.e": {before: []string{"5", "1"}, after: []string{"6", gone}},
			"d.g": {before: []string{gone, gone, gone, "1"}, after: []string{"6", "12", "18", gone}},
		}
		if db.Flavor == testserver.FlavorMariaDB { // it logs all of a table without a key, and no virtual columns that did not have to
			want["d.e"].after[1], want["d.g"].after[2] = "1", gone
		}
		for table, w := range want {
			got := r.changes[table][1]
			if d := cmp.Diff(w.before, got.before); d != "" {
				t.Errorf("%s before: %s", table, d)
			}
			if d := cmp.Diff(w.after, got.after); d != "" {
				t.Errorf("%s after: %s", table, d)
			}
		}
	})
}
