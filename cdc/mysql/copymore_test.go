package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// told is what a source told, row by row: "r orders 1|a".
type told struct {
	mu   sync.Mutex
	rows []string
	end  sdk.Position
	each func(n int, row sdk.Row) // nil for nothing
}

func (c *told) take(_ context.Context, b *cdc.Batch) error {
	defer b.Release()
	for i := range b.Rows() {
		row := b.Row(i)
		m := row.After()
		if !m.Valid() {
			m = row.Before()
		}
		c.mu.Lock()
		c.rows = append(c.rows, fmt.Sprintf("%c %s %s", row.Op().Letter(), row.Schema().Table, imageText(row, m)))
		n := len(c.rows)
		c.mu.Unlock()
		if c.each != nil {
			c.each(n, row)
		}
	}
	c.mu.Lock()
	c.end = b.End
	c.mu.Unlock()
	return nil
}

// sorted returns the rows that were told.
func (c *told) sorted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.rows))
}

// copyOnly runs a source that ends when all is copied.
func copyOnly(t *testing.T, src *Source, start cdc.Start, each func(int, sdk.Row)) *told {
	t.Helper()
	c := &told{each: each, end: start.Base}
	ctx, cancel := context.WithTimeout(t.Context(), runMax)
	defer cancel()
	if err := src.Run(ctx, start, c.take); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return c
}

func follow(list ...string) func(*Config, *cdc.Env) {
	return func(c *Config, _ *cdc.Env) { c.Tables = list }
}

// Tables that come into the configuration are copied, those that go are not
// remembered, and those that stay are left alone.
func TestCopyTablesComeAndGo(t *testing.T) {
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.a (id INT PRIMARY KEY)", "INSERT INTO shop.a VALUES (1), (2)",
		"CREATE TABLE shop.b (id INT PRIMARY KEY)", "INSERT INTO shop.b VALUES (3)", "CREATE TABLE shop.empty (id INT PRIMARY KEY)",
		"CREATE VIEW shop.v AS SELECT * FROM shop.a")
	only := copyConfig(modeAuto, snapshotOnly)
	start := initial(t, open(t, db, only, follow("shop.a")))
	for _, step := range []struct{ tables, want []string }{
		{[]string{"shop.a"}, []string{"r a 1", "r a 2"}},
		{[]string{"shop.a"}, nil},
		{[]string{"shop.a", "shop.b"}, []string{"r b 3"}},
		{[]string{"shop.b"}, nil},
		{[]string{"shop.*"}, []string{"r a 1", "r a 2"}},
		{[]string{"shop.*"}, nil},
	} {
		c := copyOnly(t, open(t, db, only, follow(step.tables...)), start, nil)
		if d := cmp.Diff(step.want, c.sorted()); d != "" {
			t.Errorf("%v (-want +got):\n%s", step.tables, d)
		}
		start = cdc.Start{Base: c.end}
	}
	// A pipeline that copies no more remembers what is copied.
	src := open(t, db, follow("shop.*"))
	ctx, cancel := context.WithCancel(t.Context())
	db.Exec(t, "INSERT INTO shop.a VALUES (9)")
	c := &told{}
	c.each = func(int, sdk.Row) { cancel() }
	if err := src.Run(ctx, start, c.take); ctx.Err() == nil {
		t.Fatal(err)
	}
	again := copyOnly(t, open(t, db, only, follow("shop.*")), cdc.Start{Base: c.end}, nil)
	if d := cmp.Diff([]string{"c a 9"}, append(c.sorted(), again.sorted()...)); d != "" {
		t.Error(d)
	}
}

// where and columns: the others are absent, and not read.
func TestCopyPart(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.a (id INT PRIMARY KEY, n INT, note VARCHAR(9))",
			"INSERT INTO shop.a VALUES (1, 1, 'x'), (2, 0, 'y'), (3, 1, 'z'), (4, 0, 'w')", "CREATE TABLE shop.b (id INT PRIMARY KEY)", "INSERT INTO shop.b VALUES (1)")
		src := open(t, db, copyConfig(modeAuto, snapshotOnly), follow("shop.*"), func(c *Config, _ *cdc.Env) {
			c.SnapshotOptions.Tables = []SnapshotTable{{Table: "shop.a", Where: "n = 1", Columns: []string{"note"}}}
		})
		src.chunkRows = 2
		c := copyOnly(t, src, initial(t, src), nil)
		if d := cmp.Diff([]string{"r a 1|absent|x", "r a 3|absent|z", "r b 1"}, c.sorted()); d != "" {
			t.Error(d)
		}
	})
}

