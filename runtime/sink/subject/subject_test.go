package subject_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

func TestRender(t *testing.T) {
	for _, tt := range []struct{ template, want, control, all string }{
		{subject.Default, "cdc.shop.s%2E1.caf%20é", "cdc.shop._cdcd", "cdc.shop.>"},
		{"x.{pipeline}.{table}", "x.shop.caf%20é", "x.shop._cdcd", "x.shop.>"},
		{"{pipeline}.t-{table}.{db}", "shop.t-caf%20é.s%2E1", "shop._cdcd", "shop.>"},
		{"a.{pipeline}.all", "a.shop.all", "a.shop._cdcd", "a.shop.>"},
	} {
		tpl, err := subject.Parse(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(tpl.Append(nil, "shop", "s.1", "caf é")); got != tt.want {
			t.Errorf("%s: subject %q, want %q", tt.template, got, tt.want)
		}
		if got := tpl.Control("shop"); got != tt.control {
			t.Errorf("%s: control subject %q, want %q", tt.template, got, tt.control)
		}
		if got := tpl.All("shop"); got != tt.all {
			t.Errorf("%s: stream subject %q, want %q", tt.template, got, tt.all)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for _, text := range []string{
		"", "cdc", "cdc.{db}", "cdc.{pipeline}.{schema}", "cdc.{pipeline}.{db", "cdc.{pipeline}.db}", "cdc..{pipeline}",
		"cdc.{pipeline}.*", "cdc.{pipeline}.>", "cdc.{pipeline}.a b", "cdc.{pipeline}.a%b", "cdc.{db}.{pipeline}",
		"$JS.{pipeline}.x", "cdc.{pipeline}._cdcd", "cdc.x{pipeline}.{db}", "cdc.{pipeline}.a\tb", ".{pipeline}", "{pipeline}.",
	} {
		_, err := subject.Parse(text)
		if !fault.HasCode(err, subject.CodeTemplate) || fault.ExitCode(err) != 2 || fault.Of(err).Hint == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTokensRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		token := string(subject.AppendToken(nil, name))
		if token == "" || strings.ContainsAny(token, " .*>\t\r\n\x00") {
			t.Fatalf("%q gives the token %q", name, token)
		}
		back, err := subject.Name(token)
		if err != nil || back != name {
			t.Fatalf("%q -> %q -> %q, %v", name, token, back, err)
		}
	})
}

func TestDifferentNamesDifferentSubjects(t *testing.T) {
	tpl, err := subject.Parse(subject.Default)
	if err != nil {
		t.Fatal(err)
	}
	name := rapid.SampledFrom([]string{"", "%", "a", "a.b", "b", "%2E", ".", "a%b", "_cdcd", "*", ">"})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c, d := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c"), name.Draw(t, "d")
		one, two := string(tpl.Append(nil, "p", a, b)), string(tpl.Append(nil, "p", c, d))
		if (one == two) != (a == c && b == d) {
			t.Fatalf("(%q, %q) -> %q; (%q, %q) -> %q", a, b, one, c, d, two)
		}
		short, err := subject.Parse("cdc.{pipeline}.{db}")
		if err != nil {
			t.Fatal(err)
		}
		if string(short.Append(nil, "p", a, b)) == short.Control("p") {
			t.Fatalf("database %q -> the control subject", a)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"%", "a%2Eb", "%zz", "", "%2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		name, err := subject.Name(token)
		if err != nil {
			return
		}
		if again, err := subject.Name(string(subject.AppendToken(nil, name))); err != nil || again != name {
			t.Fatalf("%q -> %q -> %q, %v", token, name, again, err)
		}
	})
}

func TestAppendAllocatesNothing(t *testing.T) {
	tpl, err := subject.Parse(subject.Default)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() { buf = tpl.Append(buf[:0], "shop", "s.1", "orders") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
