package pipeline

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// countStep counts the rows of each key in its values and writes the count into
// the row. Some rows it counts and drops, refuses, or doubles; now and then it
// forgets a key.
type countStep struct {
	name    string
	values  *state.Values
	builder sdk.Builder
	out     Output
	batch   map[string]string // written in this batch; empty for deleted
	failAt  int               // rows until Process fails once; 0 for never
}

func (s *countStep) Name() string     { return s.name }
func (s *countStep) OnError() OnError { return Skip }
func (s *countStep) Memory() int64    { return 0 }

func (s *countStep) Close(context.Context) (any, error) { return nil, nil }

func (s *countStep) Process(_ context.Context, in *sdk.Batch) (Output, error) {
	s.builder.Reset()
	s.out = Output{}
	s.batch = map[string]string{}
	i := 0
	for t := range in.Txs() {
		s.builder.CopyTx(in.Tx(t))
		for ; i < in.Rows() && in.Row(i).TxIndex() == t; i++ {
			if s.failAt--; s.failAt == 0 {
				return Output{}, fault.New(fault.Retryable, "step_timeout", "", "", "a passing weakness")
			}
			if err := s.row(in.Row(i), i); err != nil {
				return Output{}, err
			}
		}
	}
	s.out.Batch = s.builder.Seal(in.Schemas())
	return s.out, nil
}

func (s *countStep) row(r sdk.Row, i int) error {
	key := r.After().Int(0)
	name := strconv.FormatInt(key%9, 10)
	text, ok := s.batch[name]
	if !ok {
		v, _, err := s.values.Get([]byte(name))
		if err != nil {
			return err
		}
		text = string(v)
	}
	n, _ := strconv.Atoi(text)
	n++
	text = strconv.Itoa(n)
	if n%6 == 0 {
		text = ""
	}
	s.batch[name] = text
	s.out.Writes = append(s.out.Writes, Write{Row: i, Key: []byte(name), Value: []byte(text), Gone: text == ""})
	copies := 1
	switch key % 7 {
	case 0:
		copies = 0
		s.out.Dropped++
	case 1:
		copies = 0
		s.out.Failed = append(s.out.Failed, Failure{Row: i, Reason: "key ends badly"})
	case 2:
		copies = 3
	}
	for range copies {
		s.builder.BeginRow(r.Schema(), r.Op(), sdk.RowAfter, r.Ordinal())
		s.builder.After().SetSlot(0, uint64(key))
		s.builder.SetBytes(s.builder.After(), 1, fmt.Appendf(nil, "%s|%s %d", r.After().Bytes(1), s.name, n))
		s.builder.EndRow()
	}
	return nil
}

// counting makes the pipeline's steps two that count, one behind the other.
func counting(failAt int) func(*Spec) {
	return func(s *Spec) {
		s.Stateful = true
		p := s.State
		s.Steps = func(context.Context) ([]Step, error) {
			first := &countStep{name: "first", values: p.Values("first"), failAt: failAt}
			failAt = 0
			return []Step{first, &countStep{name: "second", values: p.Values("second")}}, nil
		}
	}
}

// kept lists what the steps keep.
func kept(t testing.TB, p *state.Pipeline) []string {
	t.Helper()
	var out []string
	for _, step := range []string{"first", "second"} {
		v := p.Values(step)
		size := 0
		err := v.Scan(nil, nil, func(key, value []byte) bool {
			out = append(out, step+" "+string(key)+"="+string(value))
			size += len(key) + len(value)
			return true
		})
		if err != nil || int64(size) != v.Bytes() {
			t.Fatalf("%d bytes are kept, accounted %d: %v", size, v.Bytes(), err)
		}
	}
	return out
}

// Whatever crashes, wherever, however the log is cut and whatever tail the
// stream loses: what connectors keep, and what they wrote into rows from it, is
// what one undisturbed run gives.
func TestCrashesChangeNothingKept(t *testing.T) { crashesChangeNothingKept(t, func(*Spec) {}) }

// The same where rows give several messages or none, and where the sink refuses
// some: what lies before a row is counted in messages, not in rows.
func TestCrashesChangeNothingKeptInParts(t *testing.T) {
	crashesChangeNothingKept(t, func(s *Spec) { s.Format = &modelFormat{json.New()} })
}

