package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state/statetest"
)

// copySource plays a script, and between its transactions hands out the rows of
// a table, each a transaction of its own. Its positions are "n@copied", with a
// number of transactions and one of rows.
type copySource struct {
	*cdctest.Source
	keys   []int64 // of the table's rows
	schema *sdk.Schema
	batch  func() int // rows that are handed out together
}

func splitPos(p sdk.Position) (log sdk.Position, copied int) {
	text, n, _ := strings.Cut(string(p), "@")
	copied, _ = strconv.Atoi(n)
	return sdk.Position(text), copied
}

func joinPos(log sdk.Position, copied int) sdk.Position {
	return log + "@" + sdk.Position(strconv.Itoa(copied))
}

func (s *copySource) Covers(pos, head sdk.Position) (bool, error) {
	a, m := splitPos(pos)
	b, n := splitPos(head)
	ok, err := s.Source.Covers(a, b)
	return ok && m >= n, err
}

func (s *copySource) Behind(base sdk.Position, tx string, whole bool) (sdk.Position, bool, error) {
	text, ok := strings.CutPrefix(tx, "copy/")
	if !ok {
		return "", false, nil
	}
	n, err := strconv.Atoi(text)
	if whole {
		n++
	}
	log, _ := splitPos(base)
	return joinPos(log, n), true, err
}

func (s *copySource) Copied(from, to sdk.Position) (bool, error) {
	_, m := splitPos(from)
	_, n := splitPos(to)
	return m != n, nil
}

func (s *copySource) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) error {
	var copied int
	start.Base, copied = splitPos(start.Base)
	rows := func(at sdk.Position) error {
		n := min(s.batch(), len(s.keys)-copied)
		if n == 0 {
			return nil
		}
		var b sdk.Builder
		b.Reset()
		for i := range n {
			b.BeginTx(sdk.TxInfo{ID: []byte("copy/" + strconv.Itoa(copied+i)), Time: 1e15})
			b.BeginRow(s.schema, sdk.OpRead, sdk.RowAfter, 0)
			b.After().SetSlot(0, uint64(s.keys[copied+i]))
			b.SetBytes(b.After(), 1, []byte("copied"))
			b.EndRow()
			b.EndTx(0, 0)
		}
		batch := &cdc.Batch{Batch: b.Seal([]*sdk.Schema{nil, nil, nil, s.schema}), Begin: joinPos(at, copied), End: joinPos(at, copied+n), Snapshot: true}
		copied += n
		return emit(ctx, batch)
	}
	if start.Tx == "" {
		if err := rows(start.Base); err != nil {
			return err
		}
	}
	at := start.Base
	err := s.Source.Run(ctx, start, func(ctx context.Context, b *cdc.Batch) error {
		begin, end := b.Begin, b.End
		b.Begin, b.End = joinPos(begin, copied), joinPos(end, copied)
		boundary := b.Txs() == 0 || b.Tx(b.Txs()-1).Ends()
		if err := emit(ctx, b); err != nil || !boundary {
			return err
		}
		at = end
		return rows(at)
	})
	for err == cdc.ErrEnd && copied < len(s.keys) && s.batch() > 0 {
		if err := rows(at); err != nil {
			return err
		}
	}
	return err
}

// copying makes a rig's source one that copies a table as well.
func copying(keys []int64, batch func() int) func(*Spec) {
	return func(s *Spec) {
		src, ok := s.Source.(*cdctest.Source)
		if !ok {
			panic("not a scripted source")
		}
		s.Source = &copySource{Source: src, keys: keys, schema: cdctest.Table(3, "copied"), batch: batch}
	}
}

// Whatever crashes, beside a copy: the stream of changes is what it is without
// one, and each row of the table is there once, whole, in order. Only one that
// was cut between its messages is there again.
func TestCrashesBesideACopy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		want, _ := undisturbed(t, script)
		keys := make([]int64, rapid.IntRange(0, 25).Draw(rt, "copied rows"))
		for i := range keys {
			keys[i] = int64(rapid.IntRange(0, 50).Draw(rt, "copied key"))
		}
		n := rapid.IntRange(1, 6).Draw(rt, "rows together")
		w := newWorld()
		for range rapid.IntRange(0, 5).Draw(rt, "crashes") {
			w, _ = w.crashed(t, rt, script, copying(keys, func() int { return n }))
		}
		r := w.rig(t, cut(rt, script), copying(keys, func() int { return n }))
		defer r.close(t)
		if err := r.p.Run(t.Context()); err != nil {
			rt.Fatal(err)
		}
		var got, copied []stored
		for _, m := range w.broker.data() {
			if strings.HasPrefix(m.Place.Tx, "copy/") {
				copied = append(copied, m)
			} else {
				got = append(got, m)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("the stream differs (-without a copy +with one):\n%s", d)
		}
		checkCopied(rt, keys, copied)
	})
}

// messagesOf is how many messages modelStep makes of a row.
func messagesOf(key int64) int {
	switch key % 7 {
	case 0, 1:
		return 0
	case 2, 3:
		return int(key%7) + 1
	}
	return 1
}

func checkCopied(t *rapid.T, keys []int64, copied []stored) {
	for i, key := range keys {
		id, parts := "copy/"+strconv.Itoa(i), messagesOf(key)
		whole := 0
		for n := 0; len(copied) > 0 && copied[0].Place.Tx == id; n++ {
			m := copied[0]
			copied = copied[1:]
			if m.Place.Part == 0 {
				n = 0 // from its beginning
			}
			want := sink.Place{Tx: id, Part: uint32(n), Parts: uint32(parts), N: uint64(n)}
			last := n == parts-1
			if m.Place != want || m.TxLast != last || m.TxRows != 1 {
				t.Fatalf("row %d: %+v, want %+v", i, m, want)
			}
			if last {
				whole++
			}
		}
		if whole != min(parts, 1) {
			t.Fatalf("row %d, key %d, is there %d times", i, key, whole)
		}
	}
	if len(copied) > 0 {
		t.Fatalf("out of order: %+v", copied)
	}
}