// Statements on tables that are being copied: the copy goes on with what is
// there then.
func TestCopyBesideStatements(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop")
		var values []string
		for i := range 200 {
			values = append(values, fmt.Sprintf("(%d, %d)", i, i))
		}
		names := []string{"altered", "emptied", "dropped", "renamed", "rekeyed"}
		for _, n := range names {
			db.Exec(t, "CREATE TABLE shop."+n+" (id INT PRIMARY KEY, n INT NOT NULL)", "INSERT INTO shop."+n+" VALUES "+strings.Join(values, ","))
		}
		src := open(t, db, copyConfig(modeAuto, snapshotOnly), follow("shop.*"))
		src.chunkRows = 16
		statements := []string{"ALTER TABLE shop.altered ADD COLUMN more INT NOT NULL DEFAULT 7", "TRUNCATE TABLE shop.emptied", "INSERT INTO shop.emptied VALUES (5, 6)",
			"DROP TABLE shop.dropped", "RENAME TABLE shop.renamed TO shop.other", "ALTER TABLE shop.rekeyed DROP PRIMARY KEY, ADD PRIMARY KEY (n)",
			"CREATE TABLE shop.late (id INT PRIMARY KEY, n INT)", "INSERT INTO shop.late VALUES (1, 2)"}
		first, all := make(chan struct{}), make(chan struct{})
		run := func() {
			defer close(all)
			err := db.Try(statements[0])
			close(first)
			if err = errors.Join(err, db.Try(statements[1:]...)); err != nil {
				t.Error(err)
			}
		}
		c := copyOnly(t, src, initial(t, src), func(n int, _ sdk.Row) {
			switch n {
			case 20:
				go run()
			case 150: // the first table has 200 rows: all of it is not read yet
				<-first
			case 400: // and three tables keep their 200
				<-all
			}
			time.Sleep(time.Millisecond)
		})
		<-all
		state := map[string]map[string]string{}
		for _, r := range c.rows {
			f := strings.SplitN(r, " ", 3)
			key, _, _ := strings.Cut(f[2], "|")
			if state[f[1]] == nil || f[0] == "t" {
				state[f[1]] = map[string]string{}
			}
			if f[0] != "t" {
				state[f[1]][key] = f[2]
			}
		}
		for table, want := range map[string]int{"altered": 200, "emptied": 1, "other": 200, "rekeyed": 200, "late": 1} {
			if n := len(state[table]); n != want {
				t.Errorf("%s: %d rows, want %d", table, n, want)
			}
		}
		if got := state["altered"]["199"]; got != "199|199|7" {
			t.Errorf("the last row of the altered table is %q", got)
		}
	})
}

// A table without a key is read in one piece, or not at all.
func TestCopyWithoutKey(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.a (n INT)")
		for range 11 {
			db.Exec(t, "INSERT INTO shop.a VALUES "+strings.TrimSuffix(strings.Repeat("(1),", 100), ","))
		}
		src := open(t, db, copyConfig(modeAuto, snapshotOnly), follow("shop.*"))
		c := copyOnly(t, src, initial(t, src), nil)
		if n := len(c.rows); n != 1100 {
			t.Errorf("%d rows", n)
		}
	})
}

// A server that has purged what was not read: the tables are copied anew, and
// the gap is on record.
func TestResnapshot(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		fillOrders(t, db, 50)
		src := open(t, db, copyConfig(modeAuto, snapshotOnly))
		end := copyOnly(t, src, initial(t, src), nil).end
		db.Exec(t, "UPDATE shop.orders SET v = 2 WHERE id < 10", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
		for range 1000 { // the server keeps what a dump reads that it has not noticed the end of
			logs := db.Query(t, "SHOW BINARY LOGS")
			if len(logs) == 1 {
				break
			}
			db.Exec(t, "PURGE BINARY LOGS TO '"+logs[len(logs)-1][0]+"'", "INSERT INTO shop.orders VALUES (60, 1, '')", "DELETE FROM shop.orders WHERE id = 60")
			time.Sleep(10 * time.Millisecond)
		}
		err := open(t, db, copyConfig(modeAuto, snapshotInitial)).Run(t.Context(), cdc.Start{Base: end}, (&told{}).take)
		if !fault.HasCode(err, "position_purged") {
			t.Fatal(err)
		}
		gaps := &ledger{map[string][]byte{}}
		src = open(t, db, copyConfig(modeAuto, snapshotInitial), func(c *Config, e *cdc.Env) {
			c.OnLostPosition, e.Gaps = lostResnapshot, gaps
		})
		ctx, cancel := context.WithTimeout(t.Context(), runMax)
		defer cancel()
		c := newCopied()
		err = src.Run(ctx, cdc.Start{Base: end}, func(ctx context.Context, b *cdc.Batch) error {
			if err := c.take(ctx, b); err != nil || c.read < 50 {
				return err
			}
			return errDone
		})
		if !errors.Is(err, errDone) {
			t.Fatal(err)
		}
		if d := cmp.Diff(ordersOf(t, db), c.rows); d != "" || len(gaps.records) != 1 {
			t.Errorf("%d gaps, and:\n%s", len(gaps.records), d)
		}
	})
}

