package mysql

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// lockedBuffer is a log that is written and read by two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestRetention: how long the server keeps what is not read yet, and a warning
// before it is too late.
func TestRetention(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds=1000")
		prepare(t, db)
		db.Exec(t, insert(1, 1))
		var mu sync.Mutex
		var ahead time.Duration
		log := &lockedBuffer{}
		src := open(t, db, func(_ *Config, e *cdc.Env) {
			e.Log = slog.New(slog.NewTextHandler(log, nil))
			e.Now = func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return time.Now().Add(ahead)
			}
		})
		src.pauseMax = 200 * time.Millisecond // it also says how often is looked
		left := func() time.Duration { return src.Status().Retained.Sub(src.env.Now()) }
		s := start(t, src, initial(t, src))
		s.awaitRows(t, 1)
		s.await(t, "a heartbeat", func([]cdctest.Recorded) bool { return left() > 990*time.Second })
		if got := left(); got > 1000*time.Second {
			t.Errorf("%v are left", got)
		}
		time.Sleep(300 * time.Millisecond)
		if strings.Contains(log.String(), "will delete") {
			t.Errorf("a warning without need: %s", log)
		}
		db.Pause() // no heartbeats: time goes by and nothing is read
		for last := (time.Time{}); src.Status().LastEvent != last; time.Sleep(time.Second) {
			last = src.Status().LastEvent // what was under way has come
		}
		mu.Lock()
		ahead = 800 * time.Second
		mu.Unlock()
		if got := left(); got > 200*time.Second || got < 150*time.Second {
			t.Errorf("%v are left", got)
		}
		s.await(t, "a warning", func([]cdctest.Recorded) bool {
			return strings.Contains(log.String(), "will delete log that is not read yet")
		})
		db.Resume()
		s.stop()
		db.Exec(t, "SET GLOBAL binlog_expire_logs_seconds=0")
		s = start(t, src, initial(t, src))
		awaitState(t, src, cdc.StateStreaming)
		if until := src.Status().Retained; !until.IsZero() {
			t.Errorf("kept for ever, but until %v", until)
		}
		s.stop()
	})
}

// dumps returns the ids of the server's dump connections.
func dumps(t testing.TB, db *testserver.DB) (ids []string) {
	t.Helper()
	for _, r := range db.Query(t, "SHOW PROCESSLIST") {
		if strings.HasPrefix(r[4], "Binlog Dump") {
			ids = append(ids, r[0])
		}
	}
	return ids
}

// cutDumps ends the server's dump connections. One that is listed may have ended
// when it is to be killed: that of a reader which is gone, or was cut before.
func cutDumps(t testing.TB, db *testserver.DB) {
	t.Helper()
	const unknownThread = 1094
	for _, id := range dumps(t, db) {
		if err := db.Try("KILL " + id); err != nil && testserver.ErrorCode(err) != unknownThread {
			t.Fatal(err)
		}
	}
}

// TestSlowReader reads a transaction that is larger than all buffers between,
// slowly, from a server that gives up slow readers after a second: one
// connection lasts, and rows come at the rate.
func TestSlowReader(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.Exec(t, "BEGIN", wide(1, 5000), wide(5001, 5000), "COMMIT")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.RateLimit.RowsPerSecond = 200 })
		from, began := initial(t, src), time.Now()
		s := start(t, src, from)
		s.awaitRows(t, 200)
		ids := dumps(t, db)
		time.Sleep(4 * time.Second)
		n := len(s.awaitRows(t, 800))
		if most := 200 + 200*time.Since(began).Seconds(); float64(n) > most { // the first second's at once
			t.Errorf("%d rows at a limit of 200 a second: %.0f were due", n, most)
		}
		if after := dumps(t, db); len(ids) != 1 || len(after) != 1 || ids[0] != after[0] {
			t.Errorf("connections %v, then %v", ids, after)
		}
		if st := src.Status(); st.Reconnects != 0 || st.State != cdc.StateStreaming {
			t.Errorf("%+v", st)
		}
	}, testserver.Args("--net-write-timeout=1"))
}

func recorded(s *stream) []cdctest.Recorded {
	batches, _ := s.snapshot()
	return batches
}

// TestPause: a pipeline that takes nothing for long loses its connection, at a
// boundary, and reads on when it takes again.
func TestPause(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode))
		src.pauseMax = 200 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		taken, goOn := make(chan struct{}), make(chan struct{})
		var got []cdctest.Recorded
		done := make(chan error, 1)
		n := 0
		from := initial(t, src)
		go func() {
			done <- src.Run(ctx, from, func(_ context.Context, b *cdc.Batch) error {
				defer b.Release()
				got = append(got, cdctest.Record(b))
				if n == 0 && b.Rows() > 0 {
					close(taken)
					<-goOn
				}
				if n += b.Rows(); n >= 4 {
					cancel()
				}
				return nil
			})
		}()
		db.Exec(t, insert(1, 2))
		<-taken
		for deadline := time.Now().Add(60 * time.Second); src.Status().State != cdc.StateWaiting || len(dumps(t, db)) > 0; time.Sleep(5 * time.Millisecond) {
			db.Exec(t, "INSERT INTO shop.other VALUES (1)", "DELETE FROM shop.other") // the server notices when it writes
			if time.Now().After(deadline) {
				t.Fatalf("the connection is kept: %+v", src.Status())
			}
		}
		if !strings.Contains(src.Status().Reason, "takes nothing") {
			t.Errorf("%+v", src.Status())
		}
		db.Exec(t, insert(3, 2))
		close(goOn)
		<-done
		inOrder(t, cdctest.Rows(got))
		if n != 4 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestPauseInside: inside a transaction the connection is kept.
func TestPauseInside(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	db.Exec(t, insert(1, 2000))
	src := open(t, db)
	src.pauseMax = 2 * time.Second // less than that a busy machine can take at a boundary too
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = src.Run(ctx, initial(t, src), func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		if b.Rows() > 0 && n == 0 {
			time.Sleep(2 * src.pauseMax)
		}
		if n += b.Rows(); n >= 2000 {
			cancel()
		}
		return nil
	})
	if st := src.Status(); n != 2000 || st.Reconnects != 0 {
		t.Errorf("%d rows, %+v", n, st)
	}
}

// TestResumeIsNotLimited: rows that were delivered come back at full speed.
func TestResumeIsNotLimited(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.Exec(t, insert(1, 10000))
		tx := readAll(t, open(t, db))[0].Tx
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.RateLimit.RowsPerSecond = 100 })
		from, began := initial(t, src), time.Now()
		from.Tx, from.Rows = tx, 9000
		s := start(t, src, from)
		s.awaitRows(t, 9000)
		if took := time.Since(began); took > 45*time.Second { // 90 s at the limit
			t.Errorf("9000 delivered rows took %v", took)
		}
		time.Sleep(2 * time.Second)
		n := len(cdctest.Rows(recorded(s)))
		if most := 9000 + 100 + 100*time.Since(began).Seconds(); float64(n) > most {
			t.Errorf("%d rows: no more than %.0f were due", n, most)
		}
	})
}
