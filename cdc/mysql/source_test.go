package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup is a server and how it is read.
type setup struct {
	name, mode string
	start      func(testing.TB) *testserver.DB
}

// setups are both servers, with GTIDs and without.
func setups() []setup {
	return []setup{
		{"mysql/gtid", modeGTID, func(t testing.TB) *testserver.DB { return testserver.MySQL(t) }},
		{"mysql/file", modeAuto, func(t testing.TB) *testserver.DB { return testserver.MySQL(t, testserver.NoGTID()) }},
		{"mariadb/gtid", modeAuto, func(t testing.TB) *testserver.DB { return testserver.MariaDB(t) }},
		{"mariadb/file", modeFile, func(t testing.TB) *testserver.DB { return testserver.MariaDB(t) }},
	}
}

// modes runs a test on all setups, beside each other: mostly they wait.
func modes(t *testing.T, test func(t *testing.T, db *testserver.DB, mode string)) {
	t.Helper()
	tests := map[string]func(t *testing.T){}
	for _, s := range setups() {
		tests[s.name] = func(t *testing.T) { test(t, s.start(t), s.mode) }
	}
	beside(t, tests)
}

// each is testserver.Each with both beside each other. Tests that measure time or
// memory have that one.
func each(t *testing.T, test func(t *testing.T, db *testserver.DB), opts ...testserver.Option) {
	t.Helper()
	beside(t, map[string]func(t *testing.T){
		testserver.FlavorMySQL:   func(t *testing.T) { test(t, testserver.MySQL(t, opts...)) },
		testserver.FlavorMariaDB: func(t *testing.T) { test(t, testserver.MariaDB(t, opts...)) },
	})
}

// beside runs subtests beside each other, and returns when all have ended.
func beside(t *testing.T, tests map[string]func(t *testing.T)) {
	t.Helper()
	t.Run("on", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(tests)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tests[name](t)
			})
		}
	})
}

// open returns a source that follows shop.orders.
func open(t testing.TB, db *testserver.DB, change ...func(*Config, *cdc.Env)) *Source {
	t.Helper()
	c, env := *Default(), cdc.Env{Pipeline: t.Name()}
	c.DSN, c.Tables, c.HeartbeatInterval = unit.NewSecret(db.DSN()), []string{"shop.orders"}, unit.Duration(200*time.Millisecond)
	for _, f := range change {
		f(&c, &env)
	}
	src, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	src.behindMax = 200 * time.Millisecond
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

func with(mode string) func(*Config, *cdc.Env) { return func(c *Config, _ *cdc.Env) { c.Mode = mode } }

// prepare makes the followed table and one that is not.
func prepare(t testing.TB, db *testserver.DB) {
	t.Helper()
	db.Exec(t, "CREATE DATABASE shop",
		"CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT UNSIGNED, note VARCHAR(3000))",
		"CREATE TABLE shop.other (id INT PRIMARY KEY)")
}

// insert returns a statement of n rows from an id on.
func insert(from, n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("(%d, 1, '%s')", from+i, strings.Repeat("x", i%200))
	}
	return "INSERT INTO shop.orders VALUES " + strings.Join(rows, ",")
}

func workload(t testing.TB, db *testserver.DB) {
	t.Helper()
	prepare(t, db)
	db.Exec(t, "INSERT INTO shop.orders VALUES (1, 10, 'a'), (2, 4294967295, NULL)",
		"INSERT INTO shop.other VALUES (1)",
		"UPDATE shop.orders SET qty = 11 WHERE id = 1",
		"FLUSH BINARY LOGS",
		"BEGIN", "INSERT INTO shop.other VALUES (2)", "DELETE FROM shop.orders WHERE id = 2", "COMMIT",
		insert(1000, 1500),
		"BEGIN", "INSERT INTO shop.orders VALUES (5000, 1, 'rolled back')", "ROLLBACK",
		"BEGIN", "INSERT INTO shop.orders VALUES (5000, 1, 'x')", "SAVEPOINT a", "INSERT INTO shop.orders VALUES (5001, 1, 'y')",
		"ROLLBACK TO a", "COMMIT",
		"TRUNCATE TABLE shop.orders",
		"FLUSH BINARY LOGS",
		"INSERT INTO shop.orders VALUES (3, 3, 'last')")
	for i := range 20 {
		db.Exec(t, insert(10000+i, 1), insert(20000+100*i, 60))
	}
	db.Exec(t, "INSERT INTO shop.other VALUES (3)")
}

func TestConform(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		workload(t, db)
		cdctest.Conform(t, func(t testing.TB) cdc.Source { return open(t, db, with(mode)) })
	})
}

func initial(t testing.TB, src *Source) cdc.Start {
	t.Helper()
	p, err := src.Initial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return cdc.Start{Base: p}
}

