package binlogfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestXA: prepared in one file, committed in another, packed or not.
func TestXA(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		big := make([]string, 700)
		for i := range big {
			big[i] = fmt.Sprintf("(%d, 'x')", 100+i)
		}
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, s VARCHAR(9))",
			"INSERT INTO shop.orders VALUES (2000, 'first')",
			"XA START 'a'", "INSERT INTO shop.orders VALUES "+strings.Join(big, ","), "XA END 'a'", "XA PREPARE 'a'")
		db.Exec(t, "FLUSH BINARY LOGS", "INSERT INTO shop.orders VALUES (3000, 'between')", "FLUSH BINARY LOGS")
		err := db.Try("XA COMMIT 'a'")
		for deadline := time.Now().Add(60 * time.Second); testserver.ErrorCode(err) == 1397 && time.Now().Before(deadline); err = db.Try("XA COMMIT 'a'") {
			time.Sleep(5 * time.Millisecond) // the session that prepared it has not ended yet
		}
		if err != nil {
			t.Fatal(err)
		}
		db.Exec(t, "INSERT INTO shop.orders VALUES (4000, 'last')")
		db.Stop()
		files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files)
		rows, err := rowsOf(t, files...)
		if err != nil || len(rows) != 703 {
			t.Fatal(len(rows), err)
		}
		for i, id := range map[int]int{0: 2000, 1: 3000, 2: 100, 701: 799, 702: 4000} {
			if !strings.HasPrefix(rows[i].Text, fmt.Sprintf("c shop.orders (id=%d ", id)) {
				t.Errorf("row %d is %s", i, rows[i].Text)
			}
		}
		dir := t.TempDir()
		for _, f := range files {
			pack(t, f, dir)
		}
		cdctest.Conform(t, func(t testing.TB) cdc.Source { return sourceOf(t, dir) })

		// The files from behind XA PREPARE on.
		i := slices.IndexFunc(files, func(f string) bool { return filepath.Base(f) == "binlog.000002" })
		if _, err := rowsOf(t, files[i:]...); i < 1 || !fault.HasCode(err, "xa_prepared_before") {
			t.Errorf("from file %d on: %v", i, err)
		}
	})
}
