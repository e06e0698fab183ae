package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// covers compares positions that are numbers.
func covers(base sdk.Position) func(sdk.Position) (bool, error) {
	return func(end sdk.Position) (bool, error) {
		a, err := strconv.Atoi(string(base))
		b, err2 := strconv.Atoi(string(end))
		return a >= b, errors.Join(err, err2)
	}
}

func persistT(t testing.TB, p *Pipeline, c *Changes) {
	t.Helper()
	if err := p.Persist(c); err != nil {
		t.Fatal(err)
	}
	c.Reset()
}

// keptT lists what the steps a and b keep, and checks their accounts.
func keptT(t testing.TB, p *Pipeline) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, step := range []string{"a", "b"} {
		v, size := p.Values(step), int64(0)
		err := v.Scan(nil, nil, func(key, value []byte) bool {
			out[step+"/"+string(key)] = string(value)
			size += int64(len(key) + len(value))
			return true
		})
		if err != nil || v.Bytes() != size {
			t.Fatalf("step %s keeps %d bytes, accounted %d: %v", step, size, v.Bytes(), err)
		}
	}
	return out
}

// ledger is what RollBack must give: each batch's changes, and all that was
// there before each.
type ledger struct {
	changes []ledgerChange
	ends    []int // positions at which batches ended
	// sent has for each transaction how many messages there are before it and
	// with it.
	sent map[int][2]uint64
	// row is where reading goes on in the next transaction: those before are
	// delivered, and no step sees them again.
	row int
}

type ledgerChange struct {
	step, key, value string
	gone             bool
	at               Origin
	tx               int
}

func (l *ledger) state(keep func(ledgerChange) bool) map[string]string {
	out := map[string]string{}
	for _, c := range l.changes {
		switch {
		case !keep(c):
		case c.gone:
			delete(out, c.step+"/"+c.key)
		default:
			out[c.step+"/"+c.key] = c.value
		}
	}
	return out
}

// Against a ledger of all changes: whatever is written, lost in crashes and
// taken back, at any cut, the values are those of the changes before it.
func TestRollBackAgainstALedger(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewCrashableMem()
		open := func() (*Store, *Pipeline) {
			s, err := Open("db", Options{FS: fs})
			if err != nil {
				rt.Fatal(err)
			}
			return s, pipelineT(t, s, "p")
		}
		s, p := open()
		defer func() { s.Close() }()
		l := ledger{sent: map[int][2]uint64{}}
		pos, messages := 0, uint64(0) // positions count transactions
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"batch", "batch", "batch", "place", "exact", "crash"}).Draw(rt, "do") {
			case "batch":
				var c Changes
				l.batch(rt, &c, &pos, &messages)
				c.End(sdk.Position(strconv.Itoa(pos)), true, true)
				persistT(t, p, &c)
			case "place":
				n := l.stand(rt, pos)
				cut := Cut{Tx: fmt.Sprint("tx", n), Row: uint64(rapid.IntRange(0, 3).Draw(rt, "row")),
					Complete: rapid.Bool().Draw(rt, "complete"), Messages: l.messagesAt(n, messages)}
				l.cut(func(c ledgerChange) bool { return cut.counts(c.at) })
				rollBackT(t, p, cut)
				l.row, messages = 0, min(messages, cut.Messages)
				switch { // where reading goes on; of what the steps have not seen nothing is taken back
				case n > pos:
				case cut.Complete:
					pos = n + 1
				default:
					pos, l.row = n, int(cut.Row)
				}
				l.back(pos, messages)
			case "exact":
				base := l.exact(rt)
				l.cut(func(c ledgerChange) bool { return c.tx < base })
				rollBackT(t, p, Cut{Base: sdk.Position(strconv.Itoa(base))})
				pos, l.row = min(pos, base), 0
				l.back(pos, messages)
			case "crash":
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				fs = clone
				s, p = open()
			}
			want := l.state(func(ledgerChange) bool { return true })
			if d := cmp.Diff(want, keptT(t, p)); d != "" {
				rt.Fatalf("(-ledger +kept):\n%s", d)
			}
		}
	})
}

