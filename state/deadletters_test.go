package state

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// refuseT makes dead letters of a step: one for each number, in transactions of
// that number.
func refuseT(t testing.TB, p *Pipeline, step string, numbers ...int) error {
	t.Helper()
	var c Changes
	for _, n := range numbers {
		c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: step}, Position: "p", Reason: fmt.Sprint("number ", n), Time: time.UnixMicro(int64(n)).UTC()},
			txRow(testSchema(1), fmt.Sprintf("uuid:%04d", n)))
	}
	return p.Persist(&c)
}

// txRow returns a row of a transaction of its own.
func txRow(s *sdk.Schema, tx string) sdk.Row {
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	var b sdk.Builder
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte(tx), File: []byte("binlog.1"), PosStart: 4, Time: 1e15})
	b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 3)
	b.After().SetSlot(0, 5)
	b.After().SetNull(1)
	b.EndRow()
	b.EndTx(100, 0)
	return b.Seal(schemas).Row(0)
}

func keysBehind(t testing.TB, p *Pipeline, after DeadLetterKey) (keys []string) {
	t.Helper()
	err := p.DeadLettersBehind(after, func(d DeadLetter) error {
		keys = append(keys, d.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestDeadLettersAreInOrderAndGoOn(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p, other := pipelineT(t, s, "shop"), pipelineT(t, s, "shop2")
	if err := errors.Join(refuseT(t, p, "b", 2), refuseT(t, p, "a", 3, 1), refuseT(t, other, "a", 9)); err != nil {
		t.Fatal(err)
	}
	want := []string{"a/uuid:0001#3", "a/uuid:0003#3", "b/uuid:0002#3"}
	if d := cmp.Diff(want, keysBehind(t, p, DeadLetterKey{})); d != "" {
		t.Fatal(d)
	}
	for i := range want {
		k, err := ParseDeadLetterKey(want[i])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(append([]string(nil), want[i+1:]...), keysBehind(t, p, k)); d != "" {
			t.Errorf("behind %s: %s", k, d)
		}
		k.Row-- // one that is not there
		if d := cmp.Diff(want[i:], keysBehind(t, p, k)); d != "" {
			t.Errorf("behind %s: %s", k, d)
		}
	}
	d, ok, err := p.DeadLetter(DeadLetterKey{"b", "uuid:0002", 3})
	if err != nil || !ok || d.Reason != "number 2" || d.Bytes == 0 || d.Batch.Row(0).After().Int(0) != 5 {
		t.Fatalf("%+v %v %v", d, ok, err)
	}
	if _, ok, err := p.DeadLetter(DeadLetterKey{"b", "uuid:0002", 4}); ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Looking at a stopped daemon's changes nothing, and needs nobody to be there.
	s, err = OpenReadOnly(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p = pipelineT(t, s, "shop")
	if got := keysBehind(t, p, DeadLetterKey{}); len(got) != 3 || p.DeadLetters() != 3 {
		t.Fatal(got, p.DeadLetters())
	}
	if _, err := Open(dir, Options{}); !fault.HasCode(err, CodeDirInUse) {
		t.Fatal(err)
	}
	if s, err := OpenReadOnly(t.TempDir(), Options{}); s != nil || err != nil {
		t.Fatal("a directory without a store:", s, err)
	}
}

func TestDeadLettersArePurged(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "p")
	var numbers []int
	var keys []DeadLetterKey
	for n := range 2*deleteStep + 7 {
		numbers = append(numbers, n)
		keys = append(keys, DeadLetterKey{"a", fmt.Sprintf("uuid:%04d", n), 3})
	}
	if err := errors.Join(refuseT(t, p, "a", numbers...), refuseT(t, p, "b", 1)); err != nil {
		t.Fatal(err)
	}
	n, err := p.DeleteDeadLetters(append(keys, keys[0], DeadLetterKey{"c", "x", 1}))
	if err != nil || n != len(keys) || p.DeadLetters() != 1 {
		t.Fatal(n, err, p.DeadLetters())
	}
	if n, err := p.DeleteDeadLetters(keys[:1]); n != 0 || err != nil {
		t.Fatal("a second time:", n, err)
	}
	s.Close()
	p = pipelineT(t, openT(t, dir, Options{}), "p")
	if got := keysBehind(t, p, DeadLetterKey{}); len(got) != 1 || p.DeadLetters() != 1 {
		t.Fatal(got)
	}
}

// A step's own limit: what exceeds it is not kept, nor is anything else of that
// write; a row that is on record is no further one; purging makes room.
func TestStepsDeadLettersHaveALimit(t *testing.T) {
	p := pipelineT(t, openT(t, t.TempDir(), Options{}), "shop")
	p.LimitDeadLetters(map[string]int{"a": 2})
	if err := errors.Join(refuseT(t, p, "a", 1, 2), refuseT(t, p, "b", 1, 2, 3), refuseT(t, p, "a", 2, 1, 1)); err != nil {
		t.Fatal(err)
	}
	err := refuseT(t, p, "a", 1, 3)
	f := fault.Of(err)
	if f.Code != CodeDeadLettersMany || f.Class != fault.Fatal || f.Path != "shop/a" || f.Hint == "" {
		t.Fatal(err)
	}
	if got := keysBehind(t, p, DeadLetterKey{}); len(got) != 5 || p.DeadLetters() != 5 {
		t.Fatal(got)
	}
	if _, err := p.DeleteDeadLetters([]DeadLetterKey{{"a", "uuid:0001", 3}}); err != nil {
		t.Fatal(err)
	}
	if err := refuseT(t, p, "a", 3); err != nil {
		t.Fatal("after a purge:", err)
	}
	if err := refuseT(t, p, "a", 4); !fault.HasCode(err, CodeDeadLettersMany) {
		t.Fatal(err)
	}
}

func TestDeadLetterKeysAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := DeadLetterKey{rapid.StringMatching(`[a-z][a-z0-9_-]{0,5}`).Draw(t, "step"),
			rapid.StringN(1, 8, -1).Draw(t, "tx"), rapid.Uint64().Draw(t, "row")}
		got, err := ParseDeadLetterKey(k.String())
		if err != nil || got != k {
			t.Fatal(got, err)
		}
	})
	for _, s := range []string{"", "a", "a/", "a/#1", "/x#1", "a/x#", "a/x#-1", "a/x#1x", "a/x#18446744073709551616"} {
		if k, err := ParseDeadLetterKey(s); err == nil {
			t.Errorf("%q is %+v", s, k)
		}
	}
}

func TestDeadLetterKeepsTheRow(t *testing.T) {
	for _, note := range []string{"", "small", string(bytes.Repeat([]byte("x"), sdk.LargeBytesMin+5))} {
		s := openT(t, t.TempDir(), Options{})
		p := pipelineT(t, s, "shop")
		row := testRows(testSchema(3), note).Row(1)
		for range 2 { // twice is once
			var c Changes
			c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: "mask"}, Position: "uuid:1-6", Reason: "bad", Time: time.UnixMicro(7).UTC()}, row)
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
		if n, err := p.DeleteDeadLetters([]DeadLetterKey{{"mask", "uuid:7", 1}, {"mask", "uuid:7", 2}}); err != nil || n != 1 || p.DeadLetters() != 0 {
			t.Fatal(n, err, p.DeadLetters())
		}
	}
}

