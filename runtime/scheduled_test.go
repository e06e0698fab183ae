package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// batchRun is one run as a consumer sees it.
type batchRun struct {
	number string
	rows   map[int64]int // of the copy, by key: how often
	told   int           // of the log
	ended  bool
}

// batchRuns reads a stream of a pipeline with a schedule, and checks that each row
// lies between the begin and the end of its run, which count them.
func batchRuns(ctx context.Context, t *testing.T, nc *nats.Conn) (runs []*batchRun) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var now *batchRun
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Op       string
			Run      uint64
			Due      int64 `json:"due_ms"`
			Messages int
			After    struct{ ID int64 }
		}
		if err := json.Unmarshal(m.Data, &body); err != nil {
			t.Fatal(err)
		}
		run := m.Header.Get("Cdc-Run")
		switch kind := m.Header.Get("Cdc-Kind"); {
		case kind == "run_begin":
			now = &batchRun{number: run, rows: map[int64]int{}}
			runs = append(runs, now)
			if run != fmt.Sprint(body.Run) || body.Due == 0 {
				t.Errorf("message %d, of run %s: %s", seq, run, m.Data)
			}
		case kind == "run_end":
			rows := now.told
			for _, n := range now.rows {
				rows += n
			}
			if now.ended || now.number != run || body.Messages != rows {
				t.Errorf("message %d ends run %s behind %d rows of run %s: %s", seq, run, rows, now.number, m.Data)
			}
			now.ended = true
		case kind != "":
		case now == nil || now.ended || now.number != run:
			t.Fatalf("message %d is of run %q, behind %+v", seq, run, now)
		case body.Op == "r":
			now.rows[body.After.ID]++
		default:
			now.told++
		}
	}
	return runs
}

// whole checks that a run has each key of 0..n-1 once.
func (r *batchRun) whole(t *testing.T, n int) {
	t.Helper()
	if !r.ended || len(r.rows) != n {
		t.Errorf("run %s: %d of %d rows, ended %v", r.number, len(r.rows), n, r.ended)
	}
	for id, times := range r.rows {
		if times != 1 || id < 0 || id >= int64(n) {
			t.Errorf("run %s: row %d is there %d times", r.number, id, times)
		}
	}
}

func fillBatch(t *testing.T, db *testserver.DB, n int) {
	t.Helper()
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, email VARCHAR(100))")
	for from := 0; from < n; from += 1000 {
		var rows []string
		for id := from; id < min(n, from+1000); id++ {
			rows = append(rows, fmt.Sprintf("(%d, 'a%d@b.c')", id, id))
		}
		db.Exec(t, "INSERT INTO shop.orders VALUES "+strings.Join(rows, ","))
	}
}

