package pipeline

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/statetest"
)

// restore makes the disk one onto which an earlier copy was restored.
func restore(t testing.TB, d *statetest.Disk) {
	t.Helper()
	s := d.Open(t)
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	c, ok, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Restored = true; ok {
		err = p.Commit(c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hasCheckpoint reports whether the pipeline ever began on the disk.
func hasCheckpoint(t testing.TB, d *statetest.Disk) bool {
	t.Helper()
	s := d.Open(t)
	defer s.Close()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	_, ok, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// dead lists the dead letters.
func dead(t testing.TB, p *state.Pipeline) []string {
	t.Helper()
	var out []string
	err := p.EachDeadLetter(func(d state.DeadLetter) error {
		out = append(out, fmt.Sprintf("%s %s#%d %s", d.Step, d.Tx, d.Row, d.Reason))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Copies of the state are restored at any time, after any crash, whatever tail
// the stream has lost: the stream, what connectors keep and the dead letters are
// those of one undisturbed run.
func TestRestoredCopiesChangeNothing(t *testing.T) {
	steps := map[string]func() func(*Spec){
		"kept": func() func(*Spec) { return counting(0) },
		"dead": func() func(*Spec) { return nil },
	}
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		edit := steps[rapid.SampledFrom([]string{"kept", "dead"}).Draw(rt, "steps")]
		w := newWorld()
		r := w.rig(t, script, edit())
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		want, wantKept, wantDead := w.broker.data(), kept(t, r.state), dead(t, r.state)
		r.close(t)
		w = newWorld()
		var copies []*statetest.Disk
		for range rapid.IntRange(1, 6).Draw(rt, "crashes") {
			var seed uint64
			w, seed = w.crashed(t, rt, script, edit())
			if hasCheckpoint(t, w.disk) {
				copies = append(copies, w.disk.Crash(seed))
			}
			if len(copies) > 0 && rapid.Bool().Draw(rt, "restore") {
				old := rapid.SampledFrom(copies).Draw(rt, "copy")
				w = &world{w.broker, old.Crash(seed)}
				restore(t, w.disk)
			}
		}
		r = w.rig(t, cut(rt, script), edit())
		defer r.close(t)
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, w.broker.data()); d != "" {
			rt.Fatalf("the stream differs (-undisturbed +restored):\n%s", d)
		}
		if d := cmp.Diff(wantKept, kept(t, r.state)); d != "" {
			rt.Fatalf("what is kept differs (-undisturbed +restored):\n%s", d)
		}
		if d := cmp.Diff(wantDead, dead(t, r.state)); d != "" {
			rt.Fatalf("the dead letters differ (-undisturbed +restored):\n%s", d)
		}
		if c, _, err := r.state.Load(); err != nil {
			rt.Fatal(err)
		} else if c.Restored && c.Messages != c.Before {
			rt.Fatalf("the checkpoint is still that of a copy: %+v", c)
		}
	})
}

// ofRows is a log with a transaction for each key, of one row.
func ofRows(keys ...int64) cdctest.Script {
	s := cdctest.Script{Ends: true}
	for i, k := range keys {
		s.Txs = append(s.Txs, cdctest.Tx{ID: fmt.Sprintf("a:%d", i+1), Rows: []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: k}}})
	}
	return s
}

// What the sink has can't be made again with other steps, or out of another log:
// nothing is published then.
func TestRestoredCopyWithOtherRows(t *testing.T) {
	w := newWorld()
	run := func(s cdctest.Script, edit func(*Spec)) error {
		r := w.rig(t, s, func(spec *Spec) {
			counting(0)(spec)
			if edit != nil {
				edit(spec)
			}
		})
		defer r.close(t)
		return r.p.Run(t.Context())
	}
	if err := run(ofRows(5), nil); err != nil {
		t.Fatal(err)
	}
	old := w.disk.Crash(1)
	if err := run(ofRows(5, 6, 9, 2), nil); err != nil {
		t.Fatal(err)
	}
	have := w.broker.data()
	for name, c := range map[string]struct {
		script cdctest.Script
		edit   func(*Spec)
		want   string
	}{
		"fewer messages":        {ofRows(5, 6, 7, 2, 3), nil, sink.CodeNotReproducible},
		"more messages":         {ofRows(5, 2, 9, 2), nil, sink.CodeNotReproducible},
		"another configuration": {ofRows(5, 6, 9, 2), func(s *Spec) { s.Config.Fingerprint = "f3" }, CodeConfigChanged},
	} {
		w = &world{w.broker, old.Crash(2)}
		restore(t, w.disk)
		err := run(c.script, c.edit)
		if f := faultOf(err, c.want); f == nil || f.Hint == "" || f.Class == fault.Retryable {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(have, w.broker.data()); d != "" {
			t.Errorf("%s: something was published:\n%s", name, d)
		}
	}
	// With the configuration of then it is brought up to the sink, and the new one
	// goes on from there.
	w = &world{w.broker, old.Crash(2)}
	restore(t, w.disk)
	if err := run(ofRows(5, 6, 9, 2, 3), func(s *Spec) { s.Until = Finished }); err != nil {
		t.Error("as it was:", err)
	}
	if err := run(ofRows(5, 6, 9, 2, 3), func(s *Spec) { s.Config.Fingerprint = "f3" }); err != nil {
		t.Error("and then another configuration:", err)
	}
}

// A restored copy is brought up to what lives wrote that it knows nothing of. When
// the broker then loses its tail, down to a message of one of those, the pipeline
// takes its own changes back as ever: the message is not somebody else's.
func TestRestoredCopyAndThenALostTail(t *testing.T) {
	w := newWorld()
	run := func(keys ...int64) {
		t.Helper()
		r := w.rig(t, ofRows(keys...), counting(0))
		defer r.close(t)
		if err := r.p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run(5)
	old := w.disk.Crash(1)
	run(5, 6, 9)
	w = &world{w.broker, old.Crash(2)}
	restore(t, w.disk)
	run(5, 6, 9, 2)
	want := w.broker.data()
	last := func() stored { return w.broker.messages[len(w.broker.messages)-1] }
	for last().Epoch != 2 { // that of the second life
		w.broker.messages = w.broker.messages[:len(w.broker.messages)-1]
	}
	run(5, 6, 9, 2)
	if d := cmp.Diff(want, w.broker.data()); d != "" {
		t.Errorf("the stream differs (-before +behind the loss):\n%s", d)
	}
}

// A copy may stand inside a transaction in parts whose other rows give no message:
// the stream then has not one data message more, and the rows and the transaction's
// end are made again all the same, and left out.
func TestRestoredCopyBeforeRowsWithoutMessages(t *testing.T) {
	tx := func(id string, keys ...int64) cdctest.Tx {
		out := cdctest.Tx{ID: id}
		for _, k := range keys {
			out.Rows = append(out.Rows, cdctest.Row{Schema: cdctest.Table(1, "t"), Key: k})
		}
		return out
	}
	parted := tx("a:1", 5, 5, 5, 5, 5, 12, 8, 1) // the last two are refused
	for name, txs := range map[string][]cdctest.Tx{
		"up to its end":        {parted},
		"up to a heartbeat":    {parted, tx("a:2")},
		"up to the next":       {parted, tx("a:2"), tx("a:3", 5)},
		"up to inside another": {parted, tx("a:2", 1), tx("a:3", 5, 5, 5, 5, 5, 5)},
	} {
		for _, lateEnd := range []bool{false, true} {
			for step, edit := range map[string]func() func(*Spec){
				"kept": func() func(*Spec) { return counting(0) }, "dead": func() func(*Spec) { return nil },
			} {
				t.Run(fmt.Sprint(name, ", ", step, ", late end ", lateEnd), func(t *testing.T) {
					script := cdctest.Script{RowsMax: 5, Ends: true, Txs: txs, LateEnd: lateEnd}
					w := newWorld()
					life := func(c *crasher) (values, letters []string) {
						t.Helper()
						ctx, stop := context.WithCancel(t.Context())
						defer stop()
						r := w.rig(t, script, edit())
						defer r.close(t)
						if c != nil {
							c.w, c.sink, c.stop = w, r.sink, stop
							r.p.gaps = c
						}
						if err := r.p.Run(ctx); err != nil {
							t.Fatal(err)
						}
						return kept(t, r.state), dead(t, r.state)
					}
					wantKept, wantDead := life(nil)
					want := w.broker.data()
					lost := w.broker.messages
					for lost[len(lost)-1].Kind != sink.KindData || lost[len(lost)-1].Place.Row != 5 || lost[len(lost)-1].Place.Tx != "a:1" {
						lost = lost[:len(lost)-1]
					}
					w.broker.messages = lost
					c := &crasher{at: gapProcessed}
					life(c)
					old := c.left.disk.Crash(1)
					w = c.left
					life(nil)
					w = &world{w.broker, old}
					restore(t, w.disk)
					haveKept, haveDead := life(nil)
					if d := cmp.Diff(want, w.broker.data()); d != "" {
						t.Errorf("the stream differs (-undisturbed +restored):\n%s", d)
					}
					if d := cmp.Diff(wantKept, haveKept); d != "" {
						t.Errorf("what is kept differs (-undisturbed +restored):\n%s", d)
					}
					if d := cmp.Diff(wantDead, haveDead); d != "" {
						t.Errorf("the dead letters differ (-undisturbed +restored):\n%s", d)
					}
				})
			}
		}
	}
}

// againSource notes what Run is told of what is made again.
type againSource struct {
	*cdctest.Source
	again <-chan struct{}
}

func (s *againSource) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) error {
	s.again = start.Again
	return s.Source.Run(ctx, start, emit)
}

// The source is told when all is made again: then it may copy tables.
func TestAgainEnds(t *testing.T) {
	row := []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: row}}}
	w := newWorld()
	var src *againSource
	life := func() {
		t.Helper()
		r := w.rig(t, script, func(s *Spec) {
			src = &againSource{Source: s.Source.(*cdctest.Source)}
			s.Source = src
			counting(0)(s)
		})
		if err := r.p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.close(t)
	}
	life()
	if src.again != nil {
		t.Error("nothing is made again, and the source has to wait")
	}
	early := w.disk.Crash(1)
	script.Txs = append(script.Txs, cdctest.Tx{ID: "u:2", Rows: row}, cdctest.Tx{ID: "u:3", Rows: row})
	life()
	script.Txs = append(script.Txs, cdctest.Tx{ID: "u:4", Rows: row})
	w.disk = early
	restore(t, w.disk)
	life()
	select {
	case <-src.again:
	default:
		t.Errorf("the source still waits (told to wait: %v)", src.again != nil)
	}
}
