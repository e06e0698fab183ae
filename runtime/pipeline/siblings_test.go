package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// Rows that a step made of one, all of them dead letters because one was too large,
// are replayed one by one or together, each once. They are no newer rows to one
// another; a row of the same key that came since holds them all back, until they are
// forced; and while they are too large they stay.
func TestReplayOfSiblings(t *testing.T) {
	row := cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 10} // 4 messages, each large
	sibling := func(n int) state.DeadLetterKey {
		step := SinkStep
		if n > 0 {
			step = fmt.Sprint(SinkStep, ".", n)
		}
		return state.DeadLetterKey{Step: step, Tx: "u:1"}
	}
	script := cdctest.Script{Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{row}}}}
	w := newWorld()
	life := func(limit int, f func(r *rig, replay func(force bool, siblings ...int) string)) {
		t.Helper()
		r := w.rig(t, script, wide(limit))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.p.Run(ctx) }()
		for r.p.Status().Position != sdk.Position(fmt.Sprint(len(script.Txs))) {
			time.Sleep(time.Millisecond)
		}
		f(r, func(force bool, siblings ...int) string {
			t.Helper()
			var keys []state.DeadLetterKey
			for _, n := range siblings {
				keys = append(keys, sibling(n))
			}
			var out []string
			err := r.p.Replay(ctx, keys, force, func(r ReplayResult) {
				out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Letter.Step, r.Outcome, r.Reason)))
			})
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(out, ", ")
		})
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.close(t)
	}
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	life(smallMax, func(r *rig, replay func(bool, ...int) string) {
		if n := r.state.DeadLetters(); n != 4 {
			t.Fatalf("%d dead letters", n)
		}
		for _, force := range []bool{false, true} {
			w.broker.mu.Lock()
			w.broker.fail = []error{fault.New(fault.Poison, sink.CodeMessageTooLarge, "", "", "still too large")}
			w.broker.mu.Unlock()
			if got := replay(force, 1); !strings.HasPrefix(got, "_sink.1 refused") || !strings.Contains(got, "still too large") {
				t.Error(got)
			}
		}
		if n := r.state.DeadLetters(); n != 4 {
			t.Errorf("%d dead letters", n)
		}
	})
	life(0, func(r *rig, replay func(bool, ...int) string) {
		want(replay(false, 2), "_sink.2 replayed")
		want(replay(false, 2), "_sink.2 gone")
		want(replay(false, 0), "_sink replayed") // not changed by the one behind it
	})
	// The same key comes by again: it is newer than what is left.
	script.Txs = append(script.Txs, cdctest.Tx{ID: "u:2", Rows: []cdctest.Row{row}})
	life(0, func(r *rig, replay func(bool, ...int) string) {
		want(replay(false, 0, 1, 2, 3), "_sink gone, _sink.1 stale changed since by u:2#0, _sink.2 gone, _sink.3 stale changed since by u:2#0")
		want(replay(true, 3, 1), "_sink.3 replayed, _sink.1 replayed")
		if n := r.state.DeadLetters(); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
	var got []string
	for _, m := range w.broker.data() {
		if m.Kind == sink.KindData && m.Original != "" {
			got = append(got, strings.SplitN(m.Place.Tx, ":", 3)[2]+" "+m.Original)
		}
	}
	if d := cmp.Diff([]string{"_sink.2/u:1#0 u:1#0", "_sink/u:1#0 u:1#0", "_sink.3/u:1#0 u:1#0", "_sink.1/u:1#0 u:1#0"}, got); d != "" {
		t.Error(d)
	}
}
