package gtid

import (
	"strings"
	"testing"
)

// TestRemove takes single transactions out of sets.
func TestRemove(t *testing.T) {
	const u = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	for _, c := range [][3]string{
		{u + ":1-5", u + ":3", u + ":1-2:4-5"},
		{u + ":1-5", u + ":1", u + ":2-5"},
		{u + ":1-5", u + ":5", u + ":1-4"},
		{u + ":1-5:7", u + ":7", u + ":1-5"},
		{u + ":1-5:t:1-3", u + ":t:2", u + ":1-5:t:1:3"},
		{u + ":1-5", u + ":t:2", u + ":1-5"},
		{u + ":1-5", u + ":6", u + ":1-5"},
		{u + ":4", u + ":4", ""},
	} {
		set, err := Parse(MySQL, c[0])
		if err != nil {
			t.Fatal(err)
		}
		id, err := ParseID(MySQL, c[1])
		if err != nil {
			t.Fatal(err)
		}
		set.Remove(id)
		if set.String() != c[2] || set.Has(id) {
			t.Errorf("%s without %s is %s", c[0], c[1], set)
		}
		if had := strings.Contains(c[0], ":t") == (id.Tag != ""); had && id.Number != 6 {
			set.Add(id)
			if set.String() != c[0] {
				t.Errorf("with it again %s", set)
			}
		}
	}
}

// TestDomains: the last transaction of a domain of MariaDB.
func TestDomains(t *testing.T) {
	set, err := Parse(MariaDB, "0-1-100,5-2-7")
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Last(5).String(); got != "5-2-7" {
		t.Error(got)
	}
	if !set.Last(6).IsZero() {
		t.Error("a domain that is not there")
	}
	set.Forget(0)
	if set.String() != "5-2-7" {
		t.Error(set)
	}
}
