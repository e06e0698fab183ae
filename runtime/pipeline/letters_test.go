package pipeline

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// pickyStep refuses the rows of some keys until it is mended; then it doubles them.
// It drops some and doubles others.
type pickyStep struct {
	modelStep
	mended bool
}

func (s *pickyStep) Process(_ context.Context, in *sdk.Batch) (Output, error) {
	s.builder.Reset()
	s.out = Output{Failed: s.out.Failed[:0]}
	i := 0
	for t := range in.Txs() {
		s.builder.CopyTx(in.Tx(t))
		for ; i < in.Rows() && in.Row(i).TxIndex() == t; i++ {
			copies := 1
			switch key := in.Row(i).After().Int(0); {
			case key%4 == 1 && !s.mended:
				s.out.Failed = append(s.out.Failed, Failure{Row: i, Reason: "not mended yet"})
				continue
			case key%8 == 5:
				copies = 0
				s.out.Dropped++
			case key%4 == 1, key%4 == 2:
				copies = 2
			}
			for range copies {
				s.builder.CopyRow(in.Row(i))
			}
		}
	}
	s.out.Batch = s.builder.Seal(in.Schemas())
	return s.out, nil
}

// numberStep numbers the rows of each of three groups of keys.
type numberStep struct {
	values  *state.Values
	builder sdk.Builder
}

func (s *numberStep) Name() string                       { return "number" }
func (s *numberStep) OnError() OnError                   { return Halt }
func (s *numberStep) Memory() int64                      { return 0 }
func (s *numberStep) Close(context.Context) (any, error) { return nil, nil }

func (s *numberStep) Process(_ context.Context, in *sdk.Batch) (out Output, err error) {
	s.builder.Reset()
	batch, i := map[string]string{}, 0
	for t := range in.Txs() {
		s.builder.CopyTx(in.Tx(t))
		for ; i < in.Rows() && in.Row(i).TxIndex() == t; i++ {
			r := in.Row(i)
			name := groupOf(r.After().Int(0))
			text, ok := batch[name]
			if !ok {
				v, _, err := s.values.Get([]byte(name))
				if err != nil {
					return out, err
				}
				text = string(v)
			}
			n, _ := strconv.Atoi(text)
			text = strconv.Itoa(n + 1)
			batch[name] = text
			out.Writes = append(out.Writes, Write{Row: i, Key: []byte(name), Value: []byte(text)})
			s.builder.BeginRow(r.Schema(), r.Op(), sdk.RowAfter, r.Ordinal())
			s.builder.After().SetSlot(0, r.After().Slot(0))
			s.builder.SetBytes(s.builder.After(), 1, fmt.Appendf(nil, "%s is %s", name, text))
			s.builder.EndRow()
		}
	}
	out.Batch = s.builder.Seal(in.Schemas())
	return out, nil
}

func groupOf(key int64) string { return "g" + strconv.FormatInt(key%3, 10) }

func picky(mended bool) func(*Spec) {
	return func(s *Spec) {
		s.Stateful = true
		s.Config.Fingerprint = fmt.Sprint("mended: ", mended)
		p := s.State
		s.Steps = func(context.Context) ([]Step, error) {
			return []Step{&pickyStep{modelStep{onError: DeadLetter}, mended}, &numberStep{values: p.Values("number")}}, nil
		}
	}
}

