package unit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/unit"
)

func TestBytes(t *testing.T) {
	for text, want := range map[string]unit.Bytes{
		"0": 0, "1B": 1, "64KiB": 64 << 10, "10MiB": 10 << 20, "1.5GiB": 3 << 29, "20 GiB": 20 << 30, "500MB": 500e6,
	} {
		var b unit.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v; want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "10", "ten MiB", "-1MiB", "10mib", "1e30TiB", "MiB"} {
		var b unit.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "MiB") {
			t.Errorf("%q: %v; want an error that names the units", text, err)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"50ms": 50 * time.Millisecond, "7d": 7 * 24 * time.Hour, "1.5d": 36 * time.Hour, "0s": 0,
	} {
		var d unit.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q: %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"", "7", "seven days", "-1s", "-2d"} {
		var d unit.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "7d") {
			t.Errorf("%q: %v; want an error that shows how", text, err)
		}
	}
}

func TestUnitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := unit.Bytes(rapid.Int64Range(0, 1<<50).Draw(t, "bytes"))
		var b2 unit.Bytes
		if err := b2.UnmarshalText([]byte(b.String())); err != nil || b2 != b {
			t.Fatalf("%v gave %v, %v", b, b2, err)
		}
		d := unit.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "duration"))
		var d2 unit.Duration
		if err := d2.UnmarshalText([]byte(d.String())); err != nil || d2 != d {
			t.Fatalf("%v gave %v, %v", d, d2, err)
		}
	})
}

func TestSecretNeverPrints(t *testing.T) {
	s := unit.NewSecret("hunter2")
	wrapped := struct{ DSN unit.Secret }{s}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{s, &s, wrapped, &wrapped} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "hunter2") {
				t.Errorf("%s printed the secret: %s", format, got)
			}
		}
	}
	if text, _ := s.MarshalText(); strings.Contains(string(text), "hunter2") {
		t.Error("MarshalText gave the secret away")
	}
	if s.Reveal() != "hunter2" || s.IsZero() || !(unit.Secret{}).IsZero() {
		t.Error("the secret is not kept")
	}
}
