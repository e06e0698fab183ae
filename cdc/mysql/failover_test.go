package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// pairs runs a test with a server and its replica, of both families.
func pairs(t *testing.T, test func(t *testing.T, a, b *testserver.DB)) {
	t.Helper()
	beside(t, map[string]func(t *testing.T){
		"mysql": func(t *testing.T) { pair(t, testserver.MySQL(t), testserver.MySQL(t), test) },
		"mariadb": func(t *testing.T) {
			args := testserver.Args("--log-slave-updates=ON", "--gtid-strict-mode=ON")
			pair(t, testserver.MariaDB(t, args), testserver.MariaDB(t, args), test)
		},
	})
}

func pair(t *testing.T, a, b *testserver.DB, test func(t *testing.T, a, b *testserver.DB)) {
	b.Replicate(t, a)
	prepare(t, a)
	b.CatchUp(t, a)
	test(t, a, b)
}

// hosts makes a source read from a list.
func hosts(addrs ...string) func(*Config, *cdc.Env) {
	return func(c *Config, _ *cdc.Env) { c.DSN = unit.NewSecret("mysql://root@" + strings.Join(addrs, ",") + "/") }
}

// inOrder checks that each of n rows came once, in the order of their ids, from 1.
func inOrder(t testing.TB, rows []cdctest.RecordedRow) {
	t.Helper()
	for i, r := range rows {
		if !strings.HasPrefix(r.Text, fmt.Sprintf("c shop.orders (id=%d ", i+1)) {
			t.Fatalf("row %d of %d is %.80s", i, len(rows), r.Text)
		}
	}
}

// wide is an insert of n rows of about a kilobyte.
func wide(from, n int) string {
	return strings.ReplaceAll(insert(from, n), "'x", "'"+strings.Repeat("y", 1000))
}

// TestFailover kills the server in the middle of a large transaction that its
// replica has. Reading goes on there, in the middle of the same transaction.
func TestFailover(t *testing.T) {
	pairs(t, func(t *testing.T, a, b *testserver.DB) {
		// Tagged GTIDs, and domains: the set that is compared has all of them.
		apart, normal := "SET gtid_next='AUTOMATIC:blue'", "SET gtid_next='AUTOMATIC'"
		if a.Flavor == testserver.FlavorMariaDB {
			apart, normal = "SET SESSION gtid_domain_id=7", "SET SESSION gtid_domain_id=0"
		}
		for id := 1; id <= 9; id += 3 {
			a.Exec(t, apart, insert(id, 2), normal, insert(id+2, 1))
			b.CatchUp(t, a) // domains are replicated independently of each other
		}
		a.Exec(t, insert(10, 1))
		a.Exec(t, "BEGIN", wide(11, 5000), wide(5011, 5000), "COMMIT")
		b.CatchUp(t, a)
		src := open(t, a, hosts(a.Addr(), b.Addr()))
		var got []cdctest.Recorded
		n, errDone := 0, errors.New("done")
		ctx, cancel := context.WithTimeout(t.Context(), runMax)
		defer cancel()
		err := src.Run(ctx, initial(t, src), func(_ context.Context, r *cdc.Batch) error {
			defer r.Release()
			got = append(got, cdctest.Record(r))
			before := n
			n += r.Rows()
			switch {
			case before < 2000 && n >= 2000:
				a.Kill()
				b.Promote(t)
				b.Exec(t, insert(10011, 3))
			case n >= 10013:
				return errDone
			}
			return nil
		})
		if !errors.Is(err, errDone) {
			t.Fatalf("%v after %d rows; %+v", err, n, src.Status())
		}
		inOrder(t, cdctest.Rows(got))
		if st := src.Status(); st.Server != b.Addr() || st.Reconnects == 0 {
			t.Errorf("%+v", st)
		}
		// The new server's own position is good for a restart.
		rest, err := cdctest.Read(t, src, cdc.Start{Base: got[len(got)-1].Begin}, cdctest.UntilHead(t, src))
		if rows := cdctest.Rows(rest); err != nil || len(rows) == 0 || !strings.Contains(rows[len(rows)-1].Text, "id=10013 ") {
			t.Errorf("%v %v", err, texts(rows))
		}
	})
}

// TestLaggingReplica: a server that has not all that was delivered is waited
// for, and read once it has.
func TestLaggingReplica(t *testing.T) {
	pairs(t, func(t *testing.T, a, b *testserver.DB) {
		way := testserver.NewProxy(t, a.Addr())
		src := open(t, a, hosts(way.Addr(), b.Addr()))
		s := start(t, src, initial(t, src))
		halt, goOn := "STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"
		if a.Flavor == testserver.FlavorMariaDB {
			halt, goOn = "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"
		}
		b.Exec(t, halt)
		a.Exec(t, insert(1, 5))
		s.awaitRows(t, 5)
		way.Down(true)
		// The other host is asked again and again in between, and is not there.
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if st := src.Status(); st.State == cdc.StateBehind && strings.Contains(st.Reason, "lacks") {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("that it is behind is not told: %+v", st)
			}
		}
		a.Exec(t, insert(6, 5))
		b.Exec(t, goOn)
		inOrder(t, s.awaitRows(t, 10))
		if st := src.Status(); st.State != cdc.StateStreaming || st.Server != b.Addr() {
			t.Errorf("%+v", st)
		}
	})
}