func rollBackT(t testing.TB, p *Pipeline, cut Cut) {
	t.Helper()
	if _, err := p.RollBack(cut, covers(cut.Base)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.RollBack(cut, covers(cut.Base)); n != 0 || err != nil {
		t.Fatalf("taking back again took back %d: %v", n, err)
	}
}

// batch draws whole transactions with a few rows, each with a message or none.
func (l *ledger) batch(t *rapid.T, c *Changes, pos *int, messages *uint64) {
	for range rapid.IntRange(1, 3).Draw(t, "transactions") {
		before := *messages
		if sent, again := l.sent[*pos]; again { // the rest of one that was cut
			before = sent[0]
		}
		for row := range rapid.IntRange(0, 3).Draw(t, "rows") {
			for range rapid.IntRange(0, 2).Draw(t, "writes") {
				w := ledgerChange{step: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "step"),
					key:   rapid.SampledFrom([]string{"x", "y", "z", "\x00", "x\x00"}).Draw(t, "key"),
					value: rapid.SampledFrom([]string{"", "1", "22", "333"}).Draw(t, "value"),
					gone:  rapid.IntRange(0, 4).Draw(t, "gone") == 0, tx: *pos,
					at: Origin{Tx: fmt.Sprint("tx", *pos), Row: uint64(l.row + row), Messages: *messages}}
				l.changes = append(l.changes, w)
				if w.gone {
					c.Delete(w.step, []byte(w.key), w.at)
				} else {
					c.Put(w.step, []byte(w.key), []byte(w.value), w.at)
				}
			}
			*messages += uint64(rapid.IntRange(0, 2).Draw(t, "messages"))
		}
		l.sent[*pos] = [2]uint64{before, *messages}
		l.row = 0
		*pos++
	}
	l.ends = append(l.ends, *pos)
}

// stand draws the transaction at which a sink stands: one of which it can have a
// message, or one that is new here.
func (l *ledger) stand(t *rapid.T, pos int) int {
	var at []int
	for tx := range pos {
		if sent := l.sent[tx]; sent[0] < sent[1] {
			at = append(at, tx)
		}
	}
	return rapid.SampledFrom(append(at, pos, pos+1)).Draw(t, "tx")
}

// messagesAt returns what a sink that stands at the transaction has: more than
// all before that, since it has a message of it.
func (l *ledger) messagesAt(tx int, all uint64) uint64 {
	least := uint64(0)
	for _, c := range l.changes {
		if c.tx < tx {
			least = max(least, c.at.Messages+1)
		}
	}
	if sent, known := l.sent[tx]; known && sent[0] < sent[1] {
		return max(least, sent[1])
	}
	return max(least, all)
}

func (l *ledger) cut(keep func(ledgerChange) bool) {
	for k, c := range l.changes {
		if !keep(c) {
			l.changes = l.changes[:k]
			break
		}
	}
}

// back forgets what is behind the position: the log is read again from there.
func (l *ledger) back(pos int, messages uint64) {
	for len(l.ends) > 0 && l.ends[len(l.ends)-1] > pos {
		l.ends = l.ends[:len(l.ends)-1]
	}
	for tx, sent := range l.sent {
		if tx > pos || sent[0] >= messages {
			delete(l.sent, tx)
		} else {
			l.sent[tx] = [2]uint64{sent[0], min(sent[1], messages)}
		}
	}
}

// exact draws a position at which a batch ended, or 0.
func (l *ledger) exact(t *rapid.T) int {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[rapid.IntRange(0, len(l.ends)-1).Draw(t, "end")]
}

func at(tx string, row, messages uint64) Origin { return Origin{Tx: tx, Row: row, Messages: messages} }

// Values and what takes them back are there when the store is opened again.
func TestValuesSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "p")
	var c Changes
	c.Put("a", []byte("k"), []byte("1"), at("t1", 0, 0))
	c.Put("a", []byte("k"), []byte("2"), at("t1", 1, 1))
	c.Put("b", []byte("k"), bytes.Repeat([]byte("v"), 64<<10), at("t1", 1, 1))
	c.End("5", false, false)
	persistT(t, p, &c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p = pipelineT(t, openT(t, dir, Options{}), "p")
	if n, open := p.Changed(); n != 1 || !open {
		t.Errorf("%d batches, open %t", n, open)
	}
	if v := p.Values("b"); v.Bytes() != 1+64<<10 {
		t.Errorf("%d bytes", v.Bytes())
	}
	rollBackT(t, p, Cut{Tx: "t1", Row: 1, Messages: 1})
	if d := cmp.Diff(map[string]string{"a/k": "1"}, keptT(t, p)); d != "" {
		t.Error(d)
	}
	if n, open := p.Changed(); n != 1 || !open { // what is left of the batch says that it is not all
		t.Errorf("%d batches, open %t", n, open)
	}
	rollBackT(t, p, Cut{Base: "9"})
	if len(keptT(t, p)) != 0 {
		t.Error("a part of a transaction counts at an exact position")
	}
}

