package mysql

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// logEnd is a database whose low mark is the log's end: the mistake that the low
// mark must not be.
type logEnd struct{ snapshot.Database }

func (d logEnd) Open(ctx context.Context) (snapshot.Conn, error) {
	c, err := d.Database.Open(ctx)
	return logEndConn{c}, err
}

type logEndConn struct{ snapshot.Conn }

func (c logEndConn) Low(ctx context.Context, t *snapshot.Table) (sdk.Position, error) {
	if _, err := c.Conn.Low(ctx, t); err != nil { // which begins what reads
		return "", err
	}
	return c.Conn.View(ctx, t)
}

// Few keys that are changed all the time, read a few at a time, over and over:
// no row steps back. The same with the log's end as the low mark is wrong on MySQL,
// which writes its log before it shows a change; how often that is met depends on
// the machine, so it is told and not demanded. scan's TestMarks counts how many
// chunks would be too old, and the simulation in cdc/snapshot demands it.
func TestCopyHotKeys(t *testing.T) {
	const keys, writers = 200, 8
	hot := func(t *testing.T, db *testserver.DB, mode string, between func(snapshot.Database) snapshot.Database, d time.Duration) (rounds, wrong int) {
		stop := make(chan struct{})
		var load sync.WaitGroup
		for w := range writers {
			load.Go(func() { churn(t, db, w, writers, keys, stop) })
		}
		defer func() { close(stop); load.Wait() }()
		for begun := time.Now(); time.Since(begun) < d; rounds++ {
			src := open(t, db, copyConfig(mode, snapshotOnly))
			src.chunkRows, src.between = 8, between
			c := newCopied()
			if err := src.Run(t.Context(), initial(t, src), c.take); err == nil || err.Error() != "EOF" {
				t.Fatal(err)
			}
			wrong += len(c.wrong)
			for _, w := range c.wrong {
				if between == nil {
					t.Error(w)
				}
			}
		}
		return rounds, wrong
	}
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		fillOrders(t, db, keys)
		db.Exec(t, "SET GLOBAL sync_binlog = 1")
		rounds, _ := hot(t, db, mode, nil, 4*time.Second)
		t.Logf("%d copies of %d rows", rounds, keys)
		src := open(t, db, copyConfig(mode, snapshotInitial))
		db.Exec(t, "TRUNCATE TABLE shop.orders")
		if c := underFire(t, db, src, 0, 0); len(c.rows) > 0 {
			t.Errorf("an empty table has rows: %v", cmp.Diff(nil, c.rows))
		}
	})
	t.Run("the log's end as low mark", func(t *testing.T) {
		db := testserver.MySQL(t)
		fillOrders(t, db, keys)
		db.Exec(t, "SET GLOBAL sync_binlog = 1")
		rounds, wrong := hot(t, db, modeGTID, func(d snapshot.Database) snapshot.Database { return logEnd{d} }, 3*time.Second)
		t.Logf("%d rows step back in %d copies", wrong, rounds)
	})
}
