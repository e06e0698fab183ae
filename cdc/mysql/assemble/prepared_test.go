package assemble

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// prepare writes an XA PREPARE.
func (s *script) prepare(xid string, onePhase bool) {
	body := []byte{0}
	if onePhase {
		body[0] = 1
	}
	body = le.AppendUint32(le.AppendUint32(le.AppendUint32(body, 1), uint32(len(xid))), 0)
	s.add(binlog.XAPrepareEvent, 0, append(body, xid...))
}

// xaTx writes an XA transaction of n rows, up to its XA PREPARE.
func (s *script) xaTx(xid string, n int, onePhase bool) {
	s.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
	s.query("XA START '" + xid + "'")
	for range n {
		s.query("TRUNCATE orders")
	}
	s.query("XA END '" + xid + "'")
	s.prepare(xid, onePhase)
}

// Reread implements Log.
func (s *script) Reread(_ context.Context, p *position.Prepared, f func([]byte) (bool, error)) error {
	s.reread++
	for i, raw := range s.events {
		if s.starts[i] < uint64(p.Dump()) {
			continue
		}
		if more, err := f(raw); err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *script) Files(context.Context) ([]string, error) { return []string{"binlog.000001"}, nil }

func withLog(s *script) func(*Options) { return func(o *Options) { o.Log = s } }

// from is the index of the first event at or behind an offset.
func (s *script) from(pos uint64) int {
	i, _ := slices.BinarySearch(s.starts, pos)
	return i
}

// xaLog draws a log in which XA transactions begin, are prepared and end in any
// order, and says what is committed by it.
func xaLog(rt *rapid.T) (s *script, want []string) {
	s = (&script{}).at(4)
	var open []string
	rows := map[string]int{}
	add := func(start uint64, n int) {
		for i := range n {
			want = append(want, fmt.Sprintf("binlog.000001:%d %d", start, i))
		}
	}
	size := rapid.SampledFrom([]int{0, 1, 2, 40, 512, 513, 1100})
	for i := range rapid.IntRange(1, 12).Draw(rt, "steps") {
		at, n := s.pos, 0
		kind := rapid.SampledFrom([]string{"prepare", "end", "plain", "one phase", "again"}).Draw(rt, "kind")
		if kind != "end" && kind != "again" {
			n = size.Draw(rt, "rows")
		}
		xid := fmt.Sprintf("x%d", i)
		switch {
		case kind == "plain":
			s.tx(n)
			add(at, n)
		case kind == "one phase":
			s.xaTx(xid, n, true)
			add(at, n)
		case kind == "again" && len(open) > 0: // an id is used a second time
			n, xid = 3, open[0]
			s.xaTx(xid, n, false)
			rows[xid] = n
		case kind == "end" && len(open) > 0:
			k := rapid.IntRange(0, len(open)-1).Draw(rt, "which")
			xid = open[k]
			open = slices.Delete(open, k, k+1)
			word := "ROLLBACK"
			if rapid.Bool().Draw(rt, "commits") {
				word = "COMMIT"
				add(at, rows[xid])
			}
			s.query(fmt.Sprintf("XA %s X'%x',X'',1", word, xid))
		default:
			s.xaTx(xid, n, false)
			open, rows[xid] = append(open, xid), n
		}
	}
	return s, want
}

func places(rows []cdctest.RecordedRow) (list []string) {
	for _, r := range rows {
		list = append(list, fmt.Sprintf("%s %d", r.Tx, r.Ordinal))
	}
	return list
}

// TestXA: rows of prepared transactions come with their XA COMMIT, whatever is
// held of them, and wherever reading is taken up again.
func TestXA(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, want := xaLog(rt)
		held := rapid.SampledFrom([]int{0, 5000, heldBytesMax}).Draw(rt, "held")
		r := newRig(t, begin(), "", withLog(s))
		r.xa.bytesMax = held
		cuts := map[int]bool{}
		for range rapid.IntRange(0, 4).Draw(rt, "cuts") {
			cuts[rapid.IntRange(0, len(s.events)-1).Draw(rt, "cut")] = true
		}
		for i := 0; i < len(s.events); i++ {
			if err := r.feed(t, s.events[i]); err != nil {
				rt.Fatal(err)
			}
			if cuts[i] {
				delete(cuts, i)
				i = s.from(r.Again().Pos) - 1
			}
		}
		all := r.flushed(t)
		if d := cmp.Diff(want, places(all), cmpopts.EquateEmpty()); d != "" {
			rt.Fatal(d)
		}
		if r.xa.bytes > held {
			rt.Fatalf("%d bytes are held", r.xa.bytes)
		}
		done := 0
		for _, b := range r.got {
			done += len(b.Rows)
			p, err := position.Decode(b.End)
			if err != nil {
				rt.Fatal(err)
			}
			again, skip := newRig(t, p, "", withLog(s)), done
			if n := len(b.Rows); n > 0 && !b.Rows[n-1].Ends { // inside: the transaction is handed out again
				again, skip = newRig(t, p, b.Rows[n-1].Tx, withLog(s)), done-int(b.Rows[n-1].Ordinal)-1
			}
			if err := again.feed(t, s.events[s.from(p.Pos):]...); err != nil {
				rt.Fatal(err)
			}
			if d := cmp.Diff(all[skip:], again.flushed(t), cmp.Comparer(sameRow), cmpopts.EquateEmpty()); d != "" {
				rt.Fatalf("from %s: %s", b.End, d)
			}
		}
	})
}

// sameRow compares what does not depend on how a batch was flushed.
func sameRow(a, b cdctest.RecordedRow) bool {
	return a.Tx == b.Tx && a.Ordinal == b.Ordinal && a.Text == b.Text && a.RowsBefore == b.RowsBefore && a.RowsTotal == b.RowsTotal
}

