package mysql

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestXACancelled: Run ends soon while a prepared transaction is read again, from
// a server that has stopped to answer.
func TestXACancelled(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		prepareXA(t, db)
		db.Exec(t, xa("'a'", wide(1, 5000), wide(5001, 5000), wide(10_001, 5000))...)
		decide(t, db, "XA COMMIT 'a'")
		src := openXA(t, db, modeAuto)
		why := errors.New("called off")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var began time.Time
		rows := 0
		err := src.Run(ctx, initial(t, src), func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			if rows += b.Rows(); rows > 0 && began.IsZero() {
				db.Pause()
				began = time.Now()
				time.AfterFunc(time.Second, func() { cancel(why) }) // what is under way has come
			}
			return nil
		})
		took := time.Since(began)
		db.Resume()
		if !errors.Is(err, why) {
			t.Errorf("%v after %d rows", err, rows)
		}
		if rows == 0 || rows == 15_000 {
			t.Errorf("%d rows: not inside", rows)
		}
		if took > 6*time.Second {
			t.Errorf("Run ended %v after it was called off", took-time.Second)
		}
	})
}
