package mysql

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// asked is a ledger in memory.
type asked struct {
	mu      sync.Mutex
	pending []cdc.SnapshotRequest
	ends    map[uint64]cdc.SnapshotEnd
	changed chan struct{}
}

func newAsked() *asked {
	return &asked{ends: map[uint64]cdc.SnapshotEnd{}, changed: make(chan struct{})}
}

func (a *asked) Pending() ([]cdc.SnapshotRequest, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]cdc.SnapshotRequest{}, a.pending...), a.changed
}

func (a *asked) Found(r cdc.SnapshotRequest) (*cdc.SnapshotEnd, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, r)
	return nil, nil
}

func (a *asked) Undone(uint64) error { return nil }

func (a *asked) End(id uint64, e cdc.SnapshotEnd) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends[id] = e
	for i := range a.pending {
		if a.pending[i].ID == id {
			a.pending = append(a.pending[:i:i], a.pending[i+1:]...)
			break
		}
	}
	return nil
}

func (a *asked) ask(r cdc.SnapshotRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, r)
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *asked) end(id uint64) (cdc.SnapshotEnd, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.ends[id]
	return e, ok
}

// A stream that was begun at the log's end is asked for the table while writers
// write: no row steps back, and in the end the stream is the table. Then the same
// for some rows and columns.
func TestRequestUnderFire(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		const keys, writers = 20000, 3
		fillOrders(t, db, keys)
		db.Exec(t, "SET GLOBAL sync_binlog = 1", "ANALYZE TABLE shop.orders")
		ledger := newAsked()
		src := open(t, db, copyConfig(mode, snapshotNever), func(c *Config, e *cdc.Env) { c.Start, e.Requests = startLatest, ledger })
		src.splitRows = 100 // several parts
		start := initial(t, src)
		stop := make(chan struct{})
		var load, run sync.WaitGroup
		for w := range writers {
			load.Go(func() { churn(t, db, w, writers, keys, stop) })
		}
		quit := sync.OnceFunc(func() { close(stop); load.Wait() })
		defer quit()
		ctx, cancel := context.WithTimeout(t.Context(), runMax)
		defer cancel()
		c := newCopied()
		run.Go(func() {
			if err := src.Run(ctx, start, func(ctx context.Context, b *cdc.Batch) error {
				end := b.End
				err := c.take(ctx, b)
				src.Confirm(end)
				return err
			}); ctx.Err() == nil {
				t.Errorf("run: %v", err)
				cancel()
			}
		})
		time.Sleep(100 * time.Millisecond)
		if st := src.Status(); st.Snapshot != nil {
			t.Errorf("nobody asked for a snapshot: %+v", st.Snapshot)
		}
		r, err := src.CheckSnapshot(ctx, []string{"shop.*"}, cdc.SnapshotRequest{ID: 7})
		if err != nil || len(r.Tables) != 1 || r.Rows[0] == 0 {
			t.Fatal(r, err)
		}
		ledger.ask(r)
		ended := func(id uint64) cdc.SnapshotEnd {
			waitFor(ctx, func() bool { _, ok := ledger.end(id); return ok })
			e, _ := ledger.end(id)
			return e
		}
		if e := ended(7); e.Err != nil || e.Cancelled || len(e.Tables) != 1 || e.Tables[0].Rows < keys/2 {
			t.Errorf("it ended with %+v", e)
		}
		whole := c.read
		if r, err = src.CheckSnapshot(ctx, []string{"shop.orders"}, cdc.SnapshotRequest{ID: 8, Where: "id < 100", Columns: []string{"v"}}); err != nil {
			t.Fatal(err)
		}
		ledger.ask(r)
		if e := ended(8); e.Err != nil || e.Tables[0].Rows > 100 {
			t.Errorf("it ended with %+v", e)
		}
		quit()
		c.toHead(ctx, t, src)
		cancel()
		run.Wait()
		want := ordersOf(t, db)
		for id := range int64(100) { // of these the note may have been left out
			delete(want, id)
			delete(c.rows, id)
		}
		if diff := cmp.Diff(want, c.rows); diff != "" {
			t.Errorf("the stream is not the table:\n%.2000s", diff)
		}
		for _, w := range c.wrong {
			t.Error(w)
		}
		if c.told == 0 || c.read <= whole || c.read > whole+100 {
			t.Errorf("%d rows told, %d read, %d of them by the first", c.told, c.read, whole)
		}
		t.Logf("%d rows read, %d told", c.read, c.told)
	})
}

