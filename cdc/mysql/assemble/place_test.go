package assemble

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
)

// TestPlaceWidens: whatever the sizes of events, the place behind a transaction
// is the true one, though the log has 32 bits of it, or on MariaDB since 11.4
// nothing inside a transaction.
func TestPlaceWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := rapid.Uint64Range(4, 6<<30).Draw(t, "start")
		l := place{flavor: gtid.MySQL, file: "binlog.000001", pos: truth, moved: 1}
		silent := rapid.Bool().Draw(t, "mariadb")
		if silent {
			l.flavor = gtid.MariaDB
		}
		for range rapid.IntRange(1, 5).Draw(t, "transactions") {
			n := rapid.IntRange(1, 12).Draw(t, "events")
			for i := range n {
				size := rapid.Uint32Range(19, 1<<30).Draw(t, "size")
				h := binlog.Header{Size: size, LogPos: uint32(truth + uint64(size))}
				if silent && i < n-1 {
					h.LogPos = 0
				}
				if start := l.start(h); start != truth {
					t.Fatalf("begins at %d, want %d", start, truth)
				}
				truth += uint64(size)
				l.advance(h)
			}
			l.bound()
			if p := l.position(); p.Pos != truth || p.From > 1<<32-1 {
				t.Fatalf("%+v, want %d", p, truth)
			}
		}
	})
}
