package assemble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var le = binary.LittleEndian

// TestAnyInterruption is the heart of the matter: however the reading of a log is
// flushed and cut into connections, the same rows come, in the same parts.
func TestAnyInterruption(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := (&script{}).at(4)
		for range rapid.IntRange(1, 6).Draw(rt, "transactions") {
			switch n := rapid.SampledFrom([]int{0, 1, 2, 30, 511, 512, 513, 1300}).Draw(rt, "rows"); {
			case n == 2:
				s.query("BEGIN", "TRUNCATE orders", "ROLLBACK")
			default:
				s.tx(n)
			}
		}
		reference := newRig(t, begin(), "")
		if err := reference.feed(t, s.events...); err != nil {
			rt.Fatal(err)
		}
		want := reference.flushed(t)

		// Places of a log are drawn, not chances of each event, or all would be
		// spent on its beginning.
		places := func(name string, most int) map[int]bool {
			at := map[int]bool{}
			for _, i := range rapid.SliceOfN(rapid.Uint32(), 0, most).Draw(rt, name) {
				at[int(i*2654435761)%len(s.events)] = true // small numbers are drawn most: spread them
			}
			return at
		}
		// The connection is also lost while what was lost before is read again.
		cuts := []map[int]bool{places("cuts", 6), places("cuts of the second reading", 6), places("cuts of the third", 6)}
		flushes, reading := places("flushes", 20), make([]int, len(s.events))
		r := newRig(t, begin(), "")
		for i := 0; i < len(s.events); i++ {
			if err := r.feed(t, s.events[i]); err != nil {
				rt.Fatal(err)
			}
			if flushes[i] {
				r.flushed(t)
			}
			if reading[i]++; reading[i] <= len(cuts) && cuts[reading[i]-1][i] {
				from := r.Again()
				for i = 0; i < len(s.events) && s.starts[i] < from.Pos; i++ {
				}
				i--
			}
		}
		if d := cmp.Diff(want, r.flushed(t)); d != "" {
			rt.Fatal(d)
		}
		for _, b := range r.got {
			if len(b.Rows) > cdc.BatchRowsMax {
				rt.Fatalf("a batch of %d rows", len(b.Rows))
			}
		}
		if mine, theirs := r.Position().Encode(), reference.Position().Encode(); mine != theirs {
			rt.Fatalf("reading ends at %s, not at %s", mine, theirs)
		}
	})
}

// TestParts: a transaction of 1,300 rows comes in parts whose positions stay.
func TestParts(t *testing.T) {
	s := (&script{}).at(4)
	s.tx(3)
	s.tx(1300)
	s.tx(1)
	r := newRig(t, begin(), "")
	if err := r.feed(t, s.events...); err != nil {
		t.Fatal(err)
	}
	r.flushed(t)
	var shape [][3]int
	for _, b := range r.got {
		p, _ := position.Decode(b.Begin)
		e, _ := position.Decode(b.End)
		shape = append(shape, [3]int{len(b.Rows), int(p.Pos), int(e.Pos)})
	}
	a, c := int(s.starts[5]), int(s.starts[5+1302])
	want := [][3]int{{3, 4, a}, {512, a, a}, {512, a, a}, {276, a, c}, {1, c, int(s.pos)}}
	if d := cmp.Diff(want, shape); d != "" {
		t.Fatal(d)
	}
}

// TestBeyond4GiB: places that the log's 32 bits can't say.
func TestBeyond4GiB(t *testing.T) {
	start := uint64(math.MaxUint32 - 250)
	s := (&script{}).at(start)
	s.tx(20) // goes over the edge
	s.tx(1)
	s.tx(2)
	from := begin()
	from.Pos = start
	r := newRig(t, from, "")
	if err := r.feed(t, s.events[:25]...); err != nil {
		t.Fatal(err)
	}
	r.flushed(t)
	end, _ := position.Decode(r.got[0].End)
	if end.Pos != s.starts[25] || end.Pos <= math.MaxUint32 || end.From != start || end.Dump() != uint32(start) {
		t.Fatalf("end %+v, want %d from %d", end, s.starts[25], start)
	}
	// Another run is sent everything from before the edge, and hands out the rest.
	again := newRig(t, end, "")
	if err := again.feed(t, s.events...); err != nil {
		t.Fatal(err)
	}
	rows := again.flushed(t)
	if len(rows) != 2 || rows[0].Tx != fmt.Sprintf("binlog.000001:%d", s.starts[25]) {
		t.Fatalf("rows %v", rows)
	}
	// The next file is a place that can be said again.
	again.events(t, binlog.RotateEvent, append(le.AppendUint64(nil, 4), "binlog.000002"...))
	if p := again.Position(); p.From != 0 || p.Pos != 4 || p.File != "binlog.000002" {
		t.Errorf("after rotation %+v", p)
	}
}

