package assemble

import (
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// FuzzEvents feeds any events: whatever they are, they are read, or refused with
// a code, and positions stay readable. Input is type, flags, two bytes of length,
// body, again and again.
func FuzzEvents(f *testing.F) {
	seed := func(write func(*script)) {
		s := (&script{}).at(4)
		write(s)
		var in []byte
		for _, raw := range s.events {
			body := raw[binlog.HeaderSize:]
			in = append(in, raw[4], raw[17], byte(len(body)), byte(len(body)>>8))
			in = append(in, body...)
		}
		f.Add(in, false)
		f.Add(in, true)
	}
	seed(func(s *script) {
		s.tx(2)
		s.query("BEGIN", "TRUNCATE orders", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a")
	})
	seed(func(s *script) {
		s.xaTx("a", 2, false)
		s.xaTx("b", 1, true)
		s.query("XA COMMIT 'a'", "XA ROLLBACK X'61',X'',1")
	})
	seed(func(s *script) { s.changed("UPDATE t SET a = 1", "x"); s.load("LOAD DATA INFILE 'x' INTO TABLE x.y") })
	seed(func(s *script) {
		s.add(binlog.MariaGTIDEvent, 0, append(le.AppendUint32(le.AppendUint64(nil, 9), 0), binlog.MariaXAPrepared, 1, 0, 0, 0, 1, 0, 'a'))
		s.query("TRUNCATE orders")
		s.prepare("a", false)
		s.add(binlog.HeartbeatEvent, 0, []byte("binlog.000001"))
		s.add(binlog.RotateEvent, 0, append(le.AppendUint64(nil, 4), "binlog.000002"...))
	})
	f.Fuzz(func(t *testing.T, in []byte, maria bool) {
		s := (&script{}).at(4)
		for len(in) >= 4 && len(s.events) < 200 {
			n := min(int(in[2])|int(in[3])<<8, len(in)-4)
			s.add(binlog.EventType(in[0]), uint16(in[1]), in[4:4+n])
			in = in[4+n:]
		}
		from := begin()
		if maria {
			from = &position.Position{Flavor: gtid.MariaDB, File: from.File, Pos: 4, GTIDs: gtid.New(gtid.MariaDB)}
		}
		r := newRig(t, from, "", withLog(s))
		r.xa.bytesMax = 64
		for _, raw := range s.events {
			if err := r.Event(t.Context(), raw); err != nil {
				if fault.Of(err).Code == "unexpected" {
					t.Fatalf("an error without a code: %v", err)
				}
				break
			}
		}
		if text := r.Position().Encode(); true {
			p, err := position.Decode(text)
			if err != nil || p.Encode() != text {
				t.Fatalf("position %s: %v", text, err)
			}
		}
	})
}
