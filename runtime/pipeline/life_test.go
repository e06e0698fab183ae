package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/state"
)

var orders = cdctest.Table(1, "orders")

// tx returns a transaction of rows that the model step passes on.
func tx(n, rows int) cdctest.Tx {
	t := cdctest.Tx{ID: fmt.Sprintf("u:%d", n), Time: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}
	for range rows {
		t.Rows = append(t.Rows, cdctest.Row{Schema: orders, Key: 5})
	}
	return t
}

func txs(n int) (all []cdctest.Tx) {
	for i := range n {
		all = append(all, tx(i+1, 1))
	}
	return all
}

// running is a pipeline that runs until stop.
type running struct {
	*rig
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, r *rig) *running {
	ctx, cancel := context.WithCancel(t.Context())
	run := &running{rig: r, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { run.done <- r.p.Run(ctx) }()
	synctest.Wait()
	return run
}

// end stops the pipeline and returns what Run returned.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	err := <-r.done
	r.close(r.t)
	return err
}

func (r *running) checkpoint() state.Checkpoint {
	r.t.Helper()
	c, _, err := r.state.Load()
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func TestStopSettlesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(50), Together: func() int { return 1 }}, nil))
		if s := r.p.Status(); s.State != StateStreaming || s.RowsIn != 50 || s.GuestBytes != 1<<20 || s.Position != "50" ||
			s.LogPos != "script:50" || s.Messages != 51 || s.BudgetBytes != 0 {
			t.Errorf("%+v", s)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		s := r.p.Status()
		if s.State != StateStopped || len(w.broker.data()) != 50 || r.step.closed != 1 {
			t.Fatalf("%+v", s)
		}
		if d := cmp.Diff([]Receipt{{Step: "model", Receipt: "all freed"}}, s.Receipts); d != "" {
			t.Fatal(d)
		}
		again := start(t, w.rig(t, cdctest.Script{Txs: txs(50)}, nil))
		c := again.checkpoint()
		if c.Position != "50" || !c.Exact || c.Token == "" || c.RowsIn != 50 || c.RowsOut != 50 || c.Number != 50 {
			t.Errorf("checkpoint %+v", c)
		}
		if st := again.source.Starts()[0]; st.Base != "50" || st.Tx != "" {
			t.Errorf("started from %+v", st)
		}
		if err := again.end(); err != nil || again.p.Status().RowsIn != 50 || len(w.broker.data()) != 50 {
			t.Fatal(err, again.p.Status())
		}
	})
}

// A few checkpoints per second whatever the throughput, the first at once, and
// the source is told after each.
func TestCheckpointsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, newWorld().rig(t, cdctest.Script{Txs: txs(1)}, nil))
		if c := r.source.Confirmed(); len(c) != 1 || c[0] != "1" {
			t.Errorf("after the first batch: %v", c)
		}
		for i := range 1000 {
			r.source.Append(tx(i+2, 1))
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(r.source.Confirmed()); n < 40 || n > 52 {
			t.Errorf("%d checkpoints in 10 s", n)
		}
		time.Sleep(time.Second)
		if c := r.source.Confirmed(); c[len(c)-1] != "1001" {
			t.Errorf("the last: %v", c[len(c)-1])
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(1)}, nil))
		beats := func() []stored { return w.broker.kinds(sink.KindHeartbeat) }
		time.Sleep(time.Minute)
		if n := len(beats()); n != 0 {
			t.Errorf("%d heartbeats although the position did not move", n)
		}
		r.source.Append(tx(2, 0))
		time.Sleep(heartbeatGap + time.Second)
		b := beats()
		if len(b) != 1 || b[0].Base != "2" || b[0].Place.Tx != "" || b[0].Subject != "cdc.shop._cdcd" ||
			b[0].Body != `{"op":"m","kind":"heartbeat","position":"2","log_pos":"script:2"}` {
			t.Errorf("%+v", b)
		}
		if c := r.checkpoint(); c.Position != "2" || !c.Exact {
			t.Errorf("checkpoint %+v", c)
		}
		r.source.Append(tx(3, 0)) // a stop leaves the position behind at once
		synctest.Wait()
		if err := r.end(); err != nil || len(beats()) != 2 || beats()[1].Base != "3" {
			t.Fatal(err, beats())
		}
	})
}

