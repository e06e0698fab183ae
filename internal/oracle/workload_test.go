package oracle

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the database holds is what the generator says that it holds: otherwise
// the Checker would blame the stream for the oracle's own mistakes.
func TestTablesHoldWhatTheirVersionsSay(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		w := NewWorkload(db, Options{Seed: 1, Interval: time.Millisecond, LargeRows: 300, LargeEvery: 50})
		if err := w.Create(); err != nil {
			t.Fatal(err)
		}
		run(t, w, func() {
			waitFor(t, "200 transactions", func() bool { return w.Stats().Transactions > 200 })
			db.Kill()
			db.Restart(t)
			before := w.Stats().Transactions
			waitFor(t, "200 more transactions", func() bool { return w.Stats().Transactions > before+200 })
		})
		all, err := w.Tables()
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables() {
			if len(all[table.name]) < 4 {
				t.Errorf("%s has only %d rows", table.name, len(all[table.name]))
			}
			for _, row := range all[table.name] {
				n, v := number(row[table.column("n")]), number(row[table.column("v")])
				_, want := table.row(n, v)
				if i := table.column("n_rows"); i >= 0 {
					want[i] = row[i]
				}
				if !slices.Equal(row, want) {
					t.Fatalf("%s, key %d, version %d:\n got %q\nwant %q", table.name, n, v, row, want)
				}
			}
		}
		stats := w.Stats()
		t.Logf("%+v", stats)
		if stats.Undone == 0 || stats.Reconnects == 0 {
			t.Errorf("nothing was undone, or no connection broke: %+v", stats)
		}
	})
}

// run lets the workload work while f does, and ends it.
func run(t *testing.T, w *Workload, f func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Fatalf("workload: %v", err)
		}
	}()
	f()
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute) // a disk may take long to sync, for each of 800 transactions
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited five minutes for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
