package config

import "testing"

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"cdc.shop.>", "cdc.stock.>", false},
		{"cdc.shop.>", "cdc.shop.>", true},
		{"cdc.>", "cdc.shop.>", true},
		{"cdc.*.>", "cdc.shop.>", true},
		{"a.*.c", "a.b.*", true},
		{"a.*.c", "a.b.d", false},
		{"a.b", "a.b.c", false},
		{"a.b", "a.b", true},
		{"a.>", "a", false},
	} {
		if got := overlap(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
		if got := overlap(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: %v", c.b, c.a, got)
		}
	}
}

type sharing string

func (s sharing) SharedSubjects(pipeline string) string {
	if s == "" {
		return ""
	}
	return string(s) + "." + pipeline + ".>"
}

func TestWhoMayShareAStream(t *testing.T) {
	at := func(name string, sink any) Pipeline { return Pipeline{Name: name, Sink: Component{Value: sink}} }
	for _, c := range []struct {
		name string
		a, b Pipeline
		want bool
	}{
		{"both share, subjects differ", at("a", sharing("cdc")), at("b", sharing("cdc")), true},
		{"both share, the same subjects", at("a", sharing("cdc")), at("a", sharing("cdc")), false},
		{"one has a chain", at("a", sharing("cdc")), at("b", sharing("")), false},
		{"another kind of sink", at("a", sharing("cdc")), at("b", struct{}{}), false},
	} {
		if got := mayShare(c.a, c.b); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
