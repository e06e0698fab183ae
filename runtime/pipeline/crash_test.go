package pipeline

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what outlives a crash of the daemon: the stream and the disk.
type world struct {
	broker *broker
	disk   *statetest.Disk
}

func newWorld() *world { return &world{&broker{}, statetest.NewDisk()} }

// rig is one life of the daemon in a world.
type rig struct {
	p      *Pipeline
	sink   *modelSink
	source *cdctest.Source
	step   *modelStep
	store  *state.Store
	state  *state.Pipeline
	share  *budget.Share
}

func (w *world) rig(t testing.TB, script cdctest.Script, edit func(*Spec)) *rig {
	t.Helper()
	r := &rig{sink: newModelSink(w.broker), step: &modelStep{onError: DeadLetter}, store: w.disk.Open(t),
		share: budget.New(1 << 20).Share(1 << 20)}
	var err error
	if r.state, err = r.store.Pipeline("shop"); err != nil {
		t.Fatal(err)
	}
	r.source = cdctest.New(script, cdc.Env{Share: r.share})
	template, err := subject.Parse(subject.Default)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "shop", Source: r.source, SourceKind: "mysql", Sink: r.sink, Format: json.New(), Subject: template,
		Steps: func(context.Context) ([]Step, error) { return []Step{r.step}, nil }, State: r.state, Share: r.share,
		Config: state.Steps{Fingerprint: "f1"}}
	if edit != nil {
		edit(&spec)
	}
	if r.sink.fingerprint = spec.Config.Fingerprint; r.sink.fingerprint == "f2" {
		r.step.shift = 1
	}
	r.p = New(spec)
	return r
}

// close ends the life and looks for what it left behind.
func (r *rig) close(t testing.TB) {
	t.Helper()
	if err := r.store.Close(); err != nil {
		t.Errorf("closing the state: %v", err)
	}
	if n := r.share.Used(); n != 0 {
		t.Errorf("%d bytes of budget are still held", n)
	}
	if !r.source.Closed() || !r.sink.closed {
		t.Error("source or sink was not closed")
	}
}

// crasher takes what a crash at a gap would leave, and ends the life.
type crasher struct {
	w       *world
	sink    *modelSink
	at      gap
	after   int // gaps of that name to let pass
	arrived int // messages of the window that reached the stream
	lost    int // messages that the stream forgets
	seed    uint64
	stop    context.CancelFunc

	mu   sync.Mutex
	left *world // nil until the crash
}

func (c *crasher) reached(g gap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g != c.at || c.left != nil {
		return
	}
	if c.after--; c.after >= 0 {
		return
	}
	// The disk first: what the stream has may be newer than what the disk says of it.
	disk := c.w.disk.Crash(c.seed)
	c.left = &world{c.w.broker.crash(c.sink, c.arrived, c.lost), disk}
	c.stop()
}

var allGaps = []gap{gapProcessed, gapPersisted, gapPublished, gapConfirmed, gapCommitted, gapTold}

// drawScript draws a log: transactions of no rows, of few, and of more than a
// batch takes.
func drawScript(t *rapid.T) cdctest.Script {
	tables := []*sdk.Schema{cdctest.Table(1, "orders"), cdctest.Table(2, "odd.name")}
	script := cdctest.Script{RowsMax: 5, Ends: true}
	n := rapid.IntRange(1, 12).Draw(t, "transactions")
	for i := range n {
		tx := cdctest.Tx{ID: fmt.Sprintf("uuid:%d", i+1), Time: int64(1e15) + int64(i)}
		for range rapid.SampledFrom([]int{0, 1, 2, 5, 6, 17}).Draw(t, "rows") {
			tx.Rows = append(tx.Rows, cdctest.Row{Schema: rapid.SampledFrom(tables).Draw(t, "table"),
				Key: int64(rapid.IntRange(0, 50).Draw(t, "key")), Text: "x"})
		}
		script.Txs = append(script.Txs, tx)
	}
	return script
}

// cut draws how the log is cut into batches.
func cut(t *rapid.T, s cdctest.Script) cdctest.Script {
	s.Together = func() int { return 1 }
	if n := rapid.IntRange(1, 6).Draw(t, "together"); n > 1 {
		s.Together = func() int { return n }
	}
	part := rapid.IntRange(1, 7).Draw(t, "part")
	s.Part = func() int { return part }
	s.LateEnd = rapid.Bool().Draw(t, "late end")
	return s
}