// What can't be copied beside a stream.
func TestRequestRefused(t *testing.T) {
	db := testserver.MySQL(t)
	fillOrders(t, db, 10)
	db.Exec(t, "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE shop.bare (n INT)", "CREATE VIEW shop.seen AS SELECT * FROM shop.orders")
	follow := func(c *Config, _ *cdc.Env) { c.Tables = []string{"shop.*"} }
	check := func(kind string, patterns ...string) error {
		src := open(t, db, copyConfig(modeAuto, kind), follow)
		_, err := src.CheckSnapshot(t.Context(), patterns, cdc.SnapshotRequest{})
		return err
	}
	if err := check(snapshotNever, "shop.orders", "shop.bare"); err != nil {
		t.Error(err)
	}
	for pattern, code := range map[string]string{"shop.old": "snapshot_engine", "shop.seen": "unknown_table", "shop.x": "unknown_table", "shop.o*": "snapshot_engine", "shop": "tables_invalid"} {
		if err := check(snapshotNever, pattern); !fault.HasCode(err, code) || fault.Of(err).Hint == "" {
			t.Errorf("%s: %v, want %s", pattern, err, code)
		}
	}
	if err := check(snapshotNever); !fault.HasCode(err, "unknown_table") {
		t.Errorf("no table: %v", err)
	}
	if err := check(snapshotOnly, "shop.orders"); !fault.HasCode(err, "snapshot_unsupported") {
		t.Errorf("a batch job: %v", err)
	}
	db.Exec(t, "SET GLOBAL binlog_row_image = MINIMAL")
	if err := check(snapshotNever, "shop.orders"); !fault.HasCode(err, "snapshot_row_image") {
		t.Errorf("without whole rows in the log: %v", err)
	}
}

// While the pipeline makes again what it has delivered, no table is read.
func TestRequestWaits(t *testing.T) {
	db := testserver.MySQL(t)
	fillOrders(t, db, 10)
	ledger := newAsked()
	src := open(t, db, copyConfig(modeAuto, snapshotNever), func(c *Config, e *cdc.Env) { c.Start, e.Requests = startLatest, ledger })
	start := initial(t, src)
	again := make(chan struct{})
	start.Again = again
	ledger.ask(cdc.SnapshotRequest{ID: 7, Tables: []cdc.TableName{{DB: "shop", Table: "orders"}}})
	ctx, cancel := context.WithTimeout(t.Context(), runMax)
	defer cancel()
	c := newCopied()
	var run sync.WaitGroup
	run.Go(func() { _ = src.Run(ctx, start, c.take) })
	db.Exec(t, "UPDATE shop.orders SET v = 2 WHERE id = 3")
	rows := func(f func() bool) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return f()
		}
	}
	waitFor(ctx, rows(func() bool { return c.told == 1 }))
	time.Sleep(300 * time.Millisecond)
	if c.mu.Lock(); c.read > 0 {
		t.Errorf("%d rows are read while others are made again", c.read)
	}
	from := c.at
	c.mu.Unlock()
	close(again)
	waitFor(ctx, rows(func() bool { return c.read == 10 }))
	if ctx.Err() != nil {
		t.Error("nothing is read afterwards")
	}
	cancel()
	run.Wait()
	if moved, err := src.Copied(from, c.at); !moved || err != nil {
		t.Error("rows that were read are not noticed", err)
	}
	if moved, err := src.Copied(start.Base, from); moved || err != nil {
		t.Error("rows of the log are taken for rows that were read", err)
	}
}