func TestCrashesChangeNothingKeptOfRefusedRows(t *testing.T) {
	crashesChangeNothingKept(t, wide(smallMax))
}

func crashesChangeNothingKept(t *testing.T, edit func(*Spec)) {
	t.Helper()
	both := func(failAt int) func(*Spec) {
		count := counting(failAt)
		return func(s *Spec) { count(s); edit(s) }
	}
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		w := newWorld()
		r := w.rig(t, script, both(0))
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		want, wantKept := w.broker.data(), kept(t, r.state)
		r.close(t)
		w = newWorld()
		for range rapid.IntRange(0, 5).Draw(rt, "crashes") {
			w, _ = w.crashed(t, rt, script, both(rapid.SampledFrom([]int{0, 0, 0, 3, 20}).Draw(rt, "fail at")))
		}
		r = w.rig(t, cut(rt, script), both(0))
		defer r.close(t)
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, w.broker.data()); d != "" {
			rt.Fatalf("the stream differs (-undisturbed +crashed):\n%s", d)
		}
		if d := cmp.Diff(wantKept, kept(t, r.state)); d != "" {
			rt.Fatalf("what is kept differs (-undisturbed +crashed):\n%s", d)
		}
	})
}

// A cdcd that had the stream meanwhile has kept what this one has not.
func TestStateOfAnotherWriter(t *testing.T) {
	row := func(id string) cdctest.Tx {
		return cdctest.Tx{ID: id, Rows: []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}}
	}
	run := func(w *world, txs ...cdctest.Tx) error {
		r := w.rig(t, cdctest.Script{Ends: true, Txs: txs}, counting(0))
		defer r.close(t)
		return r.p.Run(t.Context())
	}
	ours := newWorld()
	if err := run(ours, row("a:1")); err != nil {
		t.Fatal(err)
	}
	if err := run(ours, row("a:1"), row("a:2")); err != nil { // of an earlier life of ours
		t.Fatal(err)
	}
	crashed := &world{ours.broker, ours.disk.Crash(1)}
	claimed := &world{crashed.broker, newWorld().disk}
	if err := run(claimed, row("a:1"), row("a:2")); faultOf(err, CodeStateMissing) == nil {
		t.Error("a state that knows nothing goes on:", err)
	}
	// That one has put a marker into the stream, and nothing else: no reason to stop.
	if err := run(crashed, row("a:1"), row("a:2")); err != nil {
		t.Error("another's marker:", err)
	}
	w := &world{crashed.broker, newWorld().disk}
	r := w.rig(t, cdctest.Script{Ends: true, Txs: []cdctest.Tx{row("a:1"), row("a:2"), row("a:3")}}, nil) // keeps nothing, so it may
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.close(t)
	if err := run(crashed, row("a:1"), row("a:2"), row("a:3"), row("a:4")); faultOf(err, CodeStateMissing) == nil {
		t.Error("another's messages:", err)
	}
}

// A stream that others have filled, or whose state is gone, is not continued
// from values that were never there.
func TestStateMissing(t *testing.T) {
	w := newWorld()
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "a:1", Rows: []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}}}}
	r := w.rig(t, script, counting(0))
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.close(t)
	w = &world{w.broker, newWorld().disk}
	r = w.rig(t, script, counting(0))
	f := faultOf(r.p.Run(t.Context()), CodeStateMissing)
	if f == nil || f.Class != fault.Environment || !strings.Contains(f.Hint, "cdcd checkpoint restore --remote") || !strings.Contains(f.Hint, "cdcd checkpoint forget") {
		t.Fatal(f)
	}
	r.close(t)
	forget(t, w.disk)
	script.Txs = append(script.Txs, cdctest.Tx{ID: "a:2", Rows: []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}})
	for range 2 { // and again: what is confirmed is this state's own
		r = w.rig(t, script, counting(0))
		if err := r.p.Run(t.Context()); err != nil {
			t.Fatal("what the hint says was done:", err)
		}
		r.close(t)
	}
	if got := len(w.broker.kinds(sink.KindData)); got != 2 {
		t.Errorf("%d messages of 2 rows", got)
	}
}