// readAll reads from the configured start to the head as of now.
func readAll(t testing.TB, src *Source) []cdctest.RecordedRow {
	t.Helper()
	got, err := cdctest.Read(t, src, initial(t, src), cdctest.UntilHead(t, src))
	if err != nil {
		t.Fatal(err)
	}
	return cdctest.Rows(got)
}

func texts(rows []cdctest.RecordedRow) (list []string) {
	for _, r := range rows {
		list = append(list, r.Text)
	}
	return list
}

func TestRows(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Tables = []string{"shop.o*s", "sys.x*"} })
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, 10, 'a'), (2, 4294967295, NULL)",
			"INSERT INTO shop.other VALUES (1)", "UPDATE shop.orders SET note = _utf8mb4 x'c3bc' WHERE id = 1",
			"BEGIN", "DELETE FROM shop.orders WHERE id = 2", "INSERT INTO shop.other VALUES (2)", "COMMIT",
			"TRUNCATE shop.orders")
		rows := readAll(t, src)
		want := []string{`c shop.orders (id=1 qty=10 note="a")`, `c shop.orders (id=2 qty=4294967295 note=NULL)`,
			`u shop.orders [id=1 qty=10 note="a"] (id=1 qty=10 note="ü")`,
			`d shop.orders [id=2 qty=4294967295 note=NULL]`, `t shop.orders`}
		if d := cmp.Diff(want, texts(rows)); d != "" {
			t.Fatal(d)
		}
		if rows[0].Tx != rows[1].Tx || rows[1].Tx == rows[2].Tx || rows[0].RowsTotal != 2 {
			t.Errorf("transactions: %+v", rows)
		}
		if gtid := mode == modeGTID; gtid && !strings.HasPrefix(rows[0].Tx, db.Value(t, "SELECT @@server_uuid")) {
			t.Errorf("transaction id %s", rows[0].Tx)
		}
	})
}

// runMax bounds a reading that ends by itself, or when something has come: on a
// machine that has much else to do.
const runMax = 4 * time.Minute

// stream runs a source in the background and keeps what it emits.
type stream struct {
	src    *Source
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	batches []cdctest.Recorded
	err     error
}

func start(t testing.TB, src *Source, from cdc.Start) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{src: src, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		err := src.Run(ctx, from, func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.batches = append(s.batches, cdctest.Record(b))
			return nil
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *stream) stop() {
	s.cancel()
	<-s.done
}

func (s *stream) snapshot() ([]cdctest.Recorded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]cdctest.Recorded(nil), s.batches...), s.err
}

// await waits until the condition holds of what was emitted.
func (s *stream) await(t testing.TB, what string, ok func(batches []cdctest.Recorded) bool) []cdctest.Recorded {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		batches, err := s.snapshot()
		switch {
		case ok(batches):
			return batches
		case err != nil:
			t.Fatalf("waiting for %s: %v", what, err)
		case time.Now().After(deadline):
			t.Fatalf("no %s after %d batches; %+v", what, len(batches), s.src.Status())
		}
	}
}

func (s *stream) awaitRows(t testing.TB, n int) []cdctest.RecordedRow {
	t.Helper()
	return cdctest.Rows(s.await(t, fmt.Sprintf("%d rows", n), func(b []cdctest.Recorded) bool { return len(cdctest.Rows(b)) >= n }))
}

// fails waits for Run's own end.
func (s *stream) fails(t testing.TB, code string) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		t.Fatalf("Run goes on, %s was due; %+v", code, s.src.Status())
	}
	if _, err := s.snapshot(); !fault.HasCode(err, code) || fault.Of(err).Hint == "" {
		t.Fatalf("Run returned %v, %s was due", err, code)
	}
}

// TestServerKilled kills the server again and again under a stream of large and
// small transactions; every committed row comes once, in order.
func TestServerKilled(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		s := start(t, open(t, db, with(mode)), initial(t, open(t, db, with(mode))))
		id := 1
		for round := range 3 {
			for i := range 5 {
				db.Exec(t, insert(id, 1+700*(i%2)))
				id += 1 + 700*(i%2)
			}
			if round == 1 {
				s.awaitRows(t, id-1)
			}
			db.Kill()
			if err := db.Start(); err != nil {
				t.Fatal(err)
			}
		}
		db.Exec(t, insert(id, 1))
		rows := s.awaitRows(t, id)
		for i, r := range rows {
			if !strings.HasPrefix(r.Text, fmt.Sprintf("c shop.orders (id=%d ", i+1)) {
				t.Fatalf("row %d is %s", i, r.Text)
			}
		}
		if st := s.src.Status(); st.Reconnects == 0 || st.State != cdc.StateStreaming {
			t.Errorf("status %+v", st)
		}
	})
}