// Wide rows: what is held stays within what each reader may hold and what is on
// its way, whatever the table.
func TestCopyHolds(t *testing.T) {
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.wide (id INT PRIMARY KEY, body LONGTEXT)")
	for i := range 40 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.wide VALUES (%d, REPEAT('x', 200000)), (%d, REPEAT('y', 10))", 2*i, 2*i+1))
	}
	db.Exec(t, "INSERT INTO shop.wide VALUES (1000, REPEAT('z', 3000000))")
	total := budget.New(2 << 20)
	share, chunks := total.Share(1<<20), total.Share(0)
	src := open(t, db, copyConfig(modeAuto, snapshotOnly), follow("shop.*"), func(c *Config, e *cdc.Env) {
		c.SnapshotOptions.ChunkBytes, e.Share, e.Chunks = 256<<10, share, chunks
	})
	most := int64(0)
	c := copyOnly(t, src, initial(t, src), func(int, sdk.Row) { most = max(most, share.Used()+chunks.Used()) })
	if len(c.rows) != 81 {
		t.Errorf("%d rows", len(c.rows))
	}
	// One chunk, which is over its bound by one row at most, and one batch.
	if limit := int64(2*(256<<10+3000000) + 64<<10); most == 0 || most > limit {
		t.Errorf("%d bytes were held, of at most %d", most, limit)
	}
	if left := share.Used() + chunks.Used(); left != 0 {
		t.Errorf("%d bytes are still held", left)
	}
}

// Rows of tens of MiB between narrow ones: each comes whole, and a reader holds
// one of them at most beside its chunk.
func TestCopyGiantRows(t *testing.T) {
	const giant, giants, narrow, workers = 24 << 20, 2, 1000, 2
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.wide (id INT PRIMARY KEY, body LONGTEXT)", "CREATE TABLE shop.seq (n INT PRIMARY KEY)",
			"INSERT INTO shop.seq VALUES (0)")
		for have := 1; have < narrow; have *= 2 {
			db.Exec(t, fmt.Sprintf("INSERT INTO shop.seq SELECT n+%d FROM shop.seq WHERE n+%d < %d", have, have, narrow))
		}
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.wide SELECT n, IF(n %% %d = 50, REPEAT('g', %d + n), 'narrow') FROM shop.seq", narrow/giants, giant))
		total := budget.New(16 << 20)
		share, chunks := total.Share(1<<20), total.Share(0)
		src := open(t, db, copyConfig(modeAuto, snapshotOnly), follow("shop.wide"), func(c *Config, e *cdc.Env) {
			c.SnapshotOptions.Workers, e.Share, e.Chunks = workers, share, chunks
		})
		src.splitRows = 100
		most, big := int64(0), 0
		c := copyOnly(t, src, initial(t, src), func(_ int, row sdk.Row) {
			most = max(most, share.Used()+chunks.Used())
			if body := row.After().Bytes(1); len(body) > 10 {
				if want := giant + int(row.After().Int(0)); len(body) != want || strings.Trim(string(body), "g") != "" {
					t.Errorf("row %d has %d bytes, not %d", row.After().Int(0), len(body), want)
				}
				big++
			}
		})
		if len(c.rows) != narrow || big != giants {
			t.Errorf("%d rows, %d of them giant", len(c.rows), big)
		}
		// Each reader's chunk with a giant, and a giant on its way.
		if limit := int64(workers*(2<<20) + (workers+1)*(giant+narrow+1<<20)); most < giant || most > limit {
			t.Errorf("%d bytes were held, of at most %d", most, limit)
		}
		if left := share.Used() + chunks.Used(); left != 0 {
			t.Errorf("%d bytes are still held", left)
		}
	}, testserver.Args("--max-allowed-packet=134217728", "--loose-innodb-redo-log-capacity=512M", "--loose-innodb-log-file-size=512M"))
}