func TestDeadLettersHaveALimit(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{DeadLettersMax: 2})
	refuse := func(p *Pipeline, i int) error {
		var c Changes
		c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: "s"}}, testRows(testSchema(1), "").Row(i))
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

func FuzzDecodeDeadLetter(f *testing.F) {
	row := encodeRow(oneRow(testRows(testSchema(1), "x").Row(1)))
	whole := DeadLetter{Reason: "r", keys: []uint64{1, 2}, Table: "shop.orders", LogPos: "a:1", body: body{1, len(row), sumBody(0, row)}}
	f.Add(encodeLetter(&whole), row)
	f.Add(append([]byte{valueVersion, 0, 0, 0}, row...), []byte{})
	f.Add(append([]byte{inlineVersion, 0, 0, 0, 1, 1, 0, 0}, row...), []byte{})
	f.Fuzz(func(t *testing.T, p, row []byte) {
		d, err := cutLetter(p)
		if err != nil {
			return
		}
		if d.row == nil {
			again, err := cutLetter(encodeLetter(&d))
			if err != nil || !cmp.Equal(again, d, cmp.AllowUnexported(DeadLetter{}, body{}), cmpopts.IgnoreFields(DeadLetter{}, "Bytes")) {
				t.Fatalf("%+v is %+v, %v", d, again, err)
			}
			d.row = row
		}
		if err := d.open(d.row); err == nil && d.Batch.Rows() != 1 {
			t.Fatal("no row")
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
