package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

const smallMax = 2000

// wideFormat makes large messages of rows whose key is divisible by 5.
type wideFormat struct{ format.Format }

func (f wideFormat) AppendRow(dst []byte, row sdk.Row, c format.Context) []byte {
	dst = f.Format.AppendRow(dst, row, c)
	if row.After().Int(0)%5 == 0 {
		dst = append(dst, strings.Repeat(" ", smallMax)...)
	}
	return dst
}

func wide(limit int) func(*Spec) {
	return func(s *Spec) {
		s.Format = wideFormat{json.New()}
		s.Sink.(*modelSink).refuse = limit
	}
}

// Rows that are too large for the sink are dead letters, once each, whatever
// crashes; all others are in the stream as they were.
func TestCrashesChangeNothingOfRefusedRows(t *testing.T) { crashesChangeNothing(t, wide(smallMax)) }

func TestLargeRowsAreDeadLetters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		all, dead := undisturbed(t, script, wide(0))
		got, gotDead := undisturbed(t, cut(rt, script), wide(smallMax))
		large := map[string]bool{}
		row := func(m stored) string { return fmt.Sprintf("%s#%d", m.Place.Tx, m.Place.Row) }
		for _, m := range all {
			large[row(m)] = large[row(m)] || m.Kind == sink.KindData && len(m.Body) > smallMax
		}
		parts := map[string]int{}
		for _, m := range all {
			if m.Kind == sink.KindData {
				parts[row(m)]++
			}
		}
		var want []string
		for _, m := range all {
			if m.Kind == sink.KindData && !large[row(m)] {
				want = append(want, m.Place.Tx+" "+m.Subject+" "+m.Body)
			}
		}
		var have []string
		n := map[string]uint64{}
		for _, m := range got {
			if m.Kind != sink.KindData {
				continue
			}
			if m.Place.N != n[m.Place.Tx] {
				rt.Fatalf("%s is message %d of its transaction", m.Place, n[m.Place.Tx])
			}
			n[m.Place.Tx]++
			have = append(have, m.Place.Tx+" "+m.Subject+" "+m.Body)
		}
		if d := cmp.Diff(want, have); d != "" {
			rt.Fatalf("messages (-want +got):\n%s", d)
		}
		refused := 0
		for _, d := range gotDead {
			if strings.HasPrefix(d, SinkStep) {
				refused++
				_, rest, _ := strings.Cut(d, " ")
				place, _, _ := strings.Cut(rest, " ")
				if !large[place] || !strings.Contains(d, "bytes, and the sink takes 2000") {
					rt.Fatalf("dead letter %s", d)
				}
			}
		}
		count := 0
		for at, l := range large {
			if l { // each row that was made of it is one, none is left out
				count += parts[at]
			}
		}
		if refused != count || len(gotDead) != len(dead)+count {
			rt.Fatalf("%d rows were refused and %d are large; %d dead letters, %d without a limit", refused, count, len(gotDead), len(dead))
		}
	})
}

// The row that delivery stands at was taken: it is not refused when it is run
// again, and what is missing of it is delivered.
func TestAnchorsRowIsNotRefused(t *testing.T) {
	row := cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 10} // 4 messages, each large
	next := row
	next.Key = 5 // one
	w := newWorld()
	w.broker.messages = []stored{{Kind: sink.KindData, Base: "0", Place: sink.Place{Tx: "u:1", Row: 0, Part: 1, Parts: 4, N: 1}}}
	r := w.rig(t, cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{row, next}}}}, wide(smallMax))
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range w.broker.data() {
		got = append(got, m.Place.String())
	}
	if d := cmp.Diff([]string{"u:1#0.1/4#1", "u:1#0.2/4#2", "u:1#0.3/4#3"}, got); d != "" {
		t.Error(d)
	}
	if dead := deadLetters(t, r.state); len(dead) != 1 || !strings.HasPrefix(dead[0], "_sink u:1#1 ") {
		t.Errorf("%q", dead)
	}
}

// Of rows that a step has made of one, none is delivered where one is too large;
// each is a dead letter, and those around are delivered.
func TestSiblingsOfALargeRowAreHeldBack(t *testing.T) {
	row := cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 10} // 4 messages, each large
	next := row
	next.Key = 4
	w := newWorld()
	r := w.rig(t, cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{next, row, next}}}}, wide(smallMax))
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.broker.data() {
		if m.Place.Row == 1 {
			t.Errorf("%s is delivered", m.Place)
		}
	}
	if n := len(w.broker.data()); n != 2 {
		t.Errorf("%d messages around it, want 2", n)
	}
	var steps []string
	for _, d := range deadLetters(t, r.state) {
		step, _, _ := strings.Cut(d, " ")
		steps = append(steps, step)
	}
	if d := cmp.Diff([]string{"_sink", "_sink.1", "_sink.2", "_sink.3"}, steps); d != "" {
		t.Error(d)
	}
}
