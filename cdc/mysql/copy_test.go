package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// copied is what a consumer makes of the rows of shop.orders (id, v, note) that
// a copy and its stream tell: v rises by one with each change of a key.
type copied struct {
	mu     sync.Mutex
	rows   map[int64]string // as they are
	newest map[int64]int64  // 2v of the newest image, 2v+1 of a delete
	read   int              // rows of the copy
	told   int              // rows of the log
	wrong  []string
	at     sdk.Position
}

func newCopied() *copied { return &copied{rows: map[int64]string{}, newest: map[int64]int64{}} }

func (c *copied) take(_ context.Context, b *cdc.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Rows() {
		row := b.Row(i)
		if row.Schema().Table != "orders" {
			continue
		}
		if row.Op() == sdk.OpRead {
			c.read++
		} else {
			c.told++
		}
		if m := row.Before(); m.Valid() {
			delete(c.rows, m.Int(0))
			c.step(i, row, m.Int(0), 2*m.Int(1)+1)
		}
		if m := row.After(); m.Valid() {
			c.rows[m.Int(0)] = imageText(row, m)
			c.step(i, row, m.Int(0), 2*m.Int(1))
		}
	}
	c.at = b.End
	b.Release()
	return nil
}

func (c *copied) step(i int, row sdk.Row, id, v int64) {
	if v < c.newest[id] && len(c.wrong) < 10 {
		c.wrong = append(c.wrong, fmt.Sprintf("row %d, op %c, tx %s: key %d steps back from %d to %d", i, row.Op().Letter(), row.Tx().ID(), id, c.newest[id], v))
	}
	c.newest[id] = max(c.newest[id], v)
}

// churn changes shop.orders until stop is closed. Each writer has its own keys.
func churn(t *testing.T, db *testserver.DB, writer, writers, keys int, stop <-chan struct{}) {
	conn := db.Conn(t)
	rng := rand.New(rand.NewPCG(uint64(writer), 7))
	version := map[int]int64{}
	there := map[int]bool{}
	for k := writer; k < keys; k += writers {
		version[k], there[k] = 1, true // as fillOrders has it
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		k := writer + writers*rng.IntN(keys/writers)
		version[k]++
		sql := fmt.Sprintf("UPDATE shop.orders SET v = %d WHERE id = %d", version[k], k)
		switch {
		case !there[k]:
			sql, there[k] = fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, %d, 'again')", k, version[k]), true
		case rng.IntN(4) == 0:
			version[k]--
			sql, there[k] = fmt.Sprintf("DELETE FROM shop.orders WHERE id = %d", k), false
		}
		if _, err := conn.Execute(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
			return
		}
	}
}

func fillOrders(t testing.TB, db *testserver.DB, keys int) {
	t.Helper()
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, v BIGINT NOT NULL, note VARCHAR(200))")
	for from := 0; from < keys; from += 1000 {
		var rows []string
		for k := from; k < min(keys, from+1000); k++ {
			rows = append(rows, fmt.Sprintf("(%d, 1, 'note %d')", k, k))
		}
		db.Exec(t, "INSERT INTO shop.orders VALUES "+strings.Join(rows, ","))
	}
}

func ordersOf(t testing.TB, db *testserver.DB) map[int64]string {
	t.Helper()
	rows := map[int64]string{}
	for _, r := range db.Query(t, "SELECT id, v, note FROM shop.orders") {
		id, err := strconv.ParseInt(r[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows[id] = strings.Join(r, "|")
	}
	return rows
}

func copyConfig(mode, kind string) func(*Config, *cdc.Env) {
	return func(c *Config, _ *cdc.Env) {
		c.Mode, c.Snapshot = mode, kind
		c.SnapshotOptions.ChunkBytes = 64 << 10
	}
}

// A copy under writers in a tight loop, with a log that is synced at each commit:
// no row steps back, and in the end the stream is the table.
func TestCopyUnderFire(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		const keys, writers = 20000, 3
		fillOrders(t, db, keys)
		db.Exec(t, "SET GLOBAL sync_binlog = 1")
		db.Exec(t, "ANALYZE TABLE shop.orders")
		src := open(t, db, copyConfig(mode, snapshotInitial))
		src.splitRows = 100 // several parts
		c := underFire(t, db, src, keys, writers)
		if diff := cmp.Diff(ordersOf(t, db), c.rows); diff != "" {
			t.Errorf("the stream is not the table:\n%.2000s", diff)
		}
		for _, w := range c.wrong {
			t.Error(w)
		}
		if c.read == 0 || c.told == 0 {
			t.Errorf("%d rows read, %d told: nothing was tried", c.read, c.told)
		}
		t.Logf("%d rows read, %d told", c.read, c.told)
	})
}

