package position

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestPreparedRoundTrip: open XA transactions survive being written down.
func TestPreparedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Position{Flavor: gtid.MariaDB, File: "binlog.000009", Pos: 4, Server: "7"}
		for i := range rapid.IntRange(0, 5).Draw(t, "open") {
			x := Prepared{XID: fmt.Sprintf("1:%02x:", i), File: "binlog.000003", Pos: rapid.Uint64Range(4, 1<<40).Draw(t, "pos"),
				Server: rapid.SampledFrom([]string{"7", "8"}).Draw(t, "server")}
			if x.Pos > 1<<32-1 {
				x.From = 400
			}
			if rapid.Bool().Draw(t, "gtid") {
				x.GTID = gtid.ID{Flavor: gtid.MariaDB, Domain: 1, Server: 2, Number: rapid.Uint64Min(1).Draw(t, "number")}
				x.After = gtid.ID{Flavor: gtid.MariaDB, Domain: 1, Server: 3, Number: 1}
			}
			p.Prepared = append(p.Prepared, x)
		}
		got, err := Decode(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p.Prepared, got.Prepared); d != "" || got.Encode() != p.Encode() {
			t.Fatal(d)
		}
		for _, x := range got.Prepared {
			if want := uint32(min(x.Pos, 400)); x.Pos > 1<<32-1 && x.Dump() != want {
				t.Fatalf("reading begins at %d", x.Dump())
			}
		}
	})
}

func TestPreparedRefuses(t *testing.T) {
	for _, xa := range []string{`[{}]`, `[{"xid":"1:a:"}]`, `[{"xid":"1:a:","file":"a.1","gtid":"x"}]`, `[{"xid":"1:a:","file":"a.1","after":"x"}]`,
		`[{"xid":"1:a:","file":"a.1","more":1}]`} {
		text := sdk.Position(`{"flavor":"mysql","file":"a.1","xa":` + xa + `}`)
		if p, err := Decode(text); !errors.Is(err, ErrPosition) {
			t.Errorf("%s gives %v, %v", text, p, err)
		}
	}
}

func TestOldest(t *testing.T) {
	p := Position{File: "b.9", Server: "s", Prepared: []Prepared{{File: "b.1", Server: "other"}, {File: "b.3", Server: "s"}, {File: "b.5", Server: "s"}}}
	if p.Oldest() != "b.3" {
		t.Error(p.Oldest())
	}
	if p.Prepared = nil; p.Oldest() != "b.9" {
		t.Error(p.Oldest())
	}
}