func (r *rig) events(t testing.TB, typ binlog.EventType, body []byte) {
	t.Helper()
	s := (&script{}).at(r.at.pos)
	s.add(typ, 0, body)
	if err := r.feed(t, s.events...); err != nil {
		t.Fatal(err)
	}
}

func TestStops(t *testing.T) {
	for name, c := range map[string]struct {
		code  string
		write func(*script)
	}{
		"statement in a followed schema":              {"statement_format", func(s *script) { s.query("UPDATE orders SET a = 1") }},
		"statement beside it":                         {"statement_format", func(s *script) { s.query("UPDATE other SET a = 1") }},
		"statement elsewhere":                         {"", func(s *script) { s.query("INSERT INTO x.orders VALUES (1)") }},
		"statement elsewhere, led here":               {"statement_format", func(s *script) { s.changed("INSERT INTO x.orders VALUES (1)", "x", "shop") }},
		"statement that is not understood, elsewhere": {"", func(s *script) { s.changed("CALL p()", "x", "y") }},
		"statement that is not understood":            {"statement_format", func(s *script) { s.changed("CALL p()") }},
		"function":                                    {"statement_format", func(s *script) { s.query("SELECT `shop`.`f`(1)") }},
		"incident":                                    {"incident", func(s *script) { s.add(binlog.IncidentEvent, 0, []byte{1, 0, 4, 'l', 'o', 's', 't'}) }},
		"unknown event":                               {"unknown_event", func(s *script) { s.add(99, 0, nil) }},
		"partial rows of MariaDB":                     {"unknown_event", func(s *script) { s.add(binlog.MariaPartialRowDataEvent, 0, make([]byte, 9)) }},
		"unknown but ignorable":                       {"", func(s *script) { s.add(99, binlog.FlagIgnorable, nil) }},
		"rows of an unknown table": {"binlog_corrupt", func(s *script) {
			s.query("BEGIN")
			s.add(binlog.WriteRowsEvent, 0, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 0, 1})
		}},
		"rollback to behind rows": {"rollback_to_savepoint", func(s *script) { s.query("BEGIN", "SAVEPOINT a", "TRUNCATE orders", "ROLLBACK TO a") }},
		"rollback to before no rows": {"", func(s *script) {
			s.query("BEGIN", "TRUNCATE orders", "SAVEPOINT a", "INSERT INTO x.other VALUES (1)", "ROLLBACK TO a", "COMMIT")
		}},
		"rollback to an unknown name":  {"rollback_to_savepoint", func(s *script) { s.query("BEGIN", "TRUNCATE orders", "ROLLBACK TO a") }},
		"prepared before":              {"xa_prepared_before", func(s *script) { s.query("XA COMMIT X'61',X'',1") }},
		"rolled back, prepared before": {"", func(s *script) { s.query("XA ROLLBACK X'61',X'',1") }},
		"prepared by another id": {"binlog_corrupt", func(s *script) {
			s.query("XA START 'a'")
			s.prepare("b", false)
		}},
		"prepared without a beginning": {"binlog_corrupt", func(s *script) {
			s.query("BEGIN")
			s.prepare("b", false)
		}},
		"too many prepared": {"xa_too_many", func(s *script) {
			for i := range preparedMax + 1 {
				s.query(fmt.Sprintf("XA START '%d'", i))
				s.prepare(fmt.Sprint(i), false)
			}
		}},
		"statement under XA": {"", func(s *script) {
			s.query("XA START 'a'", "UPDATE orders SET a = 1")
			s.prepare("a", false)
			s.query("XA ROLLBACK 'a'")
		}},
		"statement under XA, committed": {"statement_format", func(s *script) {
			s.query("XA START 'a'", "UPDATE orders SET a = 1")
			s.prepare("a", false)
			s.query("XA COMMIT 'a'")
		}},
		"rollback to under XA": {"rollback_to_savepoint", func(s *script) {
			s.query("XA START 'a'", "SAVEPOINT s", "TRUNCATE orders", "ROLLBACK TO s")
			s.prepare("a", true)
		}},
		"cut off": {"", func(s *script) {
			s.query("BEGIN", "TRUNCATE orders")
			s.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
		}},
		"cut off after parts went out": {"transaction_cut", func(s *script) {
			s.query("BEGIN")
			for range 600 {
				s.query("TRUNCATE orders")
			}
			s.add(binlog.AnonymousGTIDEvent, 0, make([]byte, 25))
		}},
		"rolled back after parts": {"transaction_cut", func(s *script) {
			s.query("BEGIN")
			for range 600 {
				s.query("TRUNCATE orders")
			}
			s.query("ROLLBACK")
		}},
		"load data in statement format": {"statement_format", func(s *script) {
			s.load("LOAD DATA INFILE 'x' INTO TABLE orders")
		}},
		"load data elsewhere": {"", func(s *script) {
			s.load("LOAD DATA INFILE 'x' INTO TABLE x.orders")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&script{}).at(4)
			c.write(s)
			err := newRig(t, begin(), "").feed(t, s.events...)
			switch {
			case c.code == "" && err != nil:
				t.Error(err)
			case c.code != "" && (!fault.HasCode(err, c.code) || fault.Of(err).Hint == "" || fault.Of(err).Path == ""):
				t.Errorf("%v, %s was due", err, c.code)
			}
		})
	}
}

