package snapshot

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A row's id leads back to its request.
func TestBehindRequest(t *testing.T) {
	two := []Range{{UpTo: "5"}, {After: "5"}}
	c := Cursor{N: 7, For: []string{"*"}, Past: 40, Requests: []Request{
		{ID: 36, Tables: []string{"d.t"}, Work: Work{Open: []Progress{{Table: "d.t", Ranges: two}}}},
		{ID: 40, Tables: []string{"d.t"}, Work: Work{Open: []Progress{{Table: "d.t", Ranges: two}}}}}}
	back, err := ParseCursor(c.Encode())
	if d := cmp.Diff(c, back); err != nil || d != "" {
		t.Fatal(err, d)
	}
	tx := string(TxID(nil, 40, nil, "d.t", 1, []byte("9")))
	if tx != "snapshot/14/d.t/1/9" || !IsTx(tx) {
		t.Errorf("%s", tx)
	}
	got, err := c.Behind(tx, true)
	want := c.clone()
	want.N, want.Requests[1].Open[0].Ranges[1].After = 8, "9"
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
	if c.Requests[1].Open[0].Ranges[1].After != "5" {
		t.Error("the cursor before is changed")
	}
	for _, bad := range []string{"snapshot/15/d.t/1/9", "snapshot/d.t/1/9", "snapshot/0/d.t/1/9", "snapshot/!/d.t/1/9", "snapshot/14/d.t/2/9", "snapshot/14/d.u/1/9"} {
		if _, err := c.Behind(bad, true); !errors.Is(err, ErrCursor) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, n := range []Name{{"shop", "orders"}, {"a.b", "c/d"}, {"ü x", "%2E"}, {"", "t"}} {
		if got, ok := ParseName(n.String()); !ok || got != n {
			t.Errorf("%q -> %q -> %q, %v", n, n.String(), got, ok)
		}
	}
	for _, bad := range []string{"", "shop", "a.b.c", "a%2.b", "a b.c"} {
		if n, ok := ParseName(bad); ok {
			t.Errorf("%q is %q", bad, n)
		}
	}
}
