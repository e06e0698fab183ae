package scan_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestParallel divides a table among connections that share its plan: together
// they read each row once, in character sets whose decoders have a state.
func TestParallel(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		const rows, parts = 4000, 4
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET sjis, w VARCHAR(20) CHARACTER SET gbk)")
		for from := 0; from < rows; from += 500 {
			db.Exec(t, "INSERT INTO d.t WITH RECURSIVE s AS (SELECT "+string(r64(int64(from)))+" AS n UNION ALL SELECT n + 1 FROM s WHERE n < "+
				string(r64(int64(from+499)))+") SELECT n, _utf8mb4 x'e382bd', _utf8mb4 x'e6bca2' FROM s")
		}
		first := connect(t, db)
		tab := plan(t, first, "t", scan.TableOptions{})
		var bounds []scan.Key
		for after := scan.Key(nil); len(bounds) < parts-1; {
			k, err := first.Boundary(t.Context(), tab, scan.Range{After: after, RowsMax: rows / parts})
			if err != nil {
				t.Fatal(err)
			}
			bounds, after = append(bounds, k), k
		}
		var mu sync.Mutex
		var all []int64
		var wg sync.WaitGroup
		for i := range parts {
			r := scan.Range{RowsMax: 77}
			if i > 0 {
				r.After = bounds[i-1]
			}
			if i < len(bounds) {
				r.UpTo = bounds[i]
			}
			c := connect(t, db)
			wg.Go(func() {
				list, err := readPart(t, c, tab, r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, list...)
			})
		}
		wg.Wait()
		slices.Sort(all)
		if len(all) != rows || all[0] != 0 || all[rows-1] != rows-1 || len(slices.Compact(all)) != rows {
			t.Errorf("%d rows", len(all))
		}
	})
}

// readPart reads a range and returns the numbers of its rows.
func readPart(t *testing.T, c *scan.Conn, tab *scan.Table, r scan.Range) (list []int64, err error) {
	var b sdk.Builder
	for {
		if _, err := c.Low(t.Context(), tab); err != nil {
			return nil, err
		}
		done, err := c.Chunk(t.Context(), tab, r, func(row *scan.Row) error {
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			if err := row.Append(&b, 0); err != nil {
				return err
			}
			if m := b.After(); string(m.Bytes(1)) != "ソ" || string(m.Bytes(2)) != "漢" {
				t.Errorf("%s %s", m.Bytes(1), m.Bytes(2))
			}
			list = append(list, b.After().Int(0))
			return nil
		})
		if err != nil || done.End {
			return list, err
		}
		if _, err := c.High(t.Context(), tab); err != nil {
			return nil, err
		}
		r.After = done.Last
	}
}
