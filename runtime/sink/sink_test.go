package sink_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

func TestPlaceRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := sink.Place{
			Tx:  rapid.StringMatching(`[!-~]{1,60}`).Draw(t, "tx"),
			Row: rapid.Uint64().Draw(t, "row"), Part: rapid.Uint32().Draw(t, "part"),
			Parts: rapid.Uint32().Draw(t, "parts"), N: rapid.Uint64().Draw(t, "n"),
		}
		got, err := sink.ParsePlace(p.String())
		if err != nil || !cmp.Equal(got, p) {
			t.Fatalf("%q read as %+v, %v", p, got, err)
		}
	})
}

func TestParsePlaceRefuses(t *testing.T) {
	for _, s := range []string{"", "-", "tx", "tx#1.0/1", "#1.0/1#0", "tx#1.0/4294967296#0", "tx#x.0/1#0", "tx#1.0/1#-1", "tx#1/1#0"} {
		if p, err := sink.ParsePlace(s); err == nil {
			t.Errorf("%q read as %+v", s, p)
		}
	}
}
