package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// shelf is a ledger of requests in a store that is opened again and again.
type shelf struct {
	t     *testing.T
	dir   string
	store *state.Store
	*requests
	at time.Time
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t, dir: t.TempDir(), at: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.open()
	return s
}

func (s *shelf) open() {
	s.t.Helper()
	var err error
	if s.store, err = state.Open(s.dir, state.Options{}); err != nil {
		s.t.Fatal(err)
	}
	if s.requests, err = openRequests(s.store, "shop", func() time.Time { return s.at }); err != nil {
		s.t.Fatal(err)
	}
}

// again closes the store and opens it.
func (s *shelf) again() {
	s.t.Helper()
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *shelf) ask(table string, past uint64) uint64 {
	s.t.Helper()
	id, err := s.add(request{Tables: []cdc.TableName{{DB: "shop", Table: table}}}, past)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// said is the ledger in short.
func (s *shelf) said() (all []string) {
	view := &Snapshots{pipeline: "shop", kept: s.requests}
	list, err := view.List()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range list.Snapshots {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Tables[0].Table, r.State, r.Code)))
	}
	return all
}

func (s *shelf) want(id uint64, what string) error {
	view := &Snapshots{pipeline: "shop", kept: s.requests}
	var err error
	switch what {
	case "pause":
		_, err = view.Pause(requestID(id))
	case "resume":
		_, err = view.Resume(requestID(id))
	case "cancel":
		_, err = view.Cancel(requestID(id))
	}
	return err
}

// What is asked for is there after a restart, with all that was wanted of it.
func TestRequestsLast(t *testing.T) {
	s := newShelf(t)
	a, b, c := s.ask("a", 0), s.ask("b", 0), s.ask("c", 0)
	if a != uint64(s.at.UnixMilli()) || b != a+1 || c != b+1 {
		t.Errorf("numbers %d, %d, %d", a, b, c)
	}
	_, changed := s.Pending()
	for id, what := range map[uint64]string{a: "pause", b: "cancel"} {
		if err := s.want(id, what); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told of a change")
	}
	if d := cmp.Diff([]string{"shop.a paused", "shop.b cancelling", "shop.c queued"}, s.said()); d != "" {
		t.Error(d)
	}
	before, _ := s.Pending()
	s.again()
	after, _ := s.Pending()
	if d := cmp.Diff(before, after); d != "" || len(after) != 3 {
		t.Errorf("after a restart: %s", d)
	}
	for id, e := range map[uint64]cdc.SnapshotEnd{a: {Err: fault.New(fault.Config, "snapshot_where", "x", "mend it", "bad")}, b: {Cancelled: true},
		c: {Tables: []cdc.SnapshotTable{{DB: "shop", Table: "c", Rows: 7}}}} {
		if err := s.End(id, e); err != nil {
			t.Fatal(err)
		}
		if err := s.End(id, cdc.SnapshotEnd{}); err != nil { // what is over stays as it is
			t.Fatal(err)
		}
	}
	s.again()
	if d := cmp.Diff([]string{"shop.a failed snapshot_where", "shop.b cancelled", "shop.c done"}, s.said()); d != "" {
		t.Error(d)
	}
	view := &Snapshots{pipeline: "shop", kept: s.requests}
	if r, err := view.Show(requestID(c)); err != nil || r.Rows != 7 || r.Ended == nil || r.Tables[0].State != "copied" {
		t.Errorf("%+v, %v", r, err)
	}
	if pending, _ := s.Pending(); len(pending) > 0 {
		t.Errorf("still pending: %v", pending)
	}
	s.at = s.at.Add(-time.Hour) // a clock that was set back
	if d, e := s.ask("d", 0), s.ask("e", c+50); d != c+1 || e != c+51 {
		t.Errorf("numbers %d, %d behind %d", d, e, c)
	}
}