// deadLetters lists the dead letters that are kept.
func deadLetters(t testing.TB, p *state.Pipeline) []string {
	t.Helper()
	var out []string
	err := p.EachDeadLetter(func(d state.DeadLetter) error {
		out = append(out, fmt.Sprintf("%s %s#%d %s %d", d.Step, d.Tx, d.Row, d.Reason, d.Batch.Row(0).After().Int(0)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// undisturbed runs the script once and returns its messages and dead letters.
func undisturbed(t testing.TB, script cdctest.Script, edit ...func(*Spec)) ([]stored, []string) {
	t.Helper()
	w := newWorld()
	r := w.rig(t, script, func(s *Spec) {
		for _, f := range edit {
			if f != nil {
				f(s)
			}
		}
	})
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.broker.data(), deadLetters(t, r.state)
}

// Whatever crashes, wherever, and however the log is cut into batches: the
// stream is what one undisturbed run would have written.
func TestCrashesChangeNothing(t *testing.T) { crashesChangeNothing(t, nil) }

// The same with a format whose rows give several messages, or none.
func TestCrashesChangeNothingInParts(t *testing.T) {
	crashesChangeNothing(t, func(s *Spec) { s.Format = &modelFormat{json.New()} })
}

// crashed runs the pipeline, on a log that is cut anew, until a crash that is drawn
// or, where that is not met, to the log's end. It returns what the next life finds,
// and the seed of the crash.
func (w *world) crashed(t *testing.T, rt *rapid.T, script cdctest.Script, edit func(*Spec)) (left *world, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := w.rig(t, cut(rt, script), edit)
	c := drawCrash(rt, w, r, cancel)
	err := r.p.Run(ctx)
	r.close(t)
	if err != nil {
		rt.Fatal(err)
	}
	if c.left != nil {
		w = c.left
	}
	return w, c.seed
}

func crashesChangeNothing(t *testing.T, edit func(*Spec)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		want, wantDead := undisturbed(t, script, edit)
		w := newWorld()
		for range rapid.IntRange(0, 4).Draw(rt, "crashes") {
			w, _ = w.crashed(t, rt, script, edit)
		}
		r := w.rig(t, cut(rt, script), edit)
		defer r.close(t)
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, w.broker.data()); d != "" {
			rt.Fatalf("the stream differs (-undisturbed +crashed):\n%s", d)
		}
		if d := cmp.Diff(wantDead, deadLetters(t, r.state)); d != "" {
			rt.Fatalf("the dead letters differ:\n%s", d)
		}
	})
}

// drawCrash draws where a life ends and what its crash leaves.
func drawCrash(t *rapid.T, w *world, r *rig, stop context.CancelFunc) *crasher {
	c := &crasher{w: w, sink: r.sink, stop: stop,
		at:      rapid.SampledFrom(allGaps).Draw(t, "gap"),
		after:   rapid.IntRange(0, 6).Draw(t, "after"),
		arrived: rapid.IntRange(0, 9).Draw(t, "arrived"),
		lost:    rapid.SampledFrom([]int{0, 0, 1, 3, 20}).Draw(t, "lost"),
		seed:    rapid.Uint64().Draw(t, "seed")}
	r.p.gaps = c
	return c
}

func fingerprint(f string) func(*Spec) { return func(s *Spec) { s.Config.Fingerprint = f } }

func byTx(messages []stored) map[string][]stored {
	out := map[string][]stored{}
	for _, m := range messages {
		out[m.Place.Tx] = append(out[m.Place.Tx], m)
	}
	return out
}

// Whatever crashes while the steps are changed back and forth: every
// transaction is whole and of one configuration, and a change is refused only
// where the stream ends inside a transaction, and then until it is taken back.
func TestConfigChangesBetweenCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		want := map[string]map[string][]stored{}
		for _, f := range []string{"f1", "f2"} {
			messages, _ := undisturbed(t, script, fingerprint(f))
			want[f] = byTx(messages)
		}
		w := newWorld()
		for lives := rapid.IntRange(1, 6).Draw(rt, "lives"); lives > 0; lives-- {
			f := rapid.SampledFrom([]string{"f1", "f2"}).Draw(rt, "configuration")
			ctx, cancel := context.WithCancel(t.Context())
			r := w.rig(t, cut(rt, script), fingerprint(f))
			c := &crasher{}
			if lives > 1 {
				c = drawCrash(rt, w, r, cancel)
			}
			err := r.p.Run(ctx)
			cancel()
			r.close(t)
			switch {
			case faultOf(err, CodeConfigChanged) != nil:
				last := w.broker.messages[len(w.broker.messages)-1]
				if last.Place.Tx == "" || last.TxLast || last.Fingerprint == f {
					rt.Fatalf("%v behind %+v", err, last)
				}
				lives += min(1, 2-lives) // the last life is one that is let run
			case err != nil:
				rt.Fatal(err)
			case c.left != nil:
				w = c.left
			}
		}
		checkConfigs(rt, script, want, w.broker.data())
	})
}

