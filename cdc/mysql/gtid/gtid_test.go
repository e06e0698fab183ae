package gtid

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"pgregory.net/rapid"
)

const (
	a = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	b = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		flavor     Flavor
		text, want string
	}{
		{MySQL, "", ""},
		{MySQL, a + ":1-5", a + ":1-5"},
		{MySQL, strings.ToUpper(a) + ":1-5", a + ":1-5"},
		{MySQL, strings.ReplaceAll(a, "-", "") + ":7", a + ":7"},
		{MySQL, a + ":5:1-3:4", a + ":1-5"},
		{MySQL, a + ":1-3:2-9:11", a + ":1-9:11"},
		{MySQL, a + ":1-5:tag:7-9", a + ":1-5:tag:7-9"},
		{MySQL, a + ":tag:7-9:b:1," + a + ":3", a + ":3:b:1:tag:7-9"},
		{MySQL, a + ": Tag_1 :1", a + ":tag_1:1"},
		{MySQL, b + ":1,\n" + a + ":2", a + ":2," + b + ":1"},
		{MariaDB, "0-1-100,1-2-5", "0-1-100,1-2-5"},
		{MariaDB, " 7-1-3 , 0-4-1 ", "0-4-1,7-1-3"},
		{MariaDB, "", ""},
	} {
		s, err := Parse(c.flavor, c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		} else if got := s.String(); got != c.want {
			t.Errorf("%q gives %q, not %q", c.text, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		flavor Flavor
		text   string
	}{
		{MySQL, "x"}, {MySQL, a}, {MySQL, a + ":"}, {MySQL, a + ":0"}, {MySQL, a + ":5-1"},
		{MySQL, a + ":tag"}, {MySQL, a + ":tag:tag:1"}, {MySQL, a + ":1:tag"}, {MySQL, a + ":1-"},
		{MySQL, a + ":9223372036854775807"}, {MySQL, a + ":1tag:1"}, {MySQL, a + ":ta g:1"},
		{MySQL, a + ":" + strings.Repeat("t", 33) + ":1"}, {MySQL, strings.Replace(a, "-", "x", 1) + ":1"},
		{MariaDB, "0-1"}, {MariaDB, "0-1-2-3"}, {MariaDB, "0-1-x"}, {MariaDB, "4294967296-1-1"}, {MariaDB, "0-1-1,0-2-2"},
		{Flavor(9), "0-1-1"},
	} {
		if s, err := Parse(c.flavor, c.text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q gives %v, %v", c.text, s, err)
		}
	}
}

// TestTagsKeepApart is the case that a set without tags gets wrong: tagged 500
// must not stand for untagged 500.
func TestTagsKeepApart(t *testing.T) {
	s, _ := Parse(MySQL, a+":1-10")
	foo, _ := ParseID(MySQL, a+":foo:500")
	s.Add(foo)
	for _, n := range []string{":11", ":12"} {
		id, err := ParseID(MySQL, a+n)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(id)
	}
	if got := s.String(); got != a+":1-12:foo:500" {
		t.Fatalf("set %s", got)
	}
	if plain, _ := ParseID(MySQL, a+":500"); s.Has(plain) || !s.Has(foo) {
		t.Fatal("tagged and untagged are mixed up")
	}
}

func TestContains(t *testing.T) {
	for _, c := range []struct {
		flavor   Flavor
		set, sub string
		want     bool
	}{
		{MySQL, a + ":1-5", a + ":2-4", true},
		{MySQL, a + ":1-5:7-9", a + ":4-8", false},
		{MySQL, a + ":1-5:7-9", a + ":7-9", true},
		{MySQL, a + ":1-5", "", true},
		{MySQL, "", a + ":1", false},
		{MySQL, a + ":1-5", a + ":t:1", false},
		{MySQL, a + ":1-5", b + ":1", false},
		{MariaDB, "0-1-100", "0-2-99", true},
		{MariaDB, "0-1-100", "0-1-101", false},
		{MariaDB, "0-1-100", "0-1-1,1-1-1", false},
	} {
		s, _ := Parse(c.flavor, c.set)
		sub, _ := Parse(c.flavor, c.sub)
		if got := s.Contains(sub); got != c.want {
			t.Errorf("%q contains %q: %v", c.set, c.sub, got)
		}
	}
}

func drawID(t *rapid.T) ID {
	if rapid.Bool().Draw(t, "mariadb") {
		return ID{Flavor: MariaDB, Domain: rapid.Uint32().Draw(t, "domain"),
			Server: rapid.Uint32().Draw(t, "server"), Number: rapid.Uint64().Draw(t, "seq")}
	}
	id := ID{Flavor: MySQL, Tag: rapid.SampledFrom([]string{"", "", "a", "tag_2"}).Draw(t, "tag"),
		Number: rapid.Uint64Range(1, 40).Draw(t, "number")}
	id.Source[15] = rapid.ByteRange(0, 2).Draw(t, "source")
	return id
}

func TestIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t)
		got, err := ParseID(id.Flavor, id.String())
		if err != nil || got != id {
			t.Fatalf("%v gives %v, %v", id, got, err)
		}
	})
}

