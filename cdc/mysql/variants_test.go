package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// TestCompressed: transactions that the server compresses, resumed everywhere.
func TestCompressed(t *testing.T) {
	for name, db := range map[string]func(t *testing.T) *testserver.DB{
		"mysql": func(t *testing.T) *testserver.DB {
			return testserver.MySQL(t, testserver.Args("--binlog-transaction-compression=ON"))
		},
		"mariadb": func(t *testing.T) *testserver.DB {
			return testserver.MariaDB(t, testserver.Args("--log-bin-compress=ON", "--log-bin-compress-min-len=10"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := db(t)
			workload(t, db)
			cdctest.Conform(t, func(t testing.TB) cdc.Source { return open(t, db) })
		})
	}
}

// TestNoChecksums: a log without checksums.
func TestNoChecksums(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.Exec(t, insert(1, 3))
		if rows := readAll(t, open(t, db)); len(rows) != 3 {
			t.Errorf("%d rows", len(rows))
		}
	}, testserver.Args("--binlog-checksum=NONE"))
}

// TestTaggedGTID mixes tagged and untagged transactions and resumes behind each:
// a set that loses the tag would skip or repeat some.
func TestTaggedGTID(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	src := open(t, db, with(modeGTID))
	s := start(t, src, initial(t, src))
	id := 1
	for _, next := range []string{"AUTOMATIC:foo", "AUTOMATIC", "AUTOMATIC:bar", "AUTOMATIC:foo", "AUTOMATIC"} {
		db.Exec(t, "SET GTID_NEXT='"+next+"'", insert(id, 1))
		s.awaitRows(t, id)
		id++
	}
	s.stop()
	batches, _ := s.snapshot()
	all := cdctest.Rows(batches)
	if !strings.Contains(all[0].Tx, ":foo:1") || !strings.Contains(all[3].Tx, ":foo:2") || strings.Contains(all[1].Tx, "foo") {
		t.Errorf("ids %v", all)
	}
	done := 0
	for _, b := range batches {
		done += len(b.Rows)
		if len(b.Rows) == 0 || done == len(all) {
			continue
		}
		again := start(t, open(t, db, with(modeGTID)), cdc.Start{Base: b.End})
		if d := cmp.Diff(all[done:], again.awaitRows(t, len(all)-done)); d != "" {
			t.Errorf("from %s: %s", b.End, d)
		}
		again.stop()
	}
	if end := string(batches[len(batches)-1].End); !strings.Contains(end, ":bar:1:foo:1-2") {
		t.Errorf("position %s", end)
	}
}

// TestNonTransactional: tables without transactions, and statements that change
// both kinds.
func TestNonTransactional(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		engine := "MyISAM"
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY) ENGINE="+engine,
			"INSERT INTO shop.orders VALUES (1), (2)", "INSERT INTO shop.orders VALUES (3)", "DELETE FROM shop.orders WHERE id = 2")
		rows := readAll(t, open(t, db))
		want := []string{"c shop.orders (id=1)", "c shop.orders (id=2)", "c shop.orders (id=3)", "d shop.orders [id=2]"}
		if d := cmp.Diff(want, texts(rows)); d != "" {
			t.Fatal(d)
		}
	})
}

// TestCreateSelect: rows of a table that the same transaction creates.
func TestCreateSelect(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		db.Exec(t, insert(1, 3), "CREATE TABLE shop.copy AS SELECT id FROM shop.orders", insert(4, 1))
		src := open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Tables = []string{"shop.*"} })
		rows := readAll(t, src)
		var copied []cdctest.RecordedRow
		for _, r := range rows {
			if strings.Contains(r.Text, "shop.copy") {
				copied = append(copied, r)
			}
		}
		if len(rows) != 7 || len(copied) != 3 || copied[0].RowsTotal != 3 {
			t.Errorf("rows %v", rows)
		}
	})
}

// TestLargeValues: events over the read buffer, and over the 16 MiB of a packet.
func TestLargeValues(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, doc LONGBLOB)",
			"SET GLOBAL max_allowed_packet=1073741824")
		src := open(t, db)
		sizes := []int{0, 65536, 65537, 131072, 131100, 1 << 20, 16<<20 - 40, 16<<20 - 1, 20 << 20}
		for i, n := range sizes {
			db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, REPEAT('x', %d))", i, n))
		}
		var got []int
		err := src.Run(t.Context(), initial(t, src), func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			for i := range b.Rows() {
				v := b.Row(i).After().Bytes(1)
				if strings.Trim(string(v), "x") != "" {
					t.Errorf("value %d is not what was written", len(got))
				}
				got = append(got, len(v))
			}
			if len(got) == len(sizes) {
				return errDone
			}
			return nil
		})
		if err != errDone {
			t.Fatal(err)
		}
		if d := cmp.Diff(sizes, got); d != "" {
			t.Fatal(d)
		}
	})
}

// TestTLS: the ways of protecting the connection.
func TestTLS(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	for query, code := range map[string]string{"": "", "?tls=skip-verify": "", "?tls=preferred": "", "?tls=false": "",
		"?tls=true": "server_unreachable", "?tls=true&tls_ca=/none": "server_unreachable"} {
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.DSN = unit.NewSecret(db.DSN() + query) })
		if err := src.Preflight(t.Context()); code == "" && err != nil || code != "" && !fault.HasCode(err, code) {
			t.Errorf("%q: %v", query, err)
		}
	}
}

// errDone ends a Run from within emit.
var errDone = errors.New("done")

// TestAllocations: what is allocated is allocated for batches and transactions.
func TestAllocations(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		const rows = 20_000
		db.Exec(t, insert(0, rows/2), insert(rows, rows/2))
		src := open(t, db)
		from := initial(t, src)
		n := testing.AllocsPerRun(3, func() {
			got := 0
			err := src.Run(t.Context(), from, func(_ context.Context, b *cdc.Batch) error {
				got += b.Rows()
				b.Release()
				if got == rows {
					return errDone
				}
				return nil
			})
			if err != errDone {
				t.Fatal(err)
			}
		})
		if n > rows/10 {
			t.Errorf("%v allocations for %d rows", n, rows)
		}
	})
}

// BenchmarkCatchUp reads 200,000 rows of 100 bytes from a server's log.
func BenchmarkCatchUp(b *testing.B) {
	for name, server := range map[string]func(testing.TB, ...testserver.Option) *testserver.DB{
		"mysql": testserver.MySQL, "mariadb": testserver.MariaDB,
	} {
		b.Run(name, func(b *testing.B) {
			db := server(b)
			prepare(b, db)
			const rows = 200_000
			for i := 0; i < rows; i += 10_000 {
				db.Exec(b, insert(i, 10_000))
			}
			src := open(b, db, func(c *Config, _ *cdc.Env) { c.DSN = unit.NewSecret(db.DSN() + "?tls=false") })
			from := initial(b, src)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				err := src.Run(b.Context(), from, func(_ context.Context, batch *cdc.Batch) error {
					n += batch.Rows()
					batch.Release()
					if n == rows {
						return errDone
					}
					return nil
				})
				if err != errDone {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
