package assemble

import (
	"io"
	"testing"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
)

// No position is handed out that lies before a transaction which is delivered, in
// whole or in part: what goes with it, such as news of a snapshot, would step back.
func TestNoPositionBeforeWhatIsDelivered(t *testing.T) {
	s := (&script{}).at(4)
	s.tx(1)
	from := len(s.events)
	s.tx(cdc.BatchRowsMax + 2)
	end := len(s.events)
	s.tx(1)
	r := newRig(t, begin(), position.Place("binlog.000001", s.starts[from]), func(o *Options) { o.Eager = func() bool { return true } })
	silent := func(what string, events ...[]byte) {
		t.Helper()
		n := len(r.got)
		if err := r.feed(t, events...); err != nil {
			t.Fatal(what, err)
		}
		r.at.moved++ // something has moved that is no reason
		r.flushed(t)
		if len(r.got) != n {
			t.Errorf("%s: a batch of %d rows, up to %s", what, len(r.got[n].Rows), r.got[n].End)
		}
	}
	silent("what is skipped", s.events[:from]...)
	silent("its beginning", s.events[from])
	r.Again()
	silent("a lost connection")
	silent("its beginning again", s.events[from])
	if err := r.Fail(t.Context(), io.EOF); err != io.EOF || len(r.got) != 0 {
		t.Error("what is whole when reading fails at its beginning:", len(r.got), err)
	}
	if err := r.feed(t, s.events[from+1:end-1]...); err != nil || len(r.got) != 1 {
		t.Fatal(len(r.got), err)
	}
	if err := r.Fail(t.Context(), io.EOF); err != io.EOF || len(r.got) != 1 {
		t.Error("what is whole when reading fails:", len(r.got), err)
	}
	r.Again()
	silent("a connection lost inside")
	silent("its beginning once more", s.events[from])
	if err := r.feed(t, s.events[from+1:end]...); err != nil {
		t.Fatal(err)
	}
	if err := r.feed(t, s.events[end:]...); err != nil {
		t.Fatal(err)
	}
	if rows := r.flushed(t); len(rows) != cdc.BatchRowsMax+3 {
		t.Errorf("%d rows", len(rows))
	}
	r.at.moved++
	n := len(r.got)
	if r.flushed(t); len(r.got) != n+1 {
		t.Error("behind it a position without rows is not told")
	}
}