// TestSetAgainstModel checks a MySQL set against a plain map of its members.
func TestSetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.Custom(drawID).Filter(func(id ID) bool { return id.Flavor == MySQL })).Draw(t, "ids")
		s, model := New(MySQL), map[ID]bool{}
		for i, id := range ids {
			before := s.Clone()
			s.Add(id)
			model[id] = true
			if !s.Contains(before) || before.Contains(s) != (before.Has(id)) {
				t.Fatalf("after %d: %v, before %v", i, s, before)
			}
		}
		probe := drawID(t)
		if probe.Flavor == MySQL && s.Has(probe) != model[probe] {
			t.Fatalf("%v has %v: %v", s, probe, s.Has(probe))
		}
		again, err := Parse(MySQL, s.String())
		if err != nil || !again.Equal(s) || again.String() != s.String() {
			t.Fatalf("%v parses as %v, %v", s, again, err)
		}
		wire, err := mysql.DecodeMysqlGTIDSet(s.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if wire, err := Parse(MySQL, wire.String()); err != nil || !wire.Equal(s) {
			t.Fatalf("%v is encoded as %v, %v", s, wire, err)
		}
	})
}

// TestMinus compares with counting one by one.
func TestMinus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine := rapid.Custom(drawID).Filter(func(id ID) bool { return id.Flavor == MySQL })
		all, out := rapid.SliceOf(mine).Draw(t, "all"), rapid.SliceOf(mine).Draw(t, "out")
		s, o, want := New(MySQL), New(MySQL), New(MySQL)
		for _, id := range out {
			o.Add(id)
		}
		for _, id := range all {
			s.Add(id)
			if !o.Has(id) {
				want.Add(id)
			}
		}
		if got := s.Minus(o); !got.Equal(want) || got.IsEmpty() != o.Contains(s) {
			t.Fatalf("%v without %v is %v, want %v", s, o, got, want)
		}
	})
	s, _ := Parse(MariaDB, "0-1-100,1-2-5,2-1-1")
	o, _ := Parse(MariaDB, "0-9-100,1-2-4")
	if got := s.Minus(o).String(); got != "1-2-5,2-1-1" {
		t.Fatal(got)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	s, _ := Parse(MySQL, a+":1-5:tag:1-4,"+b+":1-100")
	id, _ := ParseID(MySQL, a+":tag:5")
	if n := testing.AllocsPerRun(100, func() {
		s.Add(id)
		id.Number++
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(a+":1-5:tag:7-9,"+b+":3", true)
	f.Add("0-1-100,1-2-5", false)
	f.Fuzz(func(t *testing.T, text string, my bool) {
		flavor := MariaDB
		if my {
			flavor = MySQL
		}
		s, err := Parse(flavor, text)
		if err != nil {
			return
		}
		again, err := Parse(flavor, s.String())
		if err != nil || !again.Equal(s) || !s.Contains(again) || !again.Contains(s) {
			t.Fatalf("%q: %v, then %v, %v", text, s, again, err)
		}
	})
}