// While nothing of this run is confirmed, the pair on disk is left alone: what
// lies between its message and the reading position may have to be sent again.
func TestCheckpointNeverPassesItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(1)}, nil))
		before := r.checkpoint()
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		// A second life delivers u:2 and is killed before its checkpoint.
		w.broker.messages = append(w.broker.messages, stored{Kind: sink.KindData, Base: "1",
			Place: sink.Place{Tx: "u:2", Parts: 1}})
		r = start(t, w.rig(t, cdctest.Script{Txs: txs(2)}, nil))
		if c := r.checkpoint(); c.Position != before.Position || c.Token != before.Token {
			t.Errorf("the checkpoint went from %+v to %+v", before, c)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRetryableFaultsStartOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		full := fault.New(fault.Retryable, sink.CodeStreamFull, "", "make room", "full")
		for range 3 {
			w.broker.fail = append(w.broker.fail, full)
		}
		began := time.Now()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(20), Ends: true}, nil))
		if s := r.p.Status(); s.State != StateRetrying || !strings.Contains(s.Reason, "full") || s.Fault.Code != sink.CodeStreamFull {
			t.Errorf("%+v", s)
		}
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != (100+200+400)*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		s := r.p.Status()
		if s.State != StateEnded || s.Restarts != 3 || len(w.broker.data()) != 20 || r.step.closed != 4 {
			t.Errorf("%+v", s)
		}
		r.done <- nil
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFencedStandsBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(1)}, nil))
		w.broker.mu.Lock()
		w.broker.epoch++
		w.broker.mu.Unlock()
		r.source.Append(tx(2, 1))
		synctest.Wait()
		if s := r.p.Status(); s.State != StateStandby || s.Fault.Code != sink.CodeFenced {
			t.Errorf("%+v", s)
		}
		time.Sleep(standbyWait - time.Millisecond)
		if s := r.p.Status(); s.State != StateStandby {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := r.p.Status(); s.State != StateStreaming || len(w.broker.data()) != 2 {
			t.Errorf("%+v", s)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := start(t, w.rig(t, cdctest.Script{Txs: txs(1)}, nil))
		r.p.Pause()
		synctest.Wait()
		r.source.Append(tx(2, 1))
		time.Sleep(time.Hour)
		if s := r.p.Status(); s.State != StatePaused || len(w.broker.data()) != 1 || s.GuestBytes != 0 {
			t.Errorf("%+v", s)
		}
		r.p.Resume()
		synctest.Wait()
		if s := r.p.Status(); s.State != StateStreaming || len(w.broker.data()) != 2 {
			t.Errorf("%+v", s)
		}
		r.p.Pause()
		synctest.Wait()
		if err := r.end(); err != nil || r.p.Status().State != StateStopped {
			t.Fatal(err)
		}
	})
}

func TestCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		until := func(s *Spec) { s.Until = CaughtUp }
		r := start(t, w.rig(t, cdctest.Script{Txs: append(txs(7), tx(8, 0))}, until))
		if err := <-r.done; err != nil || r.p.Status().State != StateEnded {
			t.Fatal(err, r.p.Status())
		}
		if c := r.checkpoint(); c.Position != "8" || !c.Exact {
			t.Errorf("%+v", c)
		}
		r.done <- nil
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r = start(t, w.rig(t, cdctest.Script{Txs: append(txs(7), tx(8, 0))}, until))
		if err := <-r.done; err != nil || len(r.source.Starts()) != 0 {
			t.Fatal("read although there is nothing new", err)
		}
		r.done <- nil
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStuckSinkDoesNotHangTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newWorld().rig(t, cdctest.Script{Txs: txs(5)}, nil)
		rig.sink.stuck = true
		r := start(t, rig)
		if s := r.p.Status(); s.BudgetBytes == 0 {
			t.Errorf("nothing is in flight: %+v", s)
		}
		began := time.Now()
		if err := r.end(); err != nil || time.Since(began) != DrainDefault {
			t.Fatal(err, time.Since(began))
		}
		if s := r.p.Status(); s.State != StateStopped {
			t.Errorf("%+v", s)
		}
	})
}