// What a person may not want, and who is told how to go on.
func TestRequestsRefused(t *testing.T) {
	s := newShelf(t)
	a, over, gone := s.ask("a", 0), s.ask("b", 0), s.ask("c", 0)
	for id, e := range map[uint64]cdc.SnapshotEnd{over: {}, gone: {Cancelled: true}} {
		if err := s.End(id, e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id         uint64
		what, code string
	}{
		{a, "resume", ""}, {a, "pause", ""}, {a, "pause", ""}, {a, "resume", ""},
		{over, "pause", CodeSnapshotOver}, {over, "resume", CodeSnapshotOver}, {over, "cancel", CodeSnapshotOver},
		{gone, "cancel", ""}, {gone, "resume", CodeSnapshotOver},
		{a, "cancel", ""}, {a, "cancel", ""}, {a, "pause", CodeSnapshotOver}, {a, "resume", CodeSnapshotOver},
		{a + 99, "pause", CodeNoSuchSnapshot},
	} {
		if err := s.want(c.id, c.what); c.code == "" && err != nil || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s of %d: %v, want %q", c.what, c.id-a, err, c.code)
		}
	}
	view := &Snapshots{pipeline: "shop", kept: s.requests}
	for _, bad := range []string{"", "!", "A", "0" + requestID(a)} {
		if _, err := view.Pause(bad); !fault.HasCode(err, CodeNoSuchSnapshot) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := s.add(request{Tables: []cdc.TableName{{DB: "shop", Table: "x"}, {DB: "shop", Table: "a"}}}, 0)
	if !fault.HasCode(err, CodeSnapshotRunning) || !strings.Contains(fault.Of(err).Hint, requestID(a)) {
		t.Errorf("the same table twice: %v", err)
	}
	s.ask("b", 0) // the one before is done
	_, err = s.add(request{Where: strings.Repeat("x", requestBytesMax), Tables: []cdc.TableName{{DB: "shop", Table: "y"}}}, 0)
	if !fault.HasCode(err, CodeSnapshotLarge) {
		t.Errorf("a large one: %v", err)
	}
	for i := range requestsPendingMax - 2 {
		s.ask(fmt.Sprint("t", i), 0)
	}
	if _, err = s.add(request{Tables: []cdc.TableName{{DB: "shop", Table: "y"}}}, 0); !fault.HasCode(err, CodeSnapshotsFull) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := view.Start(t.Context(), telemetry.SnapshotAsk{Tables: []string{"shop.y"}}); !fault.HasCode(err, CodeNotRunning) {
		t.Errorf("without a daemon: %v", err)
	}
}

// What positions have begun goes on, whatever became of the state; unless it was
// cancelled, or failed.
func TestRequestsFound(t *testing.T) {
	s := newShelf(t)
	done, gone, failed, open := s.ask("a", 0), s.ask("b", 0), s.ask("c", 0), s.ask("d", 0)
	for id, e := range map[uint64]cdc.SnapshotEnd{done: {}, gone: {Cancelled: true}, failed: {Err: errors.New("no")}} {
		if err := s.End(id, e); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[uint64]bool{done: true, gone: false, failed: false, open: true, open + 7: true} {
		over, err := s.Found(cdc.SnapshotRequest{ID: id, Tables: []cdc.TableName{{DB: "shop", Table: "e"}}, Where: "x > 1", Paused: true})
		if err != nil || (over == nil) != want || over != nil && over.Cancelled == (over.Err != nil) {
			t.Errorf("request %d: %+v, %v", id-done, over, err)
		}
	}
	s.again()
	if d := cmp.Diff([]string{"shop.a queued", "shop.b cancelled", "shop.c failed unexpected", "shop.d queued", "shop.e paused"}, s.said()); d != "" {
		t.Error(d)
	}
	pending, _ := s.Pending()
	if len(pending) != 3 || pending[2].Where != "x > 1" || pending[2].ID != open+7 {
		t.Errorf("%+v", pending)
	}
	if err := s.End(open, cdc.SnapshotEnd{}); err != nil {
		t.Fatal(err)
	}
	if err := s.End(open+7, cdc.SnapshotEnd{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Undone(open); err != nil { // the sink has that one, and nothing behind it
		t.Fatal(err)
	}
	s.again()
	if d := cmp.Diff([]string{"shop.a queued", "shop.b cancelled", "shop.c failed unexpected", "shop.d done", "shop.e paused"}, s.said()); d != "" {
		t.Error(d)
	}
	view := &Snapshots{pipeline: "shop", kept: s.requests}
	if r, err := view.Show(requestID(open + 7)); err != nil || !r.Adopted {
		t.Errorf("%+v, %v", r, err)
	}
}

// Those that are over make room, and no others.
func TestRequestsForgotten(t *testing.T) {
	s := newShelf(t)
	first := s.ask("open", 0)
	for i := range requestsOverMax + 5 {
		if err := s.End(s.ask(fmt.Sprint("t", i), 0), cdc.SnapshotEnd{}); err != nil {
			t.Fatal(err)
		}
	}
	s.again()
	said := s.said()
	if len(said) != requestsOverMax+1 || said[0] != "shop.open queued" || said[1] != "shop.t5 done" {
		t.Errorf("%d: %v", len(said), said[:3])
	}
	if err := s.want(first, "pause"); err != nil {
		t.Error(err)
	}
}

// A ledger of which a request can't be read is none, however often it is asked for:
// what is behind the damage may be cancelled.
func TestRequestsDamaged(t *testing.T) {
	s := newShelf(t)
	s.ask("orders", 0)
	id := s.ask("names", 0)
	if err := s.kept.Put(id-1, []byte("{")); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{store: s.store, jobs: []*job{{config: config.Pipeline{Name: "shop"}}}}
	for range 2 {
		if _, err := d.requestsOf("shop", s.store); !fault.HasCode(err, state.CodeCorrupt) {
			t.Errorf("for the source: %v", err)
		}
		if _, err := d.Snapshots("shop"); !fault.HasCode(err, state.CodeCorrupt) {
			t.Errorf("for a person: %v", err)
		}
	}
}

// What ends last is kept, also if it was asked for first: where its end was not told
// yet, the next start asks how it ended.
func TestRequestsForgottenByTheirEnd(t *testing.T) {
	s := newShelf(t)
	first := s.ask("first", 0)
	for i := range requestsOverMax + 5 {
		s.at = s.at.Add(time.Second)
		if err := s.End(s.ask(fmt.Sprint("t", i), 0), cdc.SnapshotEnd{}); err != nil {
			t.Fatal(err)
		}
	}
	s.at = s.at.Add(-time.Hour) // the clock is set back
	if err := s.End(first, cdc.SnapshotEnd{Cancelled: true}); err != nil {
		t.Fatal(err)
	}
	s.again()
	if over, err := s.Found(cdc.SnapshotRequest{ID: first}); err != nil || over == nil || !over.Cancelled {
		t.Errorf("what was cancelled last is %+v, %v", over, err)
	}
	if said := s.said(); len(said) != requestsOverMax || said[0] != "shop.first cancelled" || said[1] != "shop.t6 done" {
		t.Errorf("%d: %v", len(said), said[:3])
	}
}

// A verb that has the state open for a moment is no reason for a daemon to end.
func TestStateIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	held, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{o: Options{Config: &config.Config{State: config.State{Dir: dir}}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.openState(ctx); !fault.HasCode(err, state.CodeDirInUse) {
		t.Errorf("a state that is in use: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, func() {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	})
	store, err := d.openState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}
