package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
)

var errNoSuchColumn = fault.New(fault.Config, "no_column", "", "", "no such column")

// failing is a database that refuses to read a table for a request.
type failing struct{ *model }

func (f failing) Open(ctx context.Context) (Conn, error) {
	c, err := f.model.Open(ctx)
	return failingConn{c}, err
}

type failingConn struct{ Conn }

func (c failingConn) Plan(ctx context.Context, n Name, r *Request) (*Table, error) {
	if r != nil && n.Table == "t1" {
		return nil, errNoSuchColumn
	}
	return c.Conn.Plan(ctx, n, r)
}

// A request that can't go on ends, says why, and disturbs nothing else.
func TestRequestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(1, 3)
		m.changed(40)
		r := &recorder{left: 1 << 30}
		l := newLedger(func() int { return 0 })
		l.add([]string{"t1"}, "", 0)
		l.add([]string{"t0"}, "", 0)
		ctx, cancel := context.WithCancel(t.Context())
		k := New(Options{Database: failing{m}, Emit: r.emit, Patterns: []string{"all"}, Workers: 2, Limits: Limits{Rows: 50, Bytes: 1 << 20}, Dormant: true}, Cursor{}, pos(40), "", false)
		idle := make(chan struct{})
		close(idle)
		var both sync.WaitGroup
		both.Go(func() { _ = m.stream(ctx, rand.New(rand.NewPCG(1, 1)), 40, k) })
		both.Go(func() {
			if err := k.Serve(ctx, l, idle); ctx.Err() == nil {
				t.Error(err)
			}
		})
		for !k.Awaits() {
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if e := l.entries[0].end; e == nil || !errors.Is(e.Err, errNoSuchColumn) {
			t.Errorf("the first ended with %+v", e)
		}
		if l.entries[1].end != nil {
			t.Error("the second is over before anything is confirmed")
		}
		k.Confirm(&Cursor{N: 1})
		synctest.Wait()
		if l.entries[1].end != nil {
			t.Error("the second is over by an earlier confirmation")
		}
		c := k.cursor.clone()
		k.Confirm(&c)
		synctest.Wait()
		if e := l.entries[1].end; e == nil || e.Err != nil || len(e.Tables) != 1 || e.Tables[0].Rows == 0 {
			t.Errorf("the second ended with %+v", e)
		}
		cancel()
		both.Wait()
		if got, want := fmt.Sprint(r.events()), "[begun 1 failed 1 no_column begun 2 ended 2]"; got != want {
			t.Errorf("told: %s, want %s", got, want)
		}
	})
}

// What the sink's last message has as begun, and the ledger as cancelled, is not
// gone on with; what the ledger does not know of, is; and what the ledger has as done,
// and the sink has nothing of, is done again.
func TestRequestsOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(1, 3)
		m.changed(40)
		r := &recorder{left: 1 << 30}
		l := newLedger(func() int { return 0 })
		l.entries = []*entry{{SnapshotRequest: cdc.SnapshotRequest{ID: 3}}, {SnapshotRequest: cdc.SnapshotRequest{ID: 4, Cancelled: true}},
			{SnapshotRequest: cdc.SnapshotRequest{ID: 5}, end: &cdc.SnapshotEnd{Cancelled: true}},
			{SnapshotRequest: cdc.SnapshotRequest{ID: 6}, end: &cdc.SnapshotEnd{}},
			{SnapshotRequest: cdc.SnapshotRequest{ID: 8, Tables: []cdc.TableName{{DB: "d", Table: "t2"}}}, end: &cdc.SnapshotEnd{}},
			{SnapshotRequest: cdc.SnapshotRequest{ID: 9, Tables: []cdc.TableName{{DB: "d", Table: "t2"}}}, end: &cdc.SnapshotEnd{Err: errNoSuchColumn}}}
		c := Cursor{N: 9, Past: 7, Requests: []Request{{ID: 5, Tables: []string{"d.t0"}, Work: Work{Told: true}}, {ID: 7, Tables: []string{"d.t1"}, Work: Work{Told: true,
			Open: []Progress{{Table: "d.t1", Print: "id", Ranges: []Range{{After: modelKey(30)}}}}}}}}
		k := New(Options{Database: m, Emit: r.emit, Workers: 2, Limits: Limits{Rows: 50, Bytes: 1 << 20}, Dormant: true, Heard: true}, c, pos(40), "", false)
		ctx, cancel := context.WithCancel(t.Context())
		idle := make(chan struct{})
		close(idle)
		var both sync.WaitGroup
		both.Go(func() { _ = m.stream(ctx, rand.New(rand.NewPCG(1, 1)), 40, k) })
		both.Go(func() { _ = k.Serve(ctx, l, idle) })
		for k.endings() < 2 {
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		cancel()
		both.Wait()
		if e := l.entries[0].end; e == nil || e.Cancelled {
			t.Errorf("what was over before is %+v", e)
		}
		if e := l.entries[1].end; e == nil || e.Cancelled {
			t.Errorf("what was to be cancelled when its end had been told is %+v", e)
		}
		if len(k.cursor.Requests) > 0 || k.cursor.Past != 8 {
			t.Errorf("the cursor has %+v", k.cursor)
		}
		if got := fmt.Sprint(r.events()); got != "[cancelled 5 ended 7 begun 8 ended 8]" {
			t.Errorf("told: %s", got)
		}
		for _, msg := range r.all {
			if msg.news == nil && requestIn(msg.tx) != 8 && (requestIn(msg.tx) != 7 || msg.row.table != "t1" || msg.row.after[0] <= 30) {
				t.Errorf("read: %+v", msg)
			}
		}
		if len(r.all) < 6 {
			t.Error("nothing is gone on with")
		}
	})
}

// endings is how many requests wait for their confirmation.
func (c *Copier) endings() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ending)
}