func checkConfigs(t *rapid.T, script cdctest.Script, want map[string]map[string][]stored, got []stored) {
	whole := byTx(got)
	var order []stored
	for _, tx := range script.Txs {
		if !cmp.Equal(whole[tx.ID], want["f1"][tx.ID]) && !cmp.Equal(whole[tx.ID], want["f2"][tx.ID]) {
			t.Fatalf("transaction %s is of neither configuration (-f1 +stream):\n%s", tx.ID, cmp.Diff(want["f1"][tx.ID], whole[tx.ID]))
		}
		order = append(order, whole[tx.ID]...)
	}
	if d := cmp.Diff(order, got); d != "" {
		t.Fatalf("the order differs:\n%s", d)
	}
}

// A definition that goes out behind a transaction which the stream had before
// the start says so: a crash there must not send the transaction again.
func TestDefinitionBehindTheAnchor(t *testing.T) {
	row := []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}
	script := cdctest.Script{Ends: true, RowsMax: 5, Together: func() int { return 2 },
		Txs: []cdctest.Tx{{ID: "u:1", Rows: row}, {ID: "u:2", Rows: row}}}
	for _, whole := range []bool{true, false} {
		w := newWorld()
		at := sink.Place{Tx: "u:1", Parts: 1}
		w.broker.messages = []stored{{Kind: sink.KindData, Base: "0", Place: at, TxLast: whole, Fingerprint: "f1"}}
		r := w.rig(t, script, nil)
		if err := r.p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.close(t)
		if m := w.broker.kinds(sink.KindSchema); len(m) != 1 || m[0].Place != at || !m[0].TxLast || m[0].Base != "0" {
			t.Errorf("%+v", m)
		}
		if n := len(w.broker.data()); n != 2 {
			t.Errorf("%d rows in the stream", n)
		}
	}
}

// Every gap is one that a run passes, so that a crash there is really tried.
func TestEveryGapIsReached(t *testing.T) {
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "a:1", Rows: []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}}}}
	for _, g := range allGaps {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		r := w.rig(t, script, nil)
		c := &crasher{w: w, sink: r.sink, stop: cancel, at: g}
		r.p.gaps = c
		if err := r.p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		r.close(t)
		if c.left == nil {
			t.Errorf("gap %q is never reached", g)
		}
	}
}

// The flags of a transaction's messages say what is so.
func TestTransactionFlags(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		messages, _ := undisturbed(t, cut(rt, script))
		byTx := map[string][]stored{}
		for _, m := range messages {
			byTx[m.Place.Tx] = append(byTx[m.Place.Tx], m)
		}
		for _, tx := range script.Txs {
			checkTx(rt, tx, byTx[tx.ID], len(tx.Rows) <= script.RowsMax)
		}
	})
}

func checkTx(t *rapid.T, tx cdctest.Tx, messages []stored, whole bool) {
	lastOn := map[string]int{}
	for i, m := range messages {
		lastOn[m.Subject] = i
	}
	for i, m := range messages {
		last := i == len(messages)-1
		switch {
		case m.Place.N != uint64(i):
			t.Fatalf("%s: message %d has number %d", tx.ID, i, m.Place.N)
		case whole && (m.Kind != sink.KindData || m.TxRows != uint64(len(tx.Rows)) || m.TxLast != last ||
			m.SubjectLast != (lastOn[m.Subject] == i)):
			t.Fatalf("%s: message %d of a whole transaction: %+v", tx.ID, i, m)
		case !whole && !last && (m.Kind != sink.KindData || m.TxRows != 0 || m.TxLast || m.SubjectLast):
			t.Fatalf("%s: message %d of a split transaction: %+v", tx.ID, i, m)
		case !whole && last:
			want := fmt.Sprintf(`{"op":"m","kind":"tx_end","tx":%q,"rows":%d,"messages":%d,"subjects":%s}`, tx.ID, len(tx.Rows), i, subjectsOf(messages[:i]))
			if m.Kind != sink.KindTxEnd || m.Body != want || m.Subject != "cdc.shop._cdcd" || m.TxRows != uint64(len(tx.Rows)) {
				t.Fatalf("%s: the last message: %+v", tx.ID, m)
			}
		}
	}
}

