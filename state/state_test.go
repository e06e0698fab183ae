package state

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openT(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pipelineT(t testing.TB, s *Store, name string) *Pipeline {
	t.Helper()
	p, err := s.Pipeline(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testSchema(id uint32) *sdk.Schema {
	return &sdk.Schema{ID: id, DB: "shop", Table: "orders", Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "note", Type: sdk.TypeString, Nullable: true}}}
}

// testRows returns a batch of three rows, of which the middle one has the note.
func testRows(s *sdk.Schema, note string) *sdk.Batch {
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	var b sdk.Builder
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("uuid:7"), File: []byte("binlog.1"), Time: 1e15})
	for i := range 3 {
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(i))
		b.After().SetSlot(0, uint64(i))
		if i == 1 {
			b.SetBytes(b.After(), 1, []byte(note))
		} else {
			b.After().SetNull(1)
		}
		b.EndRow()
	}
	b.EndTx(100, 0)
	return b.Seal(schemas)
}

func TestCheckpointSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "shop")
	if _, ok, err := p.Load(); ok || err != nil {
		t.Fatalf("a new pipeline has a checkpoint: %v %v", ok, err)
	}
	want := Checkpoint{Position: "uuid:1-9", Exact: true, Token: "42", Number: 9, Time: time.Unix(1, 0).UTC(),
		LogPos: "binlog.1:99", CommitTime: 5, RowsIn: 3, RowsOut: 2, Dropped: 1, Schemas: 1, Cursor: []byte{0, 1}}
	if err := p.Schemas().Put("uuid:1-3", []byte("four")); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(want); err != nil {
		t.Fatal(err)
	}
	steps := Steps{Fingerprint: "f", Digests: []string{"a", "b"}}
	if err := p.RecordSteps(steps); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
	if err := p.Commit(want); !fault.HasCode(err, CodeClosed) {
		t.Fatalf("after Close: %v", err)
	}

	p = pipelineT(t, openT(t, dir, Options{}), "shop")
	got, ok, err := p.Load()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	st, ok, err := p.LoadSteps()
	if d := cmp.Diff(steps, st); d != "" || !ok || err != nil {
		t.Fatal(d, ok, err)
	}
}

func TestConnectorValues(t *testing.T) {
	p := pipelineT(t, openT(t, t.TempDir(), Options{}), "p")
	var c Changes
	c.Put("a", []byte("k"), []byte("1"), Origin{})
	c.Put("a", []byte("gone"), []byte("2"), Origin{})
	c.Delete("a", []byte("gone"), Origin{})
	if err := p.Persist(&c); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := p.Values("a").Get([]byte("k")); string(v) != "1" || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
	for _, k := range []string{"gone", "other"} {
		if _, ok, err := p.Values("a").Get([]byte(k)); ok || err != nil {
			t.Fatal(k, ok, err)
		}
	}
	if _, ok, _ := p.Values("b").Get([]byte("k")); ok {
		t.Fatal("another step sees the value")
	}
}

func TestUnknownFormat(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	b := s.db.NewBatch()
	b.Set(formatKey(), []byte("99"), nil)
	if err := errors.Join(s.commit(b), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	if f := fault.Of(err); f.Code != CodeFormat || f.Class != fault.Environment || f.Hint == "" {
		t.Fatal(err)
	}
	if s, err := Open(dir, Options{}); err == nil {
		s.Close()
		t.Fatal("opened")
	} else if fault.HasCode(err, CodeDirInUse) {
		t.Fatal("the refused directory stayed locked")
	}
}

func TestKeysSortAndDecode(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune{0, 1, 2, 'a', 0xff, '中'}), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		ka, kb := appendText(nil, a), appendText(nil, b)
		if cmpText, cmpKey := bytes.Compare([]byte(a), []byte(b)), bytes.Compare(ka, kb); cmpText != cmpKey {
			t.Fatalf("%q %q: %d, keys %d", a, b, cmpText, cmpKey)
		}
		if a != b && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
			t.Fatalf("%q and %q: one key begins with the other", a, b)
		}
		row := rapid.Uint64().Draw(t, "row")
		prefix := pipelineKey("p", kindDeadLetter)
		step, tx, n, err := cutDeadLetter(deadLetterKey("p", DeadLetterKey{a, b, row})[len(prefix):])
		if step != a || tx != b || n != row || err != nil {
			t.Fatal(step, tx, n, err)
		}
		if k := valueKey("p", a, []byte(b)); !bytes.HasPrefix(k, pipelineKey("p", kindValue)) ||
			bytes.Compare(k, prefixEnd(pipelineKey("p", kindValue))) >= 0 {
			t.Fatal("outside its prefix")
		}
	})
}