func awaitState(t testing.TB, src *Source, want cdc.State) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); src.Status().State != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("state %s was due: %+v", want, src.Status())
		}
	}
}

// TestListRefuses: when no host of a list will do, Run ends and says why of each.
func TestListRefuses(t *testing.T) {
	one, other := testserver.MySQL(t, testserver.NoGTID()), testserver.MySQL(t, testserver.NoGTID())
	prepare(t, one)
	third := testserver.MySQL(t, testserver.NoGTID())
	s := start(t, open(t, other, hosts(other.Addr(), third.Addr())), initial(t, open(t, one)))
	s.fails(t, "server_changed")
	if _, err := s.snapshot(); !strings.Contains(err.Error(), other.Addr()) || !strings.Contains(err.Error(), third.Addr()) {
		t.Error(err)
	}
	// The right one among them is found.
	s = start(t, open(t, one, hosts(other.Addr(), one.Addr())), initial(t, open(t, one)))
	one.Exec(t, insert(1, 2))
	inOrder(t, s.awaitRows(t, 2))
}

// TestBadNetwork reads a workload over a connection that is cut, delayed and
// sliced: every row comes once, in order.
func TestBadNetwork(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		way := testserver.NewProxy(t, db.Addr())
		src := open(t, db, with(mode), hosts(way.Addr()))
		s := start(t, src, initial(t, open(t, db, with(mode))))
		id, random := 1, rand.New(rand.NewPCG(1, 2))
		for round := range 8 {
			switch round % 3 {
			case 0:
				way.Slice(1+random.IntN(2000), time.Duration(random.IntN(200))*time.Microsecond)
			case 1:
				way.Slice(0, 0)
			}
			for range 4 {
				n := 1 + random.IntN(3)
				if random.IntN(3) == 0 {
					n = 900 + random.IntN(600)
				}
				way.CutIn(int64(1 + random.IntN(300_000)))
				db.Exec(t, wide(id, n))
				id += n
			}
			if round%4 == 3 {
				way.Slice(0, 0)
				way.CutIn(0)
				s.awaitRows(t, id-1)
			}
		}
		way.Cut()
		db.Exec(t, insert(id, 1))
		inOrder(t, s.awaitRows(t, id))
		if way.Cuts() < 3 || src.Status().Reconnects == 0 {
			t.Errorf("%d cuts; %+v", way.Cuts(), src.Status())
		}
	})
}

// TestLogReplaced: a server whose log was reset gives its files and GTIDs
// numbers that were read before; that is noticed once the log has regrown.
func TestLogReplaced(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		db.Exec(t, insert(1, 10))
		src := open(t, db, with(mode))
		got, err := cdctest.Read(t, src, initial(t, src), cdctest.UntilHead(t, src))
		if err != nil {
			t.Fatal(err)
		}
		reset := "RESET BINARY LOGS AND GTIDS"
		if db.Flavor == testserver.FlavorMariaDB {
			reset = "RESET MASTER"
		}
		time.Sleep(1100 * time.Millisecond) // the log's clock has seconds
		db.Exec(t, "DROP DATABASE shop", reset)
		prepare(t, db)
		for i := range 5 { // over several files: with GTIDs the server would begin in a later one than ours
			db.Exec(t, insert(1+10*i, 10), "FLUSH BINARY LOGS")
		}
		from, ledger := got[len(got)-1].End, &ledger{}
		keep := func(_ *Config, e *cdc.Env) { e.Gaps = ledger }
		start(t, open(t, db, with(mode), keep), cdc.Start{Base: from}).fails(t, "log_replaced")
		if gaps := ledger.list(t); len(gaps) != 1 || gaps[0].Cause != "log_replaced" || gaps[0].From != from {
			t.Errorf("%+v", gaps)
		}
	})
}

// ledger is a cdc.GapLedger in memory.
type ledger struct{ records map[string][]byte }

func (l *ledger) Put(key string, record []byte) error {
	if l.records == nil {
		l.records = map[string][]byte{}
	}
	if _, known := l.records[key]; !known {
		l.records[key] = record
	}
	return nil
}

func (l *ledger) list(t testing.TB) (gaps []cdc.Gap) {
	t.Helper()
	for _, r := range l.records {
		g, err := cdc.DecodeGap(r)
		if err != nil {
			t.Fatal(err)
		}
		gaps = append(gaps, g)
	}
	return gaps
}

