package scan_test

import (
	"fmt"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// fill makes d.t with so many rows of about 180 bytes, as sysbench has them.
func fill(t testing.TB, db *testserver.DB, rows int) {
	t.Helper()
	db.Exec(t, "CREATE DATABASE d", `CREATE TABLE d.t (n INT UNSIGNED PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL,
		at DATETIME(3), price DECIMAL(10,2), state ENUM('new','paid','sent'))`)
	for from := 0; from < rows; from += 1000 {
		db.Exec(t, fmt.Sprintf(`INSERT INTO d.t WITH RECURSIVE s AS (SELECT %d AS n UNION ALL SELECT n + 1 FROM s WHERE n < %d)
			SELECT n, n * 7, REPEAT(CHAR(97 + n %% 26), 119), REPEAT('y', 59), '2026-11-21 10:11:12.345', n / 100, 1 + n %% 3 FROM s`, from, min(from+1000, rows)-1))
	}
}

// taker builds batches as a pipeline takes them.
type taker struct {
	b    sdk.Builder
	rows uint64
}

func (k *taker) add(r *scan.Row) error {
	if k.b.Rows() == 0 || k.b.Rows() >= 512 || k.b.Size() >= 64<<10 {
		k.b.Reset()
		k.b.BeginTx(sdk.TxInfo{})
	}
	k.rows++
	return r.Append(&k.b, k.rows)
}

// read reads all of a table.
func (k *taker) read(t testing.TB, c *scan.Conn, tab *scan.Table) {
	t.Helper()
	for r := (scan.Range{RowsMax: 20_000, BytesMax: 4 << 20}); ; {
		if _, err := c.Low(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		done, err := c.Chunk(t.Context(), tab, r, k.add)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.High(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		if done.End {
			return
		}
		r.After = done.Last
	}
}

func plainly(o *scan.Options) { o.Target.TLS = replica.TLSOff }

// TestAllocations: what is allocated is allocated for chunks.
func TestAllocations(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		const rows = 20_000
		fill(t, db, rows)
		c := connect(t, db, plainly) // TLS allocates by itself, for each of its records
		tab := plan(t, c, "t", scan.TableOptions{})
		k := taker{}
		one := func(n int) float64 {
			return testing.AllocsPerRun(3, func() {
				if _, err := c.Low(t.Context(), tab); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Chunk(t.Context(), tab, scan.Range{RowsMax: n}, k.add); err != nil {
					t.Fatal(err)
				}
			})
		}
		few, many := one(10), one(rows)
		if more := many - few; more > 50 {
			t.Errorf("%v allocations for %d rows, %v for 10", many, rows, few)
		}
	})
}

// BenchmarkTable reads 200,000 rows: as chunks between marks into batches, and
// as a plain reader does that streams one SELECT and looks at nothing.
func BenchmarkTable(b *testing.B) {
	const rows = 200_000
	for name, server := range map[string]func(testing.TB, ...testserver.Option) *testserver.DB{
		"mysql": testserver.MySQL, "mariadb": testserver.MariaDB,
	} {
		db := server(b)
		fill(b, db, rows)
		rate := func(b *testing.B) { b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s") }
		b.Run(name+"/scan", func(b *testing.B) {
			c := connect(b, db, plainly)
			tab := plan(b, c, "t", scan.TableOptions{})
			b.ReportAllocs()
			for b.Loop() {
				k := taker{}
				if k.read(b, c, tab); k.rows != rows {
					b.Fatal(k.rows)
				}
			}
			rate(b)
		})
		b.Run(name+"/plain", func(b *testing.B) {
			c := db.Conn(b)
			b.ReportAllocs()
			for b.Loop() {
				if n := plainSelect(b, c, "SELECT * FROM d.t"); n != rows {
					b.Fatal(n)
				}
			}
			rate(b)
		})
	}
}

// plainSelect streams a result through the driver.
func plainSelect(t testing.TB, c *client.Conn, sql string) (rows int) {
	t.Helper()
	var r mysql.Result
	if err := c.ExecuteSelectStreaming(sql, &r, func([]mysql.FieldValue) error { rows++; return nil }, nil); err != nil {
		t.Fatal(err)
	}
	return rows
}