func TestScan(t *testing.T) {
	p := pipelineT(t, openT(t, t.TempDir(), Options{}), "p")
	want := map[string]string{}
	var c Changes
	for _, k := range []string{"a", "a\x00", "a\xff", "ab", "b", "\xff\xff"} {
		want["a/"+k] = "v" + k
		c.Put("a", []byte(k), []byte("v"+k), Origin{})
	}
	c.Put("ab", []byte("other"), nil, Origin{})
	persistT(t, p, &c)
	if d := cmp.Diff(want, keptT(t, p)); d != "" {
		t.Error(d)
	}
	for _, tt := range []struct{ prefix, after, want string }{
		{"a", "", "a a\x00 ab a\xff"}, {"a", "a", "a\x00 ab a\xff"}, {"a", "a\xff", ""}, {"a", "Z", "a a\x00 ab a\xff"}, {"a", "c", ""},
		{"\xff", "", "\xff\xff"}, {"", "ab", "a\xff b \xff\xff"}, {"zz", "", ""},
	} {
		var got []string
		err := p.Values("a").Scan([]byte(tt.prefix), []byte(tt.after), func(k, _ []byte) bool {
			got = append(got, string(k))
			return true
		})
		if text := strings.Join(got, " "); text != tt.want || err != nil {
			t.Errorf("scan %q behind %q: %q, want %q; %v", tt.prefix, tt.after, text, tt.want, err)
		}
	}
	n := 0
	_ = p.Values("a").Scan(nil, nil, func(_, _ []byte) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("%d entries after asking for 2", n)
	}
}

