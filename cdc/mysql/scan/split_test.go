package scan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestSplit divides tables with keys of several kinds: the parts together are the
// table, in its order, and where the values lie evenly none is much larger than
// another.
func TestSplit(t *testing.T) {
	const rows, parts = 60_000, 5
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d")
		c := connect(t, db)
		for i, k := range []struct {
			columns, values string
			guess           float64 // in place of the server's, of the rows
		}{
			{"a INT PRIMARY KEY", "n", 0},
			{"a BIGINT PRIMARY KEY", "(CAST(n AS SIGNED) - 30000) * 300000000000000", 0},
			{"a BIGINT UNSIGNED PRIMARY KEY", "CAST(n AS UNSIGNED) * 300000000000000", 0},
			{"a SMALLINT, b INT, PRIMARY KEY (a DESC, b)", "n DIV 100, n", 0},
			{"a TIMESTAMP, b INT, PRIMARY KEY (a, b)", "FROM_UNIXTIME(1700000000 + n * 60), n", 0},
			{"a VARCHAR(20) PRIMARY KEY", "CONCAT('key', n)", 0},
			{"a BIGINT PRIMARY KEY", "IF(n = 0, -9223372036854775808, 9223372036854775807 - n)", 0}, // skewed
			{"a BIGINT PRIMARY KEY", "IF(n < 59990, n, n * 1000000)", 0},                            // likewise
			{"a INT, b INT, PRIMARY KEY (a, b)", "7, n", 0},
			{"a VARCHAR(20) PRIMARY KEY", "CONCAT('key', n)", 0.6},
			{"a VARCHAR(20) PRIMARY KEY", "CONCAT('key', n)", 0.01},
			{"a VARCHAR(20) PRIMARY KEY", "CONCAT('key', n)", 3},
		} {
			name := fmt.Sprintf("t%d", i)
			db.Exec(t, fmt.Sprintf("CREATE TABLE d.%s (n INT, %s)", name, k.columns))
			for from := 0; from < rows; from += 1000 {
				db.Exec(t, fmt.Sprintf("INSERT INTO d.%s WITH RECURSIVE s AS (SELECT %d AS n UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n, %s FROM s",
					name, from, from+999, k.values))
			}
			db.Exec(t, "ANALYZE TABLE d."+name)
			tab := plan(t, c, name, scan.TableOptions{})
			if k.guess > 0 {
				tab.RowsEstimate = uint64(rows * k.guess)
			}
			keys, err := c.Split(t.Context(), tab, parts)
			if err != nil || len(keys) < 3 || len(keys) >= parts {
				t.Fatalf("%s: %s, %v", k.columns, keys, err)
			}
			whole := readOrder(t, c, tab, 20_000, scan.Range{})
			var together []int64
			for p := range len(keys) + 1 {
				r := scan.Range{}
				if p > 0 {
					r.After = keys[p-1]
				}
				if p < len(keys) {
					r.UpTo = keys[p]
				}
				part := readOrder(t, c, tab, 20_000, r)
				if len(part) > rows*2/parts {
					t.Errorf("%s: part %d has %d rows", k.columns, p, len(part))
				}
				together = append(together, part...)
			}
			if !slices.Equal(together, whole) || len(whole) != rows {
				t.Errorf("%s: the parts are not the table", k.columns)
			}
		}
		db.Exec(t, "CREATE TABLE d.empty (n INT PRIMARY KEY)")
		if keys, err := c.Split(t.Context(), plan(t, c, "empty", scan.TableOptions{}), parts); err != nil || keys != nil {
			t.Errorf("empty: %s, %v", keys, err)
		}
	})
}