func batchConfig(t *testing.T, db *testserver.DB, ns *testserver.NATSServer, schedule, more string) string {
	return fmt.Sprintf(`
version: 1
pipelines:
  shop:
    schedule: %s
    source: {mysql: {dsn: %q, tables: [shop.orders], snapshot: only, snapshot_options: {chunk_bytes: 64KiB}%s}}
    steps: [{wasm: mask, with: {columns: [email], how: sha256}}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, schedule, db.DSN(), more, t.TempDir(), ns.URL())
}

// daemon runs a configuration in this process until the returned function is
// called.
func daemon(t *testing.T, yaml string) (d *runtime.Daemon, stop func()) {
	t.Helper()
	o := options(t, parse(t, yaml))
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	return started(t, o)
}

// awaitRuns waits until the schedule's status is as wanted.
func awaitRuns(t *testing.T, d *runtime.Daemon, what string, is func(telemetry.Status, *telemetry.Schedule) bool) telemetry.Status {
	t.Helper()
	for patience := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s := d.Status()[0]
		if s.Schedule != nil && is(s, s.Schedule) {
			return s
		}
		if time.Now().After(patience) {
			t.Fatalf("%s does not come about: %+v, last %+v", what, s.Schedule, s.Schedule.Last)
		}
	}
}

// Each run delivers the table whole, as it is then, also when it was altered
// since; between two of them nothing of the pipeline is there.
func TestScheduledRuns(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		ns := testserver.NATS(t)
		fillBatch(t, db, 500)
		d, stop := daemon(t, batchConfig(t, db, ns, `"@every 1s"`, ""))
		awaitRuns(t, d, "a run", func(_ telemetry.Status, s *telemetry.Schedule) bool { return s.OK >= 1 })
		db.Exec(t, "INSERT INTO shop.orders VALUES (500, 'new')", "ALTER TABLE shop.orders ADD note INT FIRST")
		old := d.Status()[0].Schedule.Last.Run // the last run that may have begun before
		awaitRuns(t, d, "two more", func(_ telemetry.Status, s *telemetry.Schedule) bool { return s.OK >= 4 && s.Last.Run > old+2 })
		s := awaitRuns(t, d, "a rest", func(p telemetry.Status, s *telemetry.Schedule) bool { return p.State == "scheduled" })
		last := s.Schedule.Last
		if !s.Ready || last.Result != telemetry.RunOK || last.Messages != 501 || last.Rows != 501 || last.Ended == nil || s.Schedule.Next == nil ||
			!s.Schedule.Next.After(*last.Ended) || s.GuestBytes != 0 || s.Sink.Messages < 3*500 {
			t.Errorf("%+v: %+v, %+v", s, s.Schedule, last)
		}
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all := batchRuns(ctx, t, ns.Conn(t))
		if len(all) < 4 {
			t.Fatalf("%d runs", len(all))
		}
		all[0].whole(t, 500)
		for _, r := range all[:len(all)-1] {
			if n, err := strconv.ParseUint(r.number, 10, 64); err != nil || n > old {
				r.whole(t, 501)
			}
		}
	})
}

// streamEnd returns the last sequence of the stream; 0 before there is one.
func streamEnd(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "SHOP")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// A run that fails is visible, and the next one comes all the same.
func TestScheduledFailure(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		ns := testserver.NATS(t)
		fillBatch(t, db, 10)
		d, stop := daemon(t, batchConfig(t, db, ns, `"@every 1s"`, ""))
		awaitRuns(t, d, "a run", func(_ telemetry.Status, s *telemetry.Schedule) bool { return s.OK >= 1 })
		db.Exec(t, "RENAME TABLE shop.orders TO shop.gone")
		s := awaitRuns(t, d, "a failed run", func(p telemetry.Status, s *telemetry.Schedule) bool { return s.Failed >= 1 && p.State == "scheduled" })
		if last := s.Schedule.Last; s.Ready || s.Code != "unknown_table" || last.Result != telemetry.RunFailed || last.Code != s.Code || last.Reason == "" {
			t.Errorf("%+v: %+v", s, last)
		}
		db.Exec(t, "RENAME TABLE shop.gone TO shop.orders")
		ok := s.Schedule.OK
		s = awaitRuns(t, d, "a run again", func(p telemetry.Status, s *telemetry.Schedule) bool { return s.OK > ok && p.State == "scheduled" })
		if !s.Ready || s.Code != "" {
			t.Errorf("%+v", s)
		}
		stop()
	})
}

// A daemon that is killed in runs goes on with each, and every run is whole.
func TestScheduledKilled(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		ns := testserver.NATS(t)
		const rows = 3000
		fillBatch(t, db, rows)
		yaml := batchConfig(t, db, ns, `"@every 1s"`, ", rate_limit: {rows_per_second: 4000}")
		path := childFiles(t, yaml)
		for life := range 6 {
			child, nc := startChild(t, path), ns.Conn(t)
			before, patience := streamEnd(t, nc), time.Now().Add(20*time.Second)
			for streamEnd(t, nc) < before+uint64(200+700*life) && time.Now().Before(patience) {
				time.Sleep(5 * time.Millisecond)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait() // it was killed
		}
		d, stop := daemon(t, yaml)
		had := uint64(0)
		awaitRuns(t, d, "two runs more", func(_ telemetry.Status, s *telemetry.Schedule) bool {
			if had == 0 && s.OK > 0 {
				had = s.OK
			}
			return had > 0 && s.OK >= had+2
		})
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all := batchRuns(ctx, t, ns.Conn(t))
		t.Logf("%d runs", len(all))
		for i, r := range all {
			if i == len(all)-1 && !r.ended {
				break // it was stopped in it
			}
			r.whole(t, rows)
			if r.number != fmt.Sprint(i+1) {
				t.Errorf("run %d has the number %s", i+1, r.number)
			}
		}
	})
}