// TestFail: what was whole before the place of an error is delivered, and
// nothing of the transaction that it cuts off.
func TestFail(t *testing.T) {
	for name, c := range map[string]struct {
		write func(*script)
		rows  int
	}{
		"between transactions": {func(s *script) { s.add(99, 0, nil) }, 5},
		"inside one": {func(s *script) {
			s.query("BEGIN", "TRUNCATE orders")
			s.add(99, 0, nil)
		}, 5},
		"behind parts of one": {func(s *script) {
			s.query("BEGIN")
			for range 600 {
				s.query("TRUNCATE orders")
			}
			s.add(99, 0, nil)
		}, 5 + cdc.BatchRowsMax},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&script{}).at(4)
			s.tx(2)
			s.tx(3)
			end := s.pos
			c.write(s)
			r := newRig(t, begin(), "")
			err := r.feed(t, s.events...)
			if got := r.Fail(t.Context(), err); got != err || !fault.HasCode(err, "unknown_event") {
				t.Fatal(err, got)
			}
			if n := len(cdctest.Rows(r.got)); n != c.rows {
				t.Errorf("%d rows, want %d", n, c.rows)
			}
			if got := r.Position().Pos; got != end {
				t.Errorf("the position is %d, the last whole transaction ends at %d", got, end)
			}
		})
	}
}

// TestPositionOnly: a position without rows is told about once a second, with
// rotations and heartbeats at once, and never while a transaction is looked for.
func TestPositionOnly(t *testing.T) {
	s := (&script{}).at(4)
	s.tx(0)
	s.tx(0)
	s.tx(1)
	r := newRig(t, begin(), "")
	if err := r.feed(t, s.events[:2]...); err != nil {
		t.Fatal(err)
	}
	if r.flushed(t); len(r.got) != 0 {
		t.Fatalf("told after no time: %v", r.got)
	}
	r.now = r.now.Add(idleInterval)
	if r.flushed(t); len(r.got) != 1 || r.got[0].Begin != r.got[0].End || len(r.got[0].Rows) != 0 {
		t.Fatalf("after a second: %+v", r.got)
	}
	if r.flushed(t); len(r.got) != 1 {
		t.Fatal("told twice")
	}
	if err := r.feed(t, s.events[2:4]...); err != nil {
		t.Fatal(err)
	}
	r.events(t, binlog.HeartbeatEvent, []byte("binlog.000001"))
	if len(r.got) != 2 {
		t.Fatal("not told with a heartbeat")
	}
	r.events(t, binlog.RotateEvent, append(le.AppendUint64(nil, 4), "binlog.000002"...))
	if len(r.got) != 3 {
		t.Fatal("not told with a rotation")
	}

	looking := newRig(t, begin(), fmt.Sprintf("binlog.000001:%d", s.starts[4]))
	if err := looking.feed(t, s.events[:4]...); err != nil {
		t.Fatal(err)
	}
	looking.now = looking.now.Add(time.Hour)
	if looking.flushed(t); len(looking.got) != 0 {
		t.Fatalf("told on the way: %v", looking.got)
	}
	if err := looking.feed(t, s.events[4:]...); err != nil {
		t.Fatal(err)
	}
	if rows := looking.flushed(t); len(rows) != 1 || looking.Waiting() != "" {
		t.Fatalf("rows %v", rows)
	}
}