// replayLife runs a life in which somebody replays whatever dead letters there are,
// until it crashes, or everything is delivered and rounds of replays are done. It is
// refused where another configuration has begun what is to be finished.
func replayLife(t *testing.T, rt *rapid.T, w *world, script cdctest.Script, mended bool, rounds int, force bool, crash bool) (next *world, letters []string, refused bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := w.rig(t, script, picky(mended))
	c := &crasher{}
	if crash {
		c = drawCrash(rt, w, r, cancel)
		c.after *= 2
	}
	done := make(chan error, 1)
	go func() { done <- r.p.Run(ctx) }()
	for ctx.Err() == nil && (rounds > 0 || r.p.Status().Position != sdk.Position(strconv.Itoa(len(script.Txs)))) {
		var keys []state.DeadLetterKey
		if err := r.state.EachDeadLetter(func(d state.DeadLetter) error { keys = append(keys, d.DeadLetterKey); return nil }); err != nil {
			rt.Fatal(err)
		}
		keys = ordered(rt, r.state, keys)
		if err := r.p.Replay(ctx, keys, force, func(ReplayResult) {}); err != nil && ctx.Err() == nil && faultOf(err, CodeReplayInterrupted) == nil && faultOf(err, CodeReplayNotRunning) == nil {
			rt.Fatal(err)
		}
		if r.p.Status().Position == sdk.Position(strconv.Itoa(len(script.Txs))) {
			rounds--
		}
		if s := r.p.Status(); s.State == StateHalted {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	cancel()
	err := <-done
	refused = faultOf(err, CodeConfigChanged) != nil
	if err != nil && !refused {
		rt.Fatal(err)
	}
	letters = deadLetters(t, r.state)
	if c.left == nil && !refused {
		checkNumbers(rt, r, w)
	}
	r.close(t)
	if c.left != nil {
		return c.left, nil, refused
	}
	return w, letters, refused
}

// ordered sorts letters as the log has them.
func ordered(t *rapid.T, p *state.Pipeline, keys []state.DeadLetterKey) []state.DeadLetterKey {
	out, err := p.InOrder(keys)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkNumbers compares what the step with state keeps with the stream.
func checkNumbers(t *rapid.T, r *rig, w *world) {
	want := map[string]string{}
	for _, m := range w.broker.data() {
		if m.Kind == sink.KindData {
			name, number, _ := strings.Cut(noteOf(m), " is ")
			if last, _ := strconv.Atoi(want[name]); number != strconv.Itoa(last+1) {
				t.Fatalf("the stream has %s of %s behind %d", number, name, last)
			}
			want[name] = number
		}
	}
	got := map[string]string{}
	if err := r.state.Values("number").Scan(nil, nil, func(k, v []byte) bool { got[string(k)] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("the state is not that of the stream (-stream +state):\n%s", d)
	}
}

func noteOf(m stored) string {
	_, rest, _ := strings.Cut(m.Body, `"note":"`)
	note, _, _ := strings.Cut(rest, `"`)
	return note
}

// Whatever crashes while dead letters are replayed, and wherever: in the end each
// message of each row is in the stream once, rows of one key are in the order of the
// log, and what a step keeps is what the stream says.
func TestReplaysAndCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		script.Ends = false
		w := newWorld()
		for range rapid.IntRange(0, 5).Draw(rt, "lives") {
			mended := rapid.Bool().Draw(rt, "mended")
			w, _, _ = replayLife(t, rt, w, cut(rt, script), mended, rapid.IntRange(0, 2).Draw(rt, "rounds"), false, true)
		}
		checkOrder(rt, script, w.broker.data())
		w, left, refused := replayLife(t, rt, w, cut(rt, script), true, 2, true, false)
		if refused { // it is finished first with what it was begun with
			w, _, _ = replayLife(t, rt, w, cut(rt, script), false, 0, true, false)
			w, left, _ = replayLife(t, rt, w, cut(rt, script), true, 2, true, false)
		}
		if len(left) > 0 {
			rt.Fatalf("dead letters are left: %v", left)
		}
		checkOnce(rt, script, w.broker.data())
	})
}

// checkOnce checks that every message of every row is there once.
func checkOnce(t *rapid.T, script cdctest.Script, messages []stored) {
	got := map[string]int{}
	for _, m := range messages {
		if m.Kind == sink.KindData {
			got[placeOf(m)+"."+strconv.Itoa(int(m.Place.Part))]++
		}
	}
	for _, tx := range script.Txs {
		for i, row := range tx.Rows {
			parts := 1
			switch {
			case row.Key%8 == 5:
				parts = 0
			case row.Key%4 == 1, row.Key%4 == 2:
				parts = 2
			}
			for part := range parts {
				place := fmt.Sprintf("%s#%d.%d", tx.ID, i, part)
				if got[place] != 1 {
					t.Fatalf("%s is there %d times", place, got[place])
				}
				delete(got, place)
			}
		}
	}
	if len(got) > 0 {
		t.Fatalf("the stream has what no row gives: %v", got)
	}
}

// placeOf names the row of the log that a message is of.
func placeOf(m stored) string {
	if m.Original != "" {
		return m.Original
	}
	return m.Place.Tx + "#" + strconv.FormatUint(m.Place.Row, 10)
}

// checkOrder checks that the rows of a key are in the order of the log.
func checkOrder(t *rapid.T, script cdctest.Script, messages []stored) {
	at, keys := map[string]int{}, map[string]string{}
	for _, tx := range script.Txs {
		for i, row := range tx.Rows {
			place := fmt.Sprintf("%s#%d", tx.ID, i)
			at[place], keys[place] = len(at), fmt.Sprint(row.Schema.Table, row.Key)
		}
	}
	last := map[string]int{}
	for _, m := range messages {
		if m.Kind != sink.KindData {
			continue
		}
		key, n := keys[placeOf(m)], at[placeOf(m)]+1
		if n < last[key] {
			t.Fatalf("%s comes behind a newer row of its key", placeOf(m))
		}
		last[key] = n
	}
}

// What becomes of each dead letter: one whose key changed since is left unless it is
// forced, one that is refused again counts its attempts, and a look changes nothing.
func TestReplayOutcomes(t *testing.T) {
	table := cdctest.Table(1, "t")
	row := func(key int64) []cdctest.Row { return []cdctest.Row{{Schema: table, Key: key}} }
	// 1 is refused and comes again, refused; 9 is refused, and then the log has 9 again,
	// which is let through by a mended step; 5 is refused, and dropped once mended.
	script := cdctest.Script{Txs: []cdctest.Tx{{ID: "u:1", Rows: row(1)}, {ID: "u:2", Rows: row(9)}, {ID: "u:3", Rows: row(5)}, {ID: "u:4", Rows: row(1)}}}
	w := newWorld()
	life := func(mended bool, f func(r *rig, replay func(look, force bool) string)) {
		t.Helper()
		r := w.rig(t, script, picky(mended))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.p.Run(ctx) }()
		end := sdk.Position(strconv.Itoa(len(script.Txs)))
		for r.p.Status().Position != end {
			time.Sleep(time.Millisecond)
		}
		f(r, func(look, force bool) string {
			t.Helper()
			var keys []state.DeadLetterKey
			if err := r.state.EachDeadLetter(func(d state.DeadLetter) error { keys = append(keys, d.DeadLetterKey); return nil }); err != nil {
				t.Fatal(err)
			}
			keys, err := r.state.InOrder(keys)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			note := func(r ReplayResult, messages int) {
				out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s %d %s", r.Letter.Tx, r.Outcome, messages, r.Reason), " "))
			}
			if look {
				err = r.p.Preview(ctx, keys, force, func(p ReplayPreview) { note(p.ReplayResult, len(p.Messages)) })
			} else {
				err = r.p.Replay(ctx, keys, force, func(r ReplayResult) { note(r, 0) })
			}
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
	refused := "u:1 refused 0 not mended yet, u:2 refused 0 not mended yet, u:3 refused 0 not mended yet, u:4 refused 0 not mended yet"
	life(false, func(r *rig, replay func(look, force bool) string) {
		want(replay(true, false), refused)
		want(replay(false, false), refused)
		if err := r.state.EachDeadLetter(func(d state.DeadLetter) error {
			if d.Attempts != 2 || d.ChangedBy != "" {
				t.Errorf("%s: %d attempts, changed by %q", d.DeadLetterKey, d.Attempts, d.ChangedBy)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	script.Txs = append(script.Txs, cdctest.Tx{ID: "u:5", Rows: row(9)})
	life(true, func(r *rig, replay func(look, force bool) string) {
		before := len(w.broker.data())
		want(replay(true, false), "u:1 replayed 2, u:2 stale 0 changed since by u:5#0, u:3 dropped 0, u:4 replayed 2")
		if n := len(w.broker.data()); n != before || r.state.DeadLetters() != 4 {
			t.Errorf("a look changed something: %d messages, %d dead letters", n-before, r.state.DeadLetters())
		}
		want(replay(false, false), "u:1 replayed 0, u:2 stale 0 changed since by u:5#0, u:3 dropped 0, u:4 replayed 0")
		want(replay(false, true), "u:2 replayed 0")
	})
	var got []string
	for _, m := range w.broker.data() {
		if m.Kind == sink.KindData {
			got = append(got, m.Place.String()+" "+m.Original)
		}
	}
	// Each of the four refusals of the first life took a number.
	if d := cmp.Diff([]string{"u:5#0.0/2#0 ", "u:5#0.1/2#1 ", "replay:5:model/u:1#0#0.0/2#0 u:1#0", "replay:5:model/u:1#0#0.1/2#1 u:1#0",
		"replay:7:model/u:4#0#0.0/2#0 u:4#0", "replay:7:model/u:4#0#0.1/2#1 u:4#0", "replay:8:model/u:2#0#0.0/2#0 u:2#0", "replay:8:model/u:2#0#0.1/2#1 u:2#0"}, got); d != "" {
		t.Error(d)
	}
}

// A row that was too large for the sink comes by again, behind all steps, and is
// delivered once the sink takes it.
func TestReplayOfALargeRow(t *testing.T) {
	row := cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 5}
	script := cdctest.Script{Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{row}}}}
	w := newWorld()
	for _, limit := range []int{smallMax, 0} {
		r := w.rig(t, script, func(s *Spec) { wide(limit)(s); s.Steps = nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.p.Run(ctx) }()
		for r.p.Status().Position != "1" {
			time.Sleep(time.Millisecond)
		}
		if dead := deadLetters(t, r.state); len(dead) != 1 || !strings.HasPrefix(dead[0], "_sink u:1#0 ") {
			t.Fatalf("%q", dead)
		}
		if n := len(w.broker.data()); n != 0 {
			t.Fatalf("%d messages", n)
		}
		if limit == 0 {
			letter := state.DeadLetterKey{Step: SinkStep, Tx: "u:1"}
			err := r.p.Replay(ctx, []state.DeadLetterKey{letter}, false, func(got ReplayResult) {
				if d := cmp.Diff(ReplayResult{Letter: letter, Outcome: Replayed}, got); d != "" {
					t.Error(d)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := r.state.DeadLetters(); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.close(t)
	}
	for _, m := range w.broker.data() {
		if m.Original != "u:1#0" || len(m.Body) < smallMax {
			t.Errorf("%s %s, %d bytes", m.Place, m.Original, len(m.Body))
		}
	}
	if len(w.broker.data()) == 0 {
		t.Error("nothing was delivered")
	}
}