// TestLost: a gap is what every host says is gone.
func TestLost(t *testing.T) {
	purged := fault.New(fault.Environment, "position_purged", "", "", "x")
	replaced := fault.New(fault.Fatal, "log_replaced", "", "", "x")
	denied := fault.New(fault.Environment, "access_denied", "", "", "x")
	for want, verdicts := range map[string][]error{"position_purged": {purged, errors.Join(purged, nil)}, "log_replaced": {purged, replaced}} {
		if got := lost(verdicts...); got != want {
			t.Errorf("%v: %q", verdicts, got)
		}
	}
	for _, verdicts := range [][]error{{denied}, {purged, denied}, {denied, purged}, {errors.New("x")}, {}} {
		if got := lost(verdicts...); got != "" {
			t.Errorf("%v: %q", verdicts, got)
		}
	}
}

// TestTour: which host is asked next, and when there is none left.
func TestTour(t *testing.T) {
	now := time.Unix(0, 0)
	lost := fault.New(fault.Retryable, "connection_lost", "", "", "x")
	behind := fault.New(fault.Fatal, "source_behind", "", "", "x")
	purged := fault.New(fault.Environment, "position_purged", "", "", "x")
	type at struct {
		host   int
		worked bool
		why    error
		next   int
		state  cdc.State
		end    string
	}
	for name, c := range map[string]struct {
		hosts int
		steps []at
	}{
		"a host that worked comes first": {2, []at{{0, true, lost, 0, cdc.StateWaiting, ""}, {0, false, lost, 1, cdc.StateWaiting, ""},
			{1, false, lost, 0, cdc.StateWaiting, ""}}},
		"all refuse":           {2, []at{{0, false, purged, 1, cdc.StateWaiting, ""}, {1, false, purged, 0, cdc.StateWaiting, "position_purged"}}},
		"one is away":          {2, []at{{0, false, lost, 1, cdc.StateWaiting, ""}, {1, false, purged, 0, cdc.StateWaiting, ""}, {0, false, lost, 1, cdc.StateWaiting, ""}}},
		"one may catch up":     {2, []at{{0, false, behind, 1, cdc.StateBehind, ""}, {1, false, purged, 0, cdc.StateBehind, ""}, {0, false, behind, 1, cdc.StateBehind, ""}}},
		"the only one lags":    {1, []at{{0, false, behind, 0, cdc.StateBehind, ""}, {0, false, behind, 0, cdc.StateBehind, ""}, {0, false, behind, 0, cdc.StateBehind, "source_behind"}}},
		"the only one refuses": {1, []at{{0, true, purged, 0, cdc.StateWaiting, "position_purged"}}},
	} {
		tour := newTour(c.hosts, 2*time.Second, func() time.Time { return now })
		for i, s := range c.steps {
			got := tour.next(s.host, s.worked, s.why)
			if got.host != s.next || got.state != s.state || (got.end != nil) != (s.end != "") || s.end != "" && !fault.HasCode(got.end, s.end) ||
				got.wait <= 0 || got.wait > backoffMax {
				t.Errorf("%s, step %d: %+v, want %+v", name, i, got, s)
			}
			now = now.Add(time.Second)
		}
	}
}

// TestResetUnderneath resets the log while it is read, and writes it anew: the
// rows that come then are other rows in old places, and none is handed out.
func TestResetUnderneath(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode))
		s := start(t, src, initial(t, src))
		for i := range 5 {
			db.Exec(t, insert(1+10*i, 10))
		}
		inOrder(t, s.awaitRows(t, 50))
		reset := "RESET BINARY LOGS AND GTIDS"
		if db.Flavor == testserver.FlavorMariaDB {
			reset = "RESET MASTER"
		}
		time.Sleep(1100 * time.Millisecond) // the log's clock has seconds
		db.Exec(t, reset)
		for i := range 20 {
			_ = db.Try(insert(1000+100*i, 100))
		}
		select {
		case <-s.done:
		case <-time.After(60 * time.Second):
			t.Fatalf("Run goes on: %+v", src.Status())
		}
		batches, err := s.snapshot()
		t.Log(err)
		if f := fault.Of(err); f.Code != "log_replaced" && f.Code != "source_behind" || f.Hint == "" {
			t.Errorf("%v", err)
		}
		if n := len(cdctest.Rows(batches)); n != 50 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestBrokenLog: a log that the server itself can't read is asked for again,
// and then Run ends with what the server says.
func TestBrokenLog(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.Exec(t, insert(1, 10), insert(11, 10), "FLUSH BINARY LOGS", insert(21, 10))
		src := open(t, db)
		from := initial(t, src)
		file := filepath.Join(db.BinlogDir(), "binlog.000001")
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, info.Size()-150); err != nil { // inside the last transaction
			t.Fatal(err)
		}
		s := start(t, src, from)
		s.fails(t, "server_refused")
		batches, err := s.snapshot()
		inOrder(t, cdctest.Rows(batches))
		if n := len(cdctest.Rows(batches)); n != 10 || src.Status().Reconnects > 3 {
			t.Errorf("%d rows, %v; %+v", n, err, src.Status())
		}
	})
}
