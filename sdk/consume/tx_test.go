package consume

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever the transactions, the filter and the bound: every row comes once, in
// order, in its transaction, and a service that begins anew at any mark gets
// exactly the rest.
func TestAssembler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ins := drawStream(t)
		bytesMax := rapid.IntRange(1, 6*messageCost).Draw(t, "bytes_max")
		all := assemble(&assembler{bytesMax: bytesMax}, ins, 0)
		checkWhole(t, ins, all)
		if len(all) == 0 {
			return
		}
		stop := all[rapid.IntRange(0, len(all)-1).Draw(t, "stop")].Mark
		again := assemble(&assembler{bytesMax: rapid.IntRange(1, 6*messageCost).Draw(t, "bytes_max_again"), begun: stop.Open}, ins, stop.Sequence)
		var done []*Tx
		for _, tx := range all {
			if tx.Mark.Sequence <= stop.Sequence {
				done = append(done, tx)
			}
		}
		checkWhole(t, ins, append(done, again...))
	})
}

// drawStream draws transactions of rows of two kinds, wanted and not, with
// control messages between them, as a stream has them.
func drawStream(t *rapid.T) (ins []input) {
	mark := Mark{Stream: "S"}
	add := func(in input) {
		in.before = mark
		mark.Sequence++
		if in.message != nil {
			mark.Counter++
			in.message.Sequence = mark.Sequence
		}
		in.mark = mark
		ins = append(ins, in)
	}
	for n := range rapid.IntRange(0, 8).Draw(t, "transactions") {
		tx := "tx" + strconv.Itoa(n)
		rows := rapid.IntRange(1, 6).Draw(t, "rows")
		byControl := rapid.Bool().Draw(t, "ended by a control message")
		for i := range rows {
			if rapid.IntRange(0, 5).Draw(t, "marker") == 0 {
				add(input{}) // a marker or heartbeat
			}
			in := input{tx: tx, txLast: i == rows-1 && !byControl}
			if rapid.Bool().Draw(t, "wanted") {
				in.message = &Message{Place: Place{Tx: tx, N: uint64(i)}, Body: []byte("x")}
			}
			add(in)
		}
		if byControl {
			add(input{tx: tx, txLast: true})
		}
	}
	return ins
}

func assemble(a *assembler, ins []input, behind uint64) (all []*Tx) {
	for _, in := range ins {
		if in.mark.Sequence > behind {
			all = append(all, a.add(in)...)
		}
	}
	return all
}

// checkWhole compares what was handed out with the stream.
func checkWhole(t *rapid.T, ins []input, all []*Tx) {
	var want, got []uint64
	for _, in := range ins {
		if in.message != nil {
			want = append(want, in.mark.Sequence)
		}
	}
	open := ""
	for i, tx := range all {
		if tx.First != (open == "") {
			t.Fatalf("part %d of %s: First is %v behind open %q", i, tx.ID, tx.First, open)
		}
		if open != "" && open != tx.ID {
			t.Fatalf("%s follows %s, which has no end", tx.ID, open)
		}
		open = ""
		if !tx.Last {
			open = tx.ID
		}
		if tx.Mark.Open != open {
			t.Fatalf("the mark of %s says that %q is open, and %q is", tx.ID, tx.Mark.Open, open)
		}
		for _, m := range tx.Messages {
			if m.Place.Tx != tx.ID {
				t.Fatalf("a row of %s in %s", m.Place.Tx, tx.ID)
			}
			got = append(got, m.Sequence)
		}
	}
	if open != "" {
		t.Fatalf("%s never ends", open)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("rows:\n%s", diff)
	}
}

func TestPlace(t *testing.T) {
	p, err := parsePlace("uuid:1#7.1/2#5")
	if diff := cmp.Diff(Place{Tx: "uuid:1", Row: 7, Part: 1, Parts: 2, N: 5}, p); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, bad := range []string{"", "-", "tx", "tx#1", "tx#1.0/1", "#1.0/1#0", "tx#1.0#0", "tx#x.0/1#0", "tx#1.0/4294967296#0", "tx#1.0/1#-1"} {
		if p, err := parsePlace(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("uuid:1#7.1/2#5")
	f.Add("binlog.000001:157#0.0/1#0")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePlace(s); err == nil && p.Tx == "" {
			t.Errorf("%q has no transaction", s)
		}
	})
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a.b.c", false}, {"a.b.c", "a.b", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"*.b", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true},
	} {
		if got := matches(c.pattern, c.subject); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.subject, got)
		}
	}
}