// TestXAMemory: a prepared transaction that is larger than what may be held is
// read again, and small ones are not.
func TestXAMemory(t *testing.T) {
	s := (&script{}).at(4)
	s.xaTx("small", 10, false)
	s.xaTx("large", 100_000, false)
	s.query("XA COMMIT 'small'")
	r := newRig(t, begin(), "", withLog(s))
	if err := r.feed(t, s.events...); err != nil || s.reread != 0 {
		t.Fatal(err, s.reread)
	}
	if r.xa.bytes != 0 || len(r.xa.held) != 0 || len(r.at.prepared) != 1 || cap(r.xa.events) > 2*heldBytesMax {
		t.Errorf("%d bytes of %d transactions are held", r.xa.bytes, len(r.xa.held))
	}
	r.events(t, binlog.QueryEvent, append(append(make([]byte, 8), 4, 0, 0, 0, 0), "shop\x00XA COMMIT 'large'"...))
	if n := len(r.flushed(t)); n != 100_010 || s.reread != 1 {
		t.Errorf("%d rows, read again %d times", n, s.reread)
	}
	if p := r.Position(); len(p.Prepared) != 0 {
		t.Errorf("the position is %s", p.Encode())
	}
}

// TestXALost: the log no longer has what was prepared.
func TestXALost(t *testing.T) {
	s := (&script{}).at(4)
	s.xaTx("a", 1, false)
	s.xaTx("b", 1, false)
	other := (&script{}).at(4)
	other.xaTx("b", 1, false)
	for name, log := range map[string]Log{"none": nil, "another transaction": other, "purged": purgedLog{}, "empty": &script{}} {
		r := newRig(t, begin(), "", func(o *Options) { o.Log = log })
		r.xa.bytesMax = 0
		err := r.feed(t, s.events...)
		if err != nil {
			t.Fatal(err)
		}
		commit := (&script{}).at(s.pos)
		commit.query("XA COMMIT 'a'")
		err = r.feed(t, commit.events...)
		if f := fault.Of(err); f.Code != "xa_prepare_lost" || !strings.Contains(err.Error(), "binlog.000001:4") || f.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestXASearch: reading begins behind an XA PREPARE.
func TestXASearch(t *testing.T) {
	s := (&script{}).at(4)
	s.xaTx("a", 7, false) // an older one of the same id
	s.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
	s.query("XA COMMIT 'a'")
	s.xaTx("a", 3, false)
	s.xaTx("b", 5, false)
	s.xaTx("done", 1, false)
	s.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
	s.query("XA COMMIT 'done'")
	from := begin()
	from.Pos = s.pos
	s.tx(1)
	for _, c := range []struct {
		xid, code string
		rows      int
	}{{"a", "", 4}, {"b", "", 6}, {"done", "xa_prepared_before", 0}, {"never", "xa_prepared_before", 0}} {
		log := *s
		log.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
		log.query("XA COMMIT '" + c.xid + "'")
		log.xaTx(c.xid, 9, false) // later ones of the same id don't count
		r := newRig(t, from, "", withLog(&log))
		err := r.feed(t, log.events[log.from(from.Pos):]...)
		if c.code != "" {
			if !fault.HasCode(err, c.code) {
				t.Errorf("%s: %v", c.xid, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.flushed(t)); n != c.rows || len(r.at.prepared) != 1 {
			t.Errorf("%s: %d rows, %v is open", c.xid, n, r.at.prepared)
		}
	}
}

type purgedLog struct{}

func (purgedLog) Files(context.Context) ([]string, error) { return []string{"binlog.000001"}, nil }

func (purgedLog) Reread(context.Context, *position.Prepared, func([]byte) (bool, error)) error {
	return fault.New(fault.Environment, "position_purged", "", "", "gone")
}

// TestXAOfMariaDB: the id comes with the GTID, and the position knows behind
// which transaction another server has it.
func TestXAOfMariaDB(t *testing.T) {
	s := (&script{}).at(4)
	id := func(seq uint64, flags byte) {
		body := append(le.AppendUint32(le.AppendUint64(nil, seq), 0), flags)
		body = append(le.AppendUint32(body, 1), 1, 0, 'a') // format, lengths, id
		s.add(binlog.MariaGTIDEvent, 0, body)
	}
	id(8, binlog.MariaXAPrepared)
	s.query("TRUNCATE orders", "XA END 'a'")
	s.prepare("a", false)
	prepared := s.pos
	id(9, binlog.MariaXACompleted|binlog.MariaStandalone)
	s.query("XA COMMIT 'a'")
	set, _ := gtid.Parse(gtid.MariaDB, "0-7-5")
	r := newRig(t, &position.Position{Flavor: gtid.MariaDB, File: "binlog.000001", Pos: 4, GTIDs: set}, "", withLog(s))
	for i, raw := range s.events {
		if err := r.feed(t, raw); err != nil {
			t.Fatal(err)
		}
		if s.starts[i] >= prepared || i < 3 {
			continue
		}
		text := r.Position().Encode()
		if !strings.Contains(string(text), `"xa":[{"xid":"1:61:","file":"binlog.000001","pos":4,"gtid":"0-7-8","after":"0-7-5"}]`) {
			t.Errorf("position %s", text)
		}
		if p, err := position.Decode(text); err != nil || p.Encode() != text {
			t.Error(p, err)
		}
	}
	if rows := r.flushed(t); len(rows) != 1 || rows[0].Tx != "0-7-9" {
		t.Errorf("%v", rows)
	}
}