func TestRoutedRows(t *testing.T) {
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "a:1", Rows: []cdctest.Row{
		{Schema: cdctest.Table(1, "t"), Key: 4, Text: "routed"}, {Schema: cdctest.Table(1, "t"), Key: 5, Text: "plain"}}}}}
	m, _ := undisturbed(t, script)
	if len(m) != 2 || m[0].Subject != "cdc.shop.routed.to%201" || m[0].Key != "k" || m[0].Headers != "A: b\n" ||
		m[1].Subject != "cdc.shop.shop.t" || m[1].Key != `{"id":5}` || m[1].Headers != "" {
		t.Fatalf("%+v", m)
	}
}

// A definition goes out before the first row that uses it, once in a run.
func TestSchemaMessages(t *testing.T) {
	w := newWorld()
	a, b, a2 := cdctest.Table(1, "a"), cdctest.Table(2, "b"), cdctest.Table(3, "a")
	a2.Columns = append(a2.Columns, sdk.Column{Name: "more", Type: sdk.TypeInt, Nullable: true})
	row := func(s *sdk.Schema) cdctest.Row { return cdctest.Row{Schema: s, Key: 5} }
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{
		{ID: "u:1", Rows: []cdctest.Row{row(a), row(a), row(b)}}, {ID: "u:2", Rows: []cdctest.Row{row(a2)}}}}
	for range 2 {
		r := w.rig(t, script, nil)
		if err := r.p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.close(t)
	}
	var got []string
	for _, m := range w.broker.messages {
		got = append(got, m.Kind.String()+" "+m.Place.String())
		if m.Kind == sink.KindSchema && (m.Subject != "cdc.shop._cdcd" || !strings.Contains(m.Body, `"op":"m","kind":"schema"`)) {
			t.Errorf("%+v", m)
		}
	}
	want := []string{"marker #0.0/0#0", "schema #0.0/0#0", "data u:1#0.0/1#0", "data u:1#1.0/1#1", "schema u:1#1.0/1#1",
		"data u:1#2.0/1#2", "schema u:1#2.0/1#2", "data u:2#0.0/1#0", "marker #0.0/0#0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

// A step that gives something else than before is found out.
func TestNotReproducible(t *testing.T) {
	row := cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 3} // 4 messages
	w := newWorld()
	w.broker.messages = []stored{{Kind: sink.KindData, Base: "0", Place: sink.Place{Tx: "u:1", Row: 0, Part: 1, Parts: 2, N: 1}}}
	r := w.rig(t, cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{row}}}}, nil)
	defer r.close(t)
	err := r.p.Run(t.Context())
	if f := faultOf(err, sink.CodeNotReproducible); f == nil || f.Hint == "" {
		t.Fatal(err)
	}
	if s := r.p.Status(); s.State != StateHalted || s.Fault == nil || len(w.broker.data()) != 1 {
		t.Fatalf("%+v", s)
	}
}

// The rows before the anchor's are seen by no step again.
func TestDoneRowsReachNoStep(t *testing.T) {
	var rows []cdctest.Row
	for range 4 {
		rows = append(rows, cdctest.Row{Schema: cdctest.Table(1, "t"), Key: 3})
	}
	w := newWorld()
	w.broker.messages = []stored{{Kind: sink.KindData, Base: "0", Place: sink.Place{Tx: "u:2", Row: 2, Part: 1, Parts: 4, N: 9}}}
	r := w.rig(t, cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: rows}, {ID: "u:2", Rows: rows}}}, nil)
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"u:2#2", "u:2#3"}, r.step.saw); d != "" {
		t.Fatal(d)
	}
	var got []string
	for _, m := range w.broker.data() {
		got = append(got, m.Place.String())
	}
	want := []string{"u:2#2.1/4#9", "u:2#2.2/4#10", "u:2#2.3/4#11", "u:2#3.0/4#12", "u:2#3.1/4#13", "u:2#3.2/4#14", "u:2#3.3/4#15"}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}