// underFire copies and streams while writers write, and a while longer.
func underFire(t *testing.T, db *testserver.DB, src *Source, keys, writers int) *copied {
	t.Helper()
	stop := make(chan struct{})
	var load sync.WaitGroup
	for w := range writers {
		load.Go(func() { churn(t, db, w, writers, keys, stop) })
	}
	quit := sync.OnceFunc(func() { close(stop); load.Wait() })
	defer quit()
	start := initial(t, src)
	ctx, cancel := context.WithTimeout(t.Context(), runMax)
	defer cancel()
	c := newCopied()
	var run sync.WaitGroup
	run.Go(func() {
		if err := src.Run(ctx, start, c.take); ctx.Err() == nil {
			t.Errorf("run: %v", err)
			cancel()
		}
	})
	waitFor(ctx, func() bool {
		st := src.Status()
		return st.Snapshot != nil && st.Snapshot.Complete
	})
	time.Sleep(200 * time.Millisecond)
	quit()
	c.toHead(ctx, t, src)
	if ctx.Err() != nil {
		t.Errorf("not complete in time: %+v", src.Status())
	}
	cancel()
	run.Wait()
	return c
}

// toHead waits until all is taken that the server's log has now.
func (c *copied) toHead(ctx context.Context, t *testing.T, src *Source) {
	t.Helper()
	head, err := src.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		ok, err := src.Covers(c.at, head)
		return ok && err == nil
	})
}

// waitFor waits until f, or the end of ctx.
func waitFor(ctx context.Context, f func() bool) {
	for ctx.Err() == nil && !f() {
		time.Sleep(5 * time.Millisecond)
	}
}

// only ends by itself, at any time it goes on where it was, and nothing comes
// twice.
func TestCopyOnly(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		fillOrders(t, db, 5000)
		db.Exec(t, "CREATE TABLE shop.names (a VARCHAR(20) CHARACTER SET latin1, b INT, PRIMARY KEY (a, b))",
			"INSERT INTO shop.names VALUES ('a', 1), ('A ', 2), ('ä', 2147483647), ('b', -1), ('ß', 7)")
		follow := func(c *Config, _ *cdc.Env) { c.Tables = []string{"shop.*"} }
		start := initial(t, open(t, db, copyConfig(mode, snapshotOnly), follow))
		rng := rand.New(rand.NewPCG(3, 4))
		var ids []string
		for lives := 0; ; lives++ {
			left := 1 + rng.IntN(900)
			src := open(t, db, copyConfig(mode, snapshotOnly), follow)
			src.splitRows = 100
			err := src.Run(t.Context(), start, func(_ context.Context, b *cdc.Batch) error {
				defer b.Release()
				for i := range b.Rows() {
					row := b.Row(i)
					ids = append(ids, row.Schema().Table+" "+imageText(row, row.After()))
					if left--; left == 0 { // the process dies; the sink has this row
						pos, ok, err := src.Behind(b.Begin, string(row.Tx().ID()), true)
						if !ok || err != nil {
							t.Fatal(ok, err)
						}
						start = cdc.Start{Base: pos}
						return errDone
					}
				}
				start = cdc.Start{Base: b.End}
				return nil
			})
			if errors.Is(err, io.EOF) {
				t.Logf("%d lives", lives)
				break
			}
			if !errors.Is(err, errDone) {
				t.Fatal(err)
			}
		}
		all := len(ids)
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != all || n != 5005 {
			t.Errorf("%d rows, of them %d different, want 5005", all, n)
		}
	})
}

// A row of which not all messages were delivered is read again.
func TestCopyAgain(t *testing.T) {
	db := testserver.MySQL(t)
	fillOrders(t, db, 10)
	src := open(t, db, copyConfig(modeAuto, snapshotOnly))
	start := initial(t, src)
	var again cdc.Start
	err := src.Run(t.Context(), start, func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		if b.Rows() < 4 {
			return nil
		}
		pos, ok, err := src.Behind(b.Begin, string(b.Row(3).Tx().ID()), false)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		again.Base = pos
		return errDone
	})
	if !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	c := newCopied()
	if err := src.Run(t.Context(), again, c.take); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if c.read != 7 || c.rows[3] == "" || c.rows[2] != "" {
		t.Errorf("%d rows are read behind row 2: %v", c.read, c.rows)
	}
	if _, ok, err := src.Behind(again.Base, "binlog.000001:4", true); ok || err != nil {
		t.Error("a transaction of the log is taken for a row that was read", err)
	}
	if !snapshot.IsTx("snapshot/shop.orders/0/x") {
		t.Error("and the other way round")
	}
}
