package consume_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/sdk/consume"
)

func TestKeys(t *testing.T) {
	for text, want := range map[string]consume.Key{
		"shop.orders.17":             {"shop", "orders", []string{"17"}},
		"shop.order=20items.17.=":    {"shop", "order items", []string{"17", ""}},
		"=5Fkv.t.=00=FF.a=2Eb":       {"_kv", "t", []string{"\x00\xff", "a.b"}},
		"shop.events.2026-01-02.-3e": {"shop", "events", []string{"2026-01-02", "-3e"}},
	} {
		got, err := consume.ParseKey(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, bad := range []string{"", "shop", "shop.orders", "shop..1", "shop.orders.1 2", "shop.orders.=G"} {
		if k, err := consume.ParseKey(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, k)
		}
	}
}
