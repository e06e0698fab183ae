package position

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/sdk"
)

const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"

func TestEncode(t *testing.T) {
	set, _ := gtid.Parse(gtid.MySQL, uuid+":1-5:t:7")
	for _, c := range []struct {
		p    Position
		want sdk.Position
	}{
		{Position{Flavor: gtid.MySQL, File: "binlog.000003", Pos: 157, GTIDs: set, Server: uuid},
			`{"flavor":"mysql","file":"binlog.000003","pos":157,"gtid":"` + uuid + `:1-5:t:7","server":"` + uuid + `"}`},
		{Position{Flavor: gtid.MariaDB, File: `a"b.1`, Pos: 5 << 30, From: 400},
			`{"flavor":"mariadb","file":"a\"b.1","pos":5368709120,"from":400}`},
		{Position{Flavor: gtid.MariaDB, GTIDs: gtid.New(gtid.MariaDB)}, `{"flavor":"mariadb","gtid":""}`},
	} {
		if got := c.p.Encode(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Position{Flavor: gtid.MariaDB, File: rapid.StringN(1, 20, -1).Draw(t, "file"),
			Pos: rapid.Uint64().Draw(t, "pos"), From: rapid.Uint64().Draw(t, "from"), Server: rapid.String().Draw(t, "server"), Born: rapid.Uint32().Draw(t, "born")}
		if rapid.Bool().Draw(t, "gtid") {
			p.GTIDs = gtid.New(gtid.MariaDB)
			p.GTIDs.Add(gtid.ID{Flavor: gtid.MariaDB, Domain: rapid.Uint32().Draw(t, "domain"), Number: 7})
		}
		got, err := Decode(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got.Encode() != p.Encode() || got.File != p.File || (got.GTIDs == nil) != (p.GTIDs == nil) {
			t.Fatalf("%s gives %s", p.Encode(), got.Encode())
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []sdk.Position{"", "x", "{}", `{"flavor":"oracle","file":"a.1"}`, `{"flavor":"mysql"}`,
		`{"flavor":"mysql","gtid":"x"}`, `{"flavor":"mysql","file":"a.1","lsn":3}`} {
		if p, err := Decode(text); !errors.Is(err, ErrPosition) {
			t.Errorf("%s gives %v, %v", text, p, err)
		}
	}
}

func TestCovers(t *testing.T) {
	at := func(file string, pos uint64, gtids string) *Position {
		p := &Position{Flavor: gtid.MySQL, File: file, Pos: pos, Server: "s"}
		if gtids != "" {
			p.GTIDs, _ = gtid.Parse(gtid.MySQL, gtids)
		}
		return p
	}
	other := at("b.1", 4, "")
	other.Server = "other"
	maria := at("b.1", 4, "")
	maria.Flavor = gtid.MariaDB
	for _, c := range []struct {
		name      string
		pos, head *Position
		want      bool
		fails     bool
	}{
		{"same place", at("b.000001", 4, ""), at("b.000001", 4, ""), true, false},
		{"before", at("b.000001", 4, ""), at("b.000001", 5, ""), false, false},
		{"later file", at("b.1000000", 4, ""), at("b.999999", 5000, ""), true, false},
		{"gtids win over places", at("b.000009", 4, uuid+":1-5"), at("b.000001", 4, uuid+":1-6"), false, false},
		{"gtids of another server", at("x.000001", 4, uuid+":1-6"), at("b.000001", 4, uuid+":1-6"), true, false},
		{"one has no gtids", at("b.000002", 4, uuid+":1-5"), at("b.000001", 4, ""), true, false},
		{"other server", other, at("b.1", 4, ""), false, true},
		{"other flavor", maria, at("b.1", 4, ""), false, true},
		{"other name", at("a.1", 4, ""), at("b.1", 4, ""), false, true},
		{"no number", at("a", 4, ""), at("b", 4, ""), false, true},
	} {
		got, err := c.pos.Covers(c.head)
		if got != c.want || (err != nil) != c.fails || err != nil && !errors.Is(err, ErrPosition) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestDump(t *testing.T) {
	var got []uint32
	for _, p := range []Position{{}, {Pos: 157}, {Pos: 5 << 30, From: 400}, {Pos: 5 << 30}} {
		got = append(got, p.Dump())
	}
	if d := cmp.Diff([]uint32{4, 157, 400, 4}, got); d != "" {
		t.Fatal(d)
	}
}

func TestParsePlace(t *testing.T) {
	if file, pos, ok := ParsePlace("binlog.000003:157"); file != "binlog.000003" || pos != 157 || !ok {
		t.Fatal(file, pos, ok)
	}
	for _, text := range []string{"", ":4", "binlog.1", "binlog.1:3", "binlog.1:x"} {
		if _, _, ok := ParsePlace(text); ok {
			t.Errorf("%q is a place", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"flavor":"mysql","file":"binlog.000003","pos":157,"gtid":"` + uuid + `:1-5"}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Decode(sdk.Position(text))
		if err != nil {
			return
		}
		again, err := Decode(p.Encode())
		if err != nil || again.Encode() != p.Encode() {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
