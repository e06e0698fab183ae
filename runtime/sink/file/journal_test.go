package file

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

func drawRecord(t *rapid.T) *record {
	r := &record{Number: rapid.Uint64Min(1).Draw(t, "number"), Pipeline: "p", Created: rapid.Int64().Draw(t, "created"), Epoch: rapid.Uint64().Draw(t, "epoch"),
		Group: rapid.Uint64().Draw(t, "group"), Messages: rapid.Uint64().Draw(t, "messages"), Base: rapid.String().Draw(t, "base"),
		Complete: rapid.Bool().Draw(t, "complete"), Fingerprint: "f", File: rapid.Uint64Min(1).Draw(t, "file"), First: rapid.Uint64().Draw(t, "first"),
		Opened: rapid.Int64().Draw(t, "opened"), Length: rapid.Int64Min(0).Draw(t, "length")}
	r.Tail = tail{From: rapid.Int64Range(0, r.Length).Draw(t, "from"), Sum: rapid.Uint32().Draw(t, "sum")}
	if rapid.Bool().Draw(t, "place") {
		r.setAt(sink.Place{Tx: rapid.StringMatching(`[!-~]{1,60}`).Draw(t, "tx"), Row: 3, Part: 1, Parts: 2, N: 7})
	}
	if rapid.Bool().Draw(t, "closing") {
		r.Closing = &closing{Name: "changes-1", Length: 5, Tail: tail{From: 1, Sum: 2}}
	}
	return r
}

// A record comes back as it was; of one that was cut off or changed nothing does.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		text, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeSlot(append(bytes.Clone(text), make([]byte, 100)...))
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%v\n%s", err, cmp.Diff(want, got))
		}
		if r, err := decodeSlot(text[:rapid.IntRange(0, len(text)-1).Draw(t, "cut")]); err == nil {
			t.Fatalf("a part is read as %+v", r)
		}
		text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if r, err := decodeSlot(text); err == nil && !cmp.Equal(r, want) { // the case of a hexadecimal digit is no change
			t.Fatalf("a flipped bit is read as %+v", r)
		}
	})
}

func TestRecordRefuses(t *testing.T) {
	for name, r := range map[string]*record{"bytes that are no text": {Base: "\xff"}, "a huge position": {Base: string(make([]byte, slotBytes))}} {
		if _, err := r.encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// The newer record counts; a torn one leaves the one before.
func TestJournalSlots(t *testing.T) {
	d := newMemDisk()
	h, err := d.Open("/d/j", 0x40)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := readJournal(h); r != nil || err != nil {
		t.Fatalf("an empty journal: %+v, %v", r, err)
	}
	for n := uint64(1); n <= 5; n++ {
		if err := writeJournal(h, &record{Number: n, File: 1, Group: n}); err != nil {
			t.Fatal(err)
		}
		if r, err := readJournal(h); err != nil || r.Group != n {
			t.Fatalf("%+v, %v; want %d", r, err, n)
		}
	}
	if _, err := h.WriteAt([]byte("torn"), slotBytes+10); err != nil { // of number 5
		t.Fatal(err)
	}
	if r, err := readJournal(h); err != nil || r.Group != 4 {
		t.Errorf("%+v, %v; want 4", r, err)
	}
	if _, err := h.WriteAt([]byte("torn"), 10); err != nil {
		t.Fatal(err)
	}
	if r, err := readJournal(h); err == nil || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTokens(t *testing.T) {
	r := &record{Created: 5, Epoch: 6, Group: 7}
	if got, err := parseToken(r.token()); err != nil || got != (token{5, 6, 7}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []string{"", "file:", "file:1:2", "file:1:2:x", "file:1:2:3:4", "file:1:2:3 ", "1:2:3:4", "file:1:-2:3"} {
		if got, err := parseToken(s); err == nil {
			t.Errorf("%q is read as %+v", s, got)
		}
	}
}

func FuzzDecodeSlot(f *testing.F) {
	text, err := (&record{Number: 1, File: 1, Place: "a#1.0/1#0", Closing: &closing{Name: "x"}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("cdcd-file-journal-1 00000002 00000000\n{}"))
	f.Fuzz(func(t *testing.T, slot []byte) {
		r, err := decodeSlot(slot)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeSlot(again); err != nil || !cmp.Equal(got, r) {
			t.Errorf("%v\n%s", err, cmp.Diff(r, got))
		}
	})
}

// Writing rows allocates nothing but the
// group's place and token.
func TestWriteAllocates(t *testing.T) {
	d := newMemDisk()
	s := open(Config{Path: memPath, Sync: Sync{Bytes: 8 << 20}}, sink.Env{Pipeline: "p"}, d)
	defer s.Close(t.Context())
	if _, err := s.Claim(t.Context(), sink.Hint{Position: "p0"}, nil); err != nil {
		t.Fatal(err)
	}
	g := &sink.Group{Base: "p1"}
	for i := range 512 {
		g.Messages = append(g.Messages, sink.Message{Body: make([]byte, 100), Place: sink.Place{Tx: "a:1", Row: uint64(i), Parts: 1}})
	}
	s.t.f = discard{s.t.f}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.t.Write(g); err != nil {
			t.Error(err)
		}
	}); n > 10 {
		t.Errorf("%.0f allocations for a group of 512 rows", n)
	}
}

// discard is a file that keeps nothing.
type discard struct{ handle }

func (discard) Write(b []byte) (int, error) { return len(b), nil }
