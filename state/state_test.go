package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
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

// testRow returns a batch of three rows, of which the middle one has the note.
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

func TestSchemasKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 { // over reopenings too
		s := openT(t, dir, Options{})
		h := pipelineT(t, s, "p").Schemas()
		for i := range 5 {
			n := run*5 + i
			if err := h.Put(sdk.Position(fmt.Sprint(n)), fmt.Append(nil, "record ", n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	p := pipelineT(t, openT(t, dir, Options{}), "p")
	err := p.Schemas().Each(func(behind sdk.Position, record []byte) error {
		if string(behind) != fmt.Sprint(n) || string(record) != fmt.Sprint("record ", n) {
			t.Errorf("record %d: %s %s", n, behind, record)
		}
		n++
		return nil
	})
	if err != nil || n != 15 {
		t.Fatal(n, err)
	}
}

func TestDeadLetterKeepsTheRow(t *testing.T) {
	for _, note := range []string{"", "small", string(bytes.Repeat([]byte("x"), sdk.LargeBytesMin+5))} {
		s := openT(t, t.TempDir(), Options{})
		p := pipelineT(t, s, "shop")
		row := testRows(testSchema(3), note).Row(1)
		for range 2 { // twice is once
			var c Changes
			c.Refuse(DeadLetter{Step: "mask", Position: "uuid:1-6", Reason: "bad", Time: time.UnixMicro(7).UTC()}, row)
			if err := p.Persist(&c); err != nil {
				t.Fatal(err)
			}
		}
		if p.DeadLetters() != 1 {
			t.Fatalf("%d dead letters", p.DeadLetters())
		}
		n := 0
		err := p.EachDeadLetter(func(d DeadLetter) error {
			n++
			r := d.Batch.Row(0)
			if d.Step != "mask" || d.Tx != "uuid:7" || d.Row != 1 || d.Reason != "bad" || d.Position != "uuid:1-6" ||
				r.Ordinal() != 1 || r.After().Int(0) != 1 || string(r.After().Bytes(1)) != note ||
				string(r.Tx().ID()) != "uuid:7" || r.Schema().FullName() != "shop.orders" {
				t.Errorf("got %+v", d)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if err := p.DeleteDeadLetter("mask", "uuid:7", 1); err != nil || p.DeadLetters() != 0 {
			t.Fatal(err, p.DeadLetters())
		}
	}
}

func TestDeadLettersHaveALimit(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{DeadLettersMax: 2})
	refuse := func(p *Pipeline, i int) error {
		var c Changes
		c.Refuse(DeadLetter{Step: "s"}, testRows(testSchema(1), "").Row(i))
		return p.Persist(&c)
	}
	p := pipelineT(t, s, "p")
	if err := errors.Join(refuse(p, 0), refuse(p, 1), refuse(p, 1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	p = pipelineT(t, openT(t, dir, Options{DeadLettersMax: 2}), "p") // counted from disk
	err := refuse(p, 2)
	if !fault.HasCode(err, CodeDeadLettersFull) || fault.Of(err).Hint == "" {
		t.Fatal(err)
	}
	if err := refuse(p, 1); err != nil {
		t.Fatalf("a row that is on record already: %v", err)
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

func TestDirInUse(t *testing.T) {
	dir := t.TempDir()
	openT(t, dir, Options{})
	_, err := Open(dir, Options{})
	if f := fault.Of(err); f.Code != CodeDirInUse || f.Class != fault.Environment || f.Hint == "" || f.Path != dir {
		t.Fatal(err)
	}
}

func TestDirUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "dir"), Options{})
	if f := fault.Of(err); f.Code != CodeDirUnwritable || f.Class != fault.Environment || f.Hint == "" {
		t.Fatal(err)
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

// A crash keeps every commit that returned, whatever part of the unsynced rest
// reached the disk.
func TestCrashKeepsWhatCommitReturned(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewCrashableMem()
	acked := uint64(0)
	for range 60 {
		s, err := Open("db", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		p := pipelineT(t, s, "p")
		c, _, err := p.Load()
		if err != nil || c.Number < acked {
			t.Fatalf("checkpoint %d after %d was confirmed: %v", c.Number, acked, err)
		}
		var clone *vfs.MemFS
		for i := range 1 + rng.IntN(40) {
			c.Number++
			if err := p.Commit(c); err != nil {
				t.Fatal(err)
			}
			acked = c.Number
			if i%7 == 3 {
				clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				break
			}
		}
		if clone == nil {
			clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = clone
	}
	if acked < 60 {
		t.Fatalf("only %d commits", acked)
	}
}

// A disk that fails never ends the process and never confirms: the first
// failure is returned by this and every later call.
func TestDiskFailures(t *testing.T) {
	hits := 0
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo} {
			mem := vfs.NewCrashableMem()
			var on, hit atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && op.Kind == kind {
					hit.Store(true)
					return cause
				}
				return nil
			}))
			s := openT(t, "db", Options{FS: fs})
			p := pipelineT(t, s, "p")
			if err := p.Commit(Checkpoint{Number: 1}); err != nil {
				t.Fatal(err)
			}
			on.Store(true)
			err := p.Commit(Checkpoint{Number: 2})
			if !hit.Load() {
				continue // this file system does not use the call for the log
			}
			hits++
			f := fault.Of(err)
			if f.Code != CodeWriteFailed || f.Class != fault.Environment || f.Hint == "" || !errors.Is(err, cause) {
				t.Fatalf("%v %v: %v", cause, kind, err)
			}
			on.Store(false)
			select {
			case <-s.Failed():
			default:
				t.Fatal("Failed is not closed")
			}
			if err2 := p.Commit(Checkpoint{Number: 3}); !errors.Is(err2, err) {
				t.Fatalf("a commit after the failure: %v", err2)
			}
			if _, _, err := p.Load(); err == nil {
				t.Fatal("a read after the failure succeeded")
			}
			if err := s.Close(); !fault.HasCode(err, CodeWriteFailed) {
				t.Fatalf("Close: %v", err)
			}
			s2 := openT(t, "db", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
			c, ok, err := pipelineT(t, s2, "p").Load()
			if err != nil || !ok || c.Number < 1 || c.Number > 2 {
				t.Fatalf("after the crash: %+v %v %v", c, ok, err)
			}
		}
	}
	if hits < 4 {
		t.Fatalf("only %d failures were injected", hits)
	}
}

func TestDamageIsReported(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "p")
	for i := range 200 {
		var c Changes
		c.Put("s", fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte{byte(i)}, 100), Origin{})
		if err := p.Persist(&c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no table files")
	}
	for _, name := range tables {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(data) / 4 { // the first quarter is data blocks
			data[i] ^= 0x40
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, Options{})
	for i := 0; err == nil && i < 200; i++ {
		_, _, err = pipelineOrErr(s, "p", fmt.Sprintf("%03d", i))
	}
	if f := fault.Of(err); f.Code != CodeCorrupt || f.Hint == "" {
		t.Fatal(err)
	}
	if s != nil {
		s.Close()
	}
}

func pipelineOrErr(s *Store, name, key string) ([]byte, bool, error) {
	p, err := s.Pipeline(name)
	if err != nil {
		return nil, false, err
	}
	return p.Values("s").Get([]byte(key))
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
		step, tx, n, err := cutDeadLetter(deadLetterKey("p", a, b, row)[len(prefix):])
		if step != a || tx != b || n != row || err != nil {
			t.Fatal(step, tx, n, err)
		}
		if k := valueKey("p", a, []byte(b)); !bytes.HasPrefix(k, pipelineKey("p", kindValue)) ||
			bytes.Compare(k, prefixEnd(pipelineKey("p", kindValue))) >= 0 {
			t.Fatal("outside its prefix")
		}
	})
}

func FuzzDecodeDeadLetter(f *testing.F) {
	f.Add(encodeDeadLetter(&DeadLetter{Reason: "r"}, oneRow(testRows(testSchema(1), "x").Row(1))))
	f.Add([]byte{valueVersion, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := decodeDeadLetter(p)
		if err == nil && d.Batch.Rows() != 1 {
			t.Fatal("no row")
		}
	})
}

func FuzzDecodeSchema(f *testing.F) {
	f.Add(encodeSchema("pos", []byte("record")))
	f.Fuzz(func(t *testing.T, p []byte) {
		behind, record, err := decodeSchema(p)
		if err != nil {
			return
		}
		b2, r2, err := decodeSchema(encodeSchema(behind, record))
		if err != nil || b2 != behind || !bytes.Equal(r2, record) {
			t.Fatal("does not survive encoding", err)
		}
	})
}

func oneRow(r sdk.Row) *sdk.Batch {
	var b sdk.Builder
	b.Reset()
	b.CopyTx(r.Tx())
	b.CopyRow(r)
	schemas := make([]*sdk.Schema, r.SchemaID()+1)
	schemas[r.SchemaID()] = r.Schema()
	return b.Seal(schemas)
}