// Old history goes, but not what is young or unconfirmed, and what is gone is
// missed.
func TestHistoryIsTrimmed(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := pipelineT(t, openT(t, t.TempDir(), Options{Now: func() time.Time { return now }}), "p")
	for n := range 10 {
		var c Changes
		c.Put("a", []byte("k"), []byte(strconv.Itoa(n)), at(fmt.Sprint("t", n), 0, uint64(n)))
		c.End(sdk.Position(strconv.Itoa(n+1)), true, false)
		persistT(t, p, &c)
		now = now.Add(time.Minute)
	}
	records := func() (list []uint64) {
		if err := p.eachUndo(func(n uint64, _ *record) error { list = append(list, n); return nil }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	commit := func(confirmed uint64) {
		if err := p.Commit(Checkpoint{Changes: confirmed}); err != nil {
			t.Fatal(err)
		}
	}
	commit(9) // the first is ten minutes old, and stays as what is known of the past
	if n := len(records()); n != 10 {
		t.Errorf("%d records", n)
	}
	now = now.Add(3 * time.Minute)
	commit(2) // four are old enough, two are confirmed
	if got := records(); got[len(got)-1] != 2 {
		t.Errorf("%v", got)
	}
	now = now.Add(time.Minute)
	commit(9)
	if got := records(); got[len(got)-1] != 5 || len(got) != 6 {
		t.Errorf("%v", got)
	}
	_, err := p.RollBack(Cut{Base: "4"}, covers("4"))
	if f := fault.Of(err); f.Code != CodeHistoryGone || f.Class != fault.Environment || f.Hint == "" {
		t.Fatal(err)
	}
	_, err = p.RollBack(Cut{Tx: "t4", Messages: 4}, nil)
	if !fault.HasCode(err, CodeHistoryGone) {
		t.Fatal(err)
	}
	if v := keptT(t, p)["a/k"]; v != "9" {
		t.Errorf("a refused roll-back changed the value to %s", v)
	}
	rollBackT(t, p, Cut{Base: "5"})
	if v := keptT(t, p)["a/k"]; v != "4" {
		t.Errorf("value %s", v)
	}
}

// The history's size is bounded, whatever its age.
func TestHistoryIsBounded(t *testing.T) {
	dir, o := t.TempDir(), Options{UndoBytesMax: 200_000}
	s := openT(t, dir, o)
	p := pipelineT(t, s, "p")
	for n := range 100 {
		var c Changes
		c.Put("a", []byte("k"), make([]byte, 10_000), at("t", uint64(n), uint64(n)))
		c.End("1", true, false)
		persistT(t, p, &c)
		if err := p.Commit(Checkpoint{Changes: uint64(n)}); err != nil {
			t.Fatal(err)
		}
		if p.undo > 220_000 {
			t.Fatalf("%d bytes behind %d batches", p.undo, n)
		}
	}
	undo := p.undo
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p = pipelineT(t, openT(t, dir, o), "p"); p.undo != undo || !p.trimmed {
		t.Errorf("%d bytes, %d before; trimmed %t", p.undo, undo, p.trimmed)
	}
}

// A pipeline knows its claims, also those that it only meant to make, and no more
// than some.
func TestClaimsAreRemembered(t *testing.T) {
	p := pipelineT(t, openT(t, t.TempDir(), Options{}), "p")
	if own, any, err := p.Wrote(5); own || any || err != nil {
		t.Error(own, any, err)
	}
	for n := range uint64(epochsMax + 3) {
		if err := p.Claiming(1000+n, false); err != nil {
			t.Fatal(err)
		}
	}
	for epoch, want := range map[uint64]bool{1000: false, 1002: false, 1003: true, 1000 + epochsMax + 2: true, 5: false} {
		if own, any, err := p.Wrote(epoch); own != want || !any || err != nil {
			t.Errorf("epoch %d: %t, %t, %v", epoch, own, any, err)
		}
	}
	if numbers, _, err := p.epochs(); len(numbers) != epochsMax || err != nil {
		t.Errorf("%d numbers: %v", len(numbers), err)
	}
	for _, n := range []uint64{3000, 3001} { // an earlier copy was restored before the first
		if err := p.Claiming(n, n == 3000); err != nil {
			t.Fatal(err)
		}
	}
	for epoch, want := range map[uint64]bool{5: true, 2999: true, 3000: true, 3001: true, 3002: false} {
		if own, _, err := p.Wrote(epoch); own != want || err != nil {
			t.Errorf("epoch %d behind a copy: %t, %v", epoch, own, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := &record{time: time.Unix(1, 0), exact: true, end: "9", entries: []entry{
		{step: "a", key: []byte("k"), at: at("t", 3, 4), had: true, prior: []byte("p"), grown: -5}, {step: "a", key: []byte("k")}}}
	f.Add(r.encode())
	f.Add([]byte{valueVersion, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := decodeRecord(p)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.encode())
		if err != nil || len(again.entries) != len(r.entries) || again.exact != r.exact || again.end != r.end {
			t.Fatal("does not survive encoding", err)
		}
		for i := range r.entries {
			a, b := r.entries[i], again.entries[i]
			if a.step != b.step || !bytes.Equal(a.key, b.key) || a.at != b.at || a.had != b.had || !bytes.Equal(a.prior, b.prior) || a.grown != b.grown {
				t.Fatalf("%+v became %+v", a, b)
			}
		}
	})
}

func BenchmarkPersist(b *testing.B) {
	for _, rows := range []int{1, 512} {
		b.Run(strconv.Itoa(rows), func(b *testing.B) {
			p := pipelineT(b, openT(b, b.TempDir(), Options{}), "p")
			keys := maps.Collect(func(yield func(int, []byte) bool) {
				for n := range rows {
					if !yield(n, fmt.Appendf(nil, "key %d", n)) {
						return
					}
				}
			})
			var c Changes
			b.ReportAllocs()
			for b.Loop() {
				for n := range rows {
					c.Put("a", keys[n], keys[n][:5], Origin{Tx: "tx", Row: uint64(n), Messages: uint64(n)})
				}
				c.End("1", true, false)
				persistT(b, p, &c)
			}
		})
	}
}