// What steps keep counts each row once, that of a copy too.
func TestKeptBesideACopy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawScript(rt)
		keys := make([]int64, rapid.IntRange(1, 25).Draw(rt, "copied rows"))
		counts := map[int64]int{}
		for i := range keys {
			keys[i] = int64(rapid.IntRange(0, 50).Draw(rt, "copied key"))
			counts[keys[i]%9]++
		}
		for _, tx := range script.Txs {
			for _, r := range tx.Rows {
				counts[r.Key%9]++
			}
		}
		var want []string
		for k, n := range counts {
			if n %= 6; n > 0 {
				want = append(want, fmt.Sprintf("first %d=%d", k, n))
			}
		}
		slices.Sort(want)
		w := newWorld()
		n := rapid.IntRange(1, 6).Draw(rt, "rows together")
		life := func(crash bool) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := w.rig(t, cut(rt, script), func(s *Spec) {
				copying(keys, func() int { return n })(s)
				counting(0)(s)
			})
			c := &crasher{}
			if crash {
				c = drawCrash(rt, w, r, cancel)
			}
			if err := r.p.Run(ctx); err != nil {
				rt.Fatal(err)
			}
			if !crash {
				var got []string
				for _, v := range kept(t, r.state) {
					if strings.HasPrefix(v, "first ") {
						got = append(got, v)
					}
				}
				slices.Sort(got)
				if d := cmp.Diff(want, got); d != "" {
					rt.Fatalf("what is kept (-want +got):\n%s", d)
				}
			}
			r.close(t)
			if c.left != nil && !rapid.Bool().Draw(rt, "stopped in order") {
				w = c.left
			}
		}
		for range rapid.IntRange(0, 5).Draw(rt, "crashes") {
			life(true)
		}
		life(false)
	})
}

// A batch of a copy that was cut, and behind it nothing but a moved position:
// what was kept for its delivered rows stays.
func TestKeptBehindACutCopy(t *testing.T) {
	script := cdctest.Script{Ends: true, RowsMax: 5, Txs: []cdctest.Tx{{ID: "u:1"}}}
	keys := []int64{5, 6, 12}
	w := newWorld()
	for life, together := range []int{3, 0, 3} {
		ctx, cancel := context.WithCancel(t.Context())
		r := w.rig(t, script, func(s *Spec) {
			copying(keys, func() int { return together })(s)
			counting(0)(s)
		})
		c := &crasher{w: w, sink: r.sink, stop: cancel, at: gapPublished, arrived: 3} // a definition and two rows
		if life == 0 {
			r.p.gaps = c
		}
		if err := r.p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if life == 2 {
			got := kept(t, r.state)
			if d := cmp.Diff([]string{"first 3=1", "first 5=1", "first 6=1", "second 3=1", "second 5=1", "second 6=1"}, got); d != "" {
				t.Errorf("what is kept (-want +got):\n%s", d)
			}
		}
		if r.close(t); life == 0 {
			w = c.left
		}
	}
	if n := len(w.broker.kinds(sink.KindHeartbeat)); n == 0 {
		t.Error("no position was told between the lives: nothing was tried")
	}
}

// A copy of the state from before the end of a snapshot can't be brought up to
// the sink: what steps kept for rows of then can't be made again.
func TestReplayOfACopy(t *testing.T) {
	row := []cdctest.Row{{Schema: cdctest.Table(1, "t"), Key: 5}}
	script := cdctest.Script{Ends: true, Txs: []cdctest.Tx{{ID: "u:1", Rows: row}}}
	w := newWorld()
	life := func(together int) error {
		r := w.rig(t, script, func(s *Spec) {
			copying([]int64{5, 6, 12}, func() int { return together })(s)
			counting(0)(s)
		})
		err := r.p.Run(t.Context())
		r.close(t)
		return err
	}
	if err := life(0); err != nil {
		t.Fatal(err)
	}
	early := w.disk.Crash(1)
	if err := life(3); err != nil {
		t.Fatal(err)
	}
	w.disk = early
	restore(t, w.disk)
	for _, together := range []int{3, 0} { // with 0 nobody reads the table again: rows of the log must not be taken for its rows
		err := life(together)
		if f := faultOf(err, sink.CodeNotReproducible); f == nil || !strings.Contains(f.Error(), "snapshot") {
			t.Errorf("%d rows at a time: %v", together, err)
		}
		if f := fault.Of(err); !strings.Contains(f.Hint, "cdcd checkpoint forget") {
			t.Error("a hint that names no way out:", f.Hint)
		}
	}
	forget(t, w.disk)
	before := len(w.broker.kinds(sink.KindData))
	if err := life(3); err != nil {
		t.Fatal("what the hint says was done:", err)
	}
	if n := len(w.broker.kinds(sink.KindData)); n != before {
		t.Errorf("%d messages, and were %d: the table was read before", n, before)
	}
}

// forget is cdcd checkpoint forget.
func forget(t *testing.T, d *statetest.Disk) {
	t.Helper()
	s := d.Open(t)
	p, err := s.Pipeline("shop")
	if err == nil {
		_, err = p.Forget()
	}
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}