// TestNeverComes: a transaction behind the one that is looked for, or the end.
func TestNeverComes(t *testing.T) {
	s := (&script{}).at(4)
	s.tx(1)
	s.tx(1)
	between := fmt.Sprintf("binlog.000001:%d", s.starts[3]-1)
	if err := newRig(t, begin(), between).feed(t, s.events...); !fault.HasCode(err, "source_behind") {
		t.Errorf("a later one came: %v", err)
	}
	r := newRig(t, begin(), "binlog.000009:4")
	if err := r.feed(t, s.events...); err != nil {
		t.Fatal(err)
	}
	hb := (&script{}).at(s.pos)
	hb.add(binlog.HeartbeatEvent, 0, []byte("binlog.000001"))
	if err := r.feed(t, hb.events...); !fault.HasCode(err, "source_behind") {
		t.Errorf("the end: %v", err)
	}
}

// TestMariaDBWithoutEnds: since 11.4 only the last event of a group says where
// it ends.
func TestMariaDBWithoutEnds(t *testing.T) {
	s := (&script{}).at(400)
	gtidEvent := append(le.AppendUint32(le.AppendUint64(nil, 55), 0), 0, 0, 0, 0, 0, 0, 0)
	for range 2 {
		s.add(binlog.MariaGTIDEvent, 0, gtidEvent)
		s.query("TRUNCATE orders", "TRUNCATE orders")
		s.add(binlog.XIDEvent, 0, make([]byte, 8))
		gtidEvent[0]++
	}
	for i, raw := range s.events {
		if i%4 != 3 {
			le.PutUint32(raw[13:], 0)
		}
	}
	from := &position.Position{Flavor: gtid.MariaDB, File: "binlog.000001", Pos: 400, GTIDs: gtid.New(gtid.MariaDB)}
	r := newRig(t, from, "")
	if err := r.feed(t, s.events...); err != nil {
		t.Fatal(err)
	}
	rows := r.flushed(t)
	end, _ := position.Decode(r.got[0].End)
	if len(rows) != 4 || rows[0].Tx != "0-7-55" || rows[3].RowsTotal != 2 || end.Pos != s.pos || end.GTIDs.String() != "0-7-56" {
		t.Fatalf("rows %v, end %s", rows, r.got[0].End)
	}
}

// TestBudget: emit waits for bytes, and ctx ends the wait.
func TestBudget(t *testing.T) {
	share := budget.New(1).Share(4000)
	var held []*cdc.Batch
	r := newRig(t, begin(), "", func(o *Options) {
		o.Env.Share = share
		o.Emit = func(_ context.Context, b *cdc.Batch) error {
			held = append(held, b)
			return nil
		}
	})
	s := (&script{}).at(4)
	s.tx(1)
	s.tx(1)
	if err := r.feed(t, s.events[:3]...); err != nil {
		t.Fatal(err)
	}
	r.flushed(t)
	if len(held) != 1 || share.Used() != int64(held[0].Size())+held[0].Overhead() {
		t.Fatalf("%d batches hold %d bytes", len(held), share.Used())
	}
	if err := r.feed(t, s.events[3:]...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v with the budget used up", err)
	}
	held[0].Release()
	if share.Used() != 0 {
		t.Fatalf("%d bytes after release", share.Used())
	}
}

// TestSchemasMax: definitions without end are refused.
func TestSchemasMax(t *testing.T) {
	r := newRig(t, begin(), "")
	for i := range schemasMax {
		if _, err := r.tables.named(tables.Name{DB: "shop", Table: fmt.Sprint(i)}); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := r.tables.named(tables.Name{DB: "shop", Table: "more"}); !fault.HasCode(err, "too_many_schemas") {
		t.Fatal(err)
	}
	if _, err := r.tables.named(tables.Name{DB: "shop", Table: "7"}); err != nil {
		t.Fatalf("one that is known: %v", err)
	}
}

// TestEmitErrorStays: the pipeline's own fault comes back as it was.
func TestEmitErrorStays(t *testing.T) {
	own := fault.New(fault.Fatal, "own", "pipeline/step", "do", "it")
	r := newRig(t, begin(), "", func(o *Options) { o.Emit = func(context.Context, *cdc.Batch) error { return own } })
	s := (&script{}).at(4)
	s.tx(600)
	if err := r.feed(t, s.events...); err != error(own) {
		t.Errorf("%v", err)
	}
}
