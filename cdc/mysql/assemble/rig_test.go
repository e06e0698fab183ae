package assemble

import (
	"context"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
)

// script writes a log of raw events without checksums. TRUNCATE of a followed
// table gives one row, which needs no table map.
type script struct {
	events [][]byte
	starts []uint64
	pos    uint64
	reread int // times that it was read again
}

func (s *script) add(typ binlog.EventType, flags uint16, body []byte) {
	h := make([]byte, binlog.HeaderSize, binlog.HeaderSize+len(body))
	s.starts = append(s.starts, s.pos)
	s.pos += uint64(binlog.HeaderSize + len(body))
	le.PutUint32(h, 1_700_000_000)
	h[4] = byte(typ)
	le.PutUint32(h[5:], 7)
	le.PutUint32(h[9:], uint32(binlog.HeaderSize+len(body)))
	le.PutUint32(h[13:], uint32(s.pos))
	le.PutUint16(h[17:], flags)
	s.events = append(s.events, append(h, body...))
}

func (s *script) query(text ...string) {
	for _, sql := range text {
		body := append(make([]byte, 8), 4, 0, 0, 0, 0) // thread, time, schema's length, error, status
		s.add(binlog.QueryEvent, 0, append(append(body, "shop\x00"...), sql...))
	}
}

// changed writes a statement of which the server says what databases it changed.
func (s *script) changed(sql string, databases ...string) {
	status := []byte{12, byte(len(databases))}
	for _, db := range databases {
		status = append(append(status, db...), 0)
	}
	body := append(make([]byte, 8), 4, 0, 0, byte(len(status)), 0)
	s.add(binlog.QueryEvent, 0, append(append(append(body, status...), "shop\x00"...), sql...))
}

// load writes a LOAD DATA in statement format.
func (s *script) load(sql string) {
	body := append(make([]byte, 8), 4, 0, 0, 0, 0)
	body = append(append(body, make([]byte, 13)...), "shop\x00"...)
	s.add(binlog.ExecuteLoadQueryEvent, 0, append(body, sql...))
}

// tx writes a transaction of n rows.
func (s *script) tx(n int) {
	s.query("BEGIN")
	for range n {
		s.query("TRUNCATE orders")
	}
	s.add(binlog.XIDEvent, 0, make([]byte, 8))
}

// at sets the offset of the next event.
func (s *script) at(pos uint64) *script {
	s.pos = pos
	return s
}

// rig is an Assembler and what it emitted.
type rig struct {
	*Assembler
	got []cdctest.Recorded
	now time.Time
}

func newRig(t testing.TB, from *position.Position, tx string, change ...func(*Options)) *rig {
	t.Helper()
	filter, faults := tables.New([]string{"shop.orders"})
	if faults != nil {
		t.Fatal(faults)
	}
	r := &rig{now: time.Unix(1_700_000_000, 0)}
	o := Options{Filter: filter, EventBytesMax: 1 << 20, KeepGTIDs: true,
		Env: cdc.Env{Now: func() time.Time { return r.now }},
		Emit: func(_ context.Context, b *cdc.Batch) error {
			r.got = append(r.got, cdctest.Record(b))
			b.Release()
			return nil
		}}
	for _, f := range change {
		f(&o)
	}
	r.Assembler = New(o)
	r.Begin(from, cdc.Start{Tx: tx})
	return r
}

// feed gives events up to the first error.
func (r *rig) feed(t testing.TB, events ...[]byte) error {
	t.Helper()
	for _, raw := range events {
		if err := r.Event(t.Context(), raw); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) flushed(t testing.TB) []cdctest.RecordedRow {
	t.Helper()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cdctest.Rows(r.got)
}

func begin() *position.Position {
	return &position.Position{Flavor: gtid.MySQL, File: "binlog.000001", Pos: 4}
}