// TestCutInside cuts the connection while a large transaction is handed out.
func TestCutInside(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		// More than the socket's buffers hold.
		long := func(from int) string {
			return strings.ReplaceAll(insert(from, 10000), "'x", "'"+strings.Repeat("y", 1000))
		}
		db.Exec(t, "BEGIN", long(1), long(10001), "COMMIT")
		src := open(t, db, with(mode))
		n, cuts := 0, 0
		var got []cdctest.Recorded
		errDone := errors.New("done")
		err := src.Run(t.Context(), initial(t, src), func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			got = append(got, cdctest.Record(b))
			if n += b.Rows(); n >= 20000 {
				return errDone
			}
			if b.Rows() > 0 && cuts < 3 {
				cuts++
				cutDumps(t, db)
			}
			return nil
		})
		if !errors.Is(err, errDone) {
			t.Fatal(err)
		}
		rows := cdctest.Rows(got)
		for i, r := range rows {
			if r.Ordinal != uint64(i) {
				t.Fatalf("row %d has ordinal %d", i, r.Ordinal)
			}
		}
		if src.Status().Reconnects == 0 {
			t.Error("the connection was never cut")
		}
	})
}

// TestFilteredMoves: transactions without followed rows move the position.
func TestFilteredMoves(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Start = startLatest })
		s := start(t, src, initial(t, src))
		db.Exec(t, "INSERT INTO shop.other VALUES (1)", "INSERT INTO shop.other VALUES (2)", "CREATE TABLE shop.third (id INT)")
		head := cdctest.UntilHead(t, src)
		batches := s.await(t, "position at the head", func(b []cdctest.Recorded) bool { return len(b) > 0 && head(b[len(b)-1]) })
		if len(cdctest.Rows(batches)) != 0 {
			t.Errorf("rows %v", cdctest.Rows(batches))
		}
		db.Exec(t, "FLUSH BINARY LOGS")
		head = cdctest.UntilHead(t, src)
		s.await(t, "position behind the rotation", func(b []cdctest.Recorded) bool { return head(b[len(b)-1]) })
		db.Exec(t, insert(1, 1))
		s.awaitRows(t, 1)
	})
}

// TestPromptly: a committed row comes at once, not with the next heartbeat.
func TestPromptly(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		src := open(t, db, func(c *Config, _ *cdc.Env) {
			c.Start, c.HeartbeatInterval = startLatest, unit.Duration(time.Minute)
		})
		s := start(t, src, initial(t, src))
		db.Exec(t, insert(1, 1))
		s.awaitRows(t, 1)
		best := time.Hour
		for i := range 10 {
			db.Exec(t, insert(2+i, 1))
			began := time.Now()
			s.awaitRows(t, 2+i)
			best = min(best, time.Since(began))
		}
		if best > time.Second {
			t.Errorf("the fastest of ten took %v", best)
		}
	})
}

// TestInitial: the ways to say where a new pipeline begins.
func TestInitial(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		db.Exec(t, insert(1, 1))
		at := func(where string) *Source {
			return open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Start = where })
		}
		latest, err := at(startLatest).Initial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := position.Decode(latest)
		if err != nil {
			t.Fatal(err)
		}
		starts := []string{startLatest, p.Place()}
		if p.GTIDs != nil {
			starts = append(starts, p.GTIDs.String())
		}
		db.Exec(t, insert(2, 1))
		if got := readAll(t, at(startEarliest)); len(got) != 2 {
			t.Errorf("earliest: %v", texts(got))
		}
		for _, where := range starts[1:] {
			if got := readAll(t, at(where)); len(got) != 1 || !strings.Contains(got[0].Text, "id=2") {
				t.Errorf("%s: %v", where, texts(got))
			}
		}
		s := start(t, at(startLatest), cdc.Start{Base: latest})
		s.awaitRows(t, 1)
	})
}

// TestServerDown: Run waits for a server that is not there, says so, and ends
// with its context.
func TestServerDown(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	src := open(t, db)
	from := initial(t, src)
	db.Stop()
	s := start(t, src, from)
	for deadline := time.Now().Add(60 * time.Second); src.Status().Reconnects < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", src.Status())
		}
	}
	if st := src.Status(); st.Reason == "" || st.State != cdc.StateWaiting && st.State != cdc.StateConnecting {
		t.Errorf("%+v", st)
	}
	began := time.Now()
	s.stop()
	if _, err := s.snapshot(); !errors.Is(err, context.Canceled) || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if st := src.Status(); st.State != cdc.StateStopped {
		t.Errorf("%+v", st)
	}
}

// TestFollowsServer: a server that comes back is read on.
func TestFollowsServer(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		src := open(t, db)
		from := initial(t, src)
		db.Stop()
		s := start(t, src, from)
		if err := db.Start(); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, insert(1, 1))
		s.awaitRows(t, 1)
	})
}
