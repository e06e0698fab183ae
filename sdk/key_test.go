package sdk_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/sdk"
)

// What NATS takes as a key; see nats.go, jetstream/kv.go.
var validKey = regexp.MustCompile(`^[-/_=\.a-zA-Z0-9]+$`)

func TestKeyTokens(t *testing.T) {
	for value, want := range map[string]string{
		"": "=", "17": "17", "-17": "-17", "a.b": "a=2Eb", "=": "=3D", "=41": "=3D41", "a b*>": "a=20b=2A=3E", "ü": "=C3=BC",
		"\x00\xff": "=00=FF", "2026-01-02T03:04:05Z": "2026-01-02T03=3A04=3A05Z", "_x/y-Z": "_x/y-Z",
	} {
		if got := string(sdk.AppendKeyToken(nil, []byte(value))); got != want {
			t.Errorf("%q is written %q, want %q", value, got, want)
		}
	}
	for _, bad := range []string{"", "=4", "=GG", "=ff", "a b", "a.b", "ü", "x="} {
		if v, ok := sdk.ParseKeyToken(bad); ok {
			t.Errorf("%q was read as %q", bad, v)
		}
	}
	for db, want := range map[string]string{"shop": "shop.t.", "_kv": "=5Fkv.t.", "_": "=5F.t.", "": "=.t.", "__": "=5F_.t."} {
		if got := string(sdk.AppendKeyTable(nil, db, "t")); got != want {
			t.Errorf("database %q gives %q, want %q", db, got, want)
		}
	}
}

// Every value comes back, no two have one token, and NATS takes it.
func TestKeyTokensAreReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := string(rapid.SliceOf(rapid.Byte()).Draw(t, "value"))
		token := string(sdk.AppendKeyToken(nil, []byte(value)))
		if !validKey.MatchString(token) || strings.Contains(token, ".") {
			t.Fatalf("%q is no token of a key", token)
		}
		if got, ok := sdk.ParseKeyToken(token); !ok || got != value {
			t.Fatalf("%q is written %q and reads %q", value, token, got)
		}
	})
}

// Keys come from whoever writes to the bucket.
func FuzzParseKeyToken(f *testing.F) {
	for _, s := range []string{"17", "=", "=2E", "=GG", "", "a="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		value, ok := sdk.ParseKeyToken(token)
		if !ok {
			return
		}
		if again, ok := sdk.ParseKeyToken(string(sdk.AppendKeyToken(nil, []byte(value)))); !ok || again != value {
			t.Errorf("%q reads %q, and that reads %q", token, value, again)
		}
	})
}