// A stopped sink stops the source: the budget bounds what is in flight.
func TestBudgetBoundsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var many []cdctest.Tx
		for i := range 3000 {
			many = append(many, tx(i+1, 8))
		}
		rig := newWorld().rig(t, cdctest.Script{Txs: many, Together: func() int { return 1 }}, nil)
		rig.sink.stuck = true
		r := start(t, rig)
		const underWay = 64 << 10 // what was read may have become larger in the meantime
		if s := r.p.Status(); s.BudgetBytes > 1<<20+underWay || s.BudgetBytes < 1<<19 || s.RowsIn >= 24000 {
			t.Errorf("%d bytes held, %d rows in", s.BudgetBytes, s.RowsIn)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPolicies(t *testing.T) {
	bad := cdctest.Tx{ID: "u:1", Rows: []cdctest.Row{{Schema: orders, Key: 5}, {Schema: orders, Key: 1}, {Schema: orders, Key: 5}}}
	for _, policy := range []OnError{Halt, DeadLetter, Skip} {
		w := newWorld()
		r := w.rig(t, cdctest.Script{Txs: []cdctest.Tx{bad}, Ends: true}, nil)
		r.step.onError = policy
		err := r.p.Run(t.Context())
		s := r.p.Status()
		if policy == Halt {
			f := fault.Of(err)
			if f.Code != CodeRowRefused || f.Class != fault.Poison || f.Path != "shop/model" || f.Hint == "" ||
				!strings.Contains(f.Error(), "row 1 of transaction u:1, table shop.orders: key ends badly") || s.State != StateHalted {
				t.Errorf("%v %+v", err, s)
			}
		} else if err != nil || len(w.broker.data()) != 2 || s.State != StateEnded {
			t.Errorf("%s: %v, %d messages", policy, err, len(w.broker.data()))
		}
		if dead := len(deadLetters(t, r.state)); (policy == DeadLetter) != (dead == 1) || s.RowsDead != uint64(dead) {
			t.Errorf("%s: %d dead letters, counted %d", policy, dead, s.RowsDead)
		}
		if (policy == Skip) != (s.RowsSkipped == 1) {
			t.Errorf("%s: %d skipped", policy, s.RowsSkipped)
		}
		r.close(t)
	}
}

// What the source can't mend halts the pipeline, after what it read is safe.
func TestSourceFaultHaltsAfterDraining(t *testing.T) {
	w := newWorld()
	purged := fault.New(fault.Fatal, "binlog_purged", "", "resnapshot", "gone")
	r := w.rig(t, cdctest.Script{Txs: txs(9), Err: []error{purged}}, nil)
	err := r.p.Run(t.Context())
	if !errors.Is(err, purged) || r.p.Status().State != StateHalted || r.p.Status().Fault.Code != "binlog_purged" {
		t.Fatal(err)
	}
	c, _, lerr := r.state.Load()
	if lerr != nil || c.Position != "9" || len(w.broker.data()) != 9 {
		t.Fatalf("%+v %v, %d messages", c, lerr, len(w.broker.data()))
	}
	r.close(t)
}

// Where the first run began is known, also when it delivered nothing: a sink
// without markers would else begin at another place the next time.
func TestBeginningIsKept(t *testing.T) {
	r := newWorld().rig(t, cdctest.Script{Ends: true}, nil)
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, known, err := r.state.Load(); err != nil || !known || c.Position != "0" || !c.Exact || c.Token != "" {
		t.Fatalf("%+v %v %v", c, known, err)
	}
}

func TestConfigChangedMidTransaction(t *testing.T) {
	w := newWorld()
	run := func(fingerprint string) error {
		r := w.rig(t, cdctest.Script{Txs: []cdctest.Tx{tx(1, 3)}, Ends: true}, func(s *Spec) { s.Config.Fingerprint = fingerprint })
		defer r.close(t)
		return r.p.Run(t.Context())
	}
	if err := run("old"); err != nil {
		t.Fatal(err)
	}
	if err := run("new"); err != nil { // between transactions
		t.Fatal(err)
	}
	w.broker.messages = w.broker.messages[:3] // marker, definition, first row of three
	for range 2 {                             // asking again changes nothing
		if f := fault.Of(run("new")); f.Code != CodeConfigChanged || f.Class != fault.Config || f.Hint == "" {
			t.Fatal(f)
		}
	}
	if err := run("old"); err != nil || len(w.broker.data()) != 3 {
		t.Fatal(err, len(w.broker.data()))
	}
}

// Finished delivers the rest of the transaction inside which delivery stopped,
// and nothing behind it.
func TestFinished(t *testing.T) {
	for name, together := range map[string]int{"in batches of its own": 1, "with others in a batch": 4} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			script := cdctest.Script{Txs: append([]cdctest.Tx{tx(1, 3)}, txs(8)[1:]...), Ends: true, Together: func() int { return together }}
			run := func(until Until) Status {
				r := w.rig(t, script, func(s *Spec) { s.Until = until })
				defer r.close(t)
				if err := r.p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				return r.p.Status()
			}
			run(Forever)
			all := len(w.broker.data())
			w.broker.messages = w.broker.messages[:3] // marker, definition, first row of three
			if s := run(Finished); s.State != StateEnded || s.Reason != "the transaction is delivered" {
				t.Errorf("%+v", s)
			}
			n := len(w.broker.data())
			if n < 3 || together == 1 && n != 3 || n == all {
				t.Errorf("%d messages of 3, %d with those behind", n, all)
			}
			if run(Finished); len(w.broker.data()) != n {
				t.Errorf("%d messages where nothing was to be finished", len(w.broker.data())-n)
			}
			if run(Forever); len(w.broker.data()) != all {
				t.Errorf("%d messages of %d", len(w.broker.data()), all)
			}
		})
	}
}

// A disk that fails halts the pipeline, and the source is not told.
func TestFailedStateHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, newWorld().rig(t, cdctest.Script{Txs: txs(1)}, nil))
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		told := len(r.source.Confirmed())
		time.Sleep(time.Second)
		r.source.Append(tx(2, 1))
		if err := <-r.done; !fault.HasCode(err, state.CodeClosed) {
			t.Fatal(err)
		}
		if len(r.source.Confirmed()) != told || r.p.Status().State != StateHalted {
			t.Fatal("the source was told of a checkpoint that was not written")
		}
		r.done <- nil
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}
