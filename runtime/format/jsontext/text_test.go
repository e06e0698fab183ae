package jsontext

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
)

func FuzzText(f *testing.F) {
	f.Add("a\xff\u2028<\x00\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendText(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		var want string
		std, _ := json.Marshal(s)
		if err := json.Unmarshal(std, &want); err != nil || got != want {
			t.Fatalf("%q: got %q, want %q", s, got, want)
		}
	})
}

// A character is written the same wherever it stands among others, which are
// looked at eight at a time: alone it is looked at alone.
func TestTextAnywhere(t *testing.T) {
	for _, c := range [][]byte{[]byte("é"), []byte("日"), []byte("\U0001F600"), {0xc3}, {0xf0, 0x9f}} {
		anywhere(t, c)
	}
	for c := range 256 {
		anywhere(t, []byte{byte(c)})
	}
}

func anywhere(t *testing.T, c []byte) {
	t.Helper()
	alone := string(AppendInner(nil, c))
	for before := range 18 {
		for after := range 10 {
			a, b := strings.Repeat("~", before), strings.Repeat(" ", after)
			text := a + string(c) + b
			if got, want := string(AppendInner(nil, text)), a+alone+b; got != want {
				t.Fatalf("%q: %s, want %s", text, got, want)
			}
			if got, want := string(AppendInner(nil, []byte(text))), a+alone+b; got != want {
				t.Fatalf("%q as bytes: %s, want %s", text, got, want)
			}
		}
	}
}

func BenchmarkText(b *testing.B) {
	for name, text := range map[string]string{"digits": strings.Repeat("68487932199-", 10), "umlauts": strings.Repeat("Grüße aus Köln ", 8), "kanji": strings.Repeat("日本語", 20)} {
		b.Run(name, func(b *testing.B) {
			v, dst := []byte(text), make([]byte, 0, 1024)
			b.SetBytes(int64(len(v)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendText(dst[:0], v)
			}
		})
	}
}

// Pairs as a Java shell prints them.
func TestAppendJavaFloat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		bits int
		want string
	}{
		{1, 32, "1.0"}, {0, 64, "0.0"}, {math.Copysign(0, -1), 64, "-0.0"}, {0.875, 32, "0.875"}, {float64(float32(22.2)), 32, "22.2"},
		{1e7, 64, "1.0E7"}, {9999999, 64, "9999999.0"}, {12345678.5, 64, "1.23456785E7"}, {0.001, 64, "0.001"}, {0.00099, 64, "9.9E-4"},
		{math.MaxFloat64, 64, "1.7976931348623157E308"}, {math.SmallestNonzeroFloat64, 64, "5.0E-324"}, {-1.5e-16, 64, "-1.5E-16"},
		{math.MaxFloat32, 32, "3.4028235E38"}, {16777216, 32, "1.6777216E7"}, {math.NaN(), 64, `"NaN"`}, {math.Inf(-1), 64, `"-Infinity"`},
		{math.MaxFloat64, 32, `"Infinity"`}, {-1e39, 32, `"-Infinity"`}, {1e-60, 32, "0.0"}, // no value of a FLOAT, and still JSON
	} {
		if got := string(AppendJavaFloat(nil, c.v, c.bits)); got != c.want {
			t.Errorf("%v in %d bits: %s, want %s", c.v, c.bits, got, c.want)
		}
	}
}

func TestAppendFloatBeyondItsWidth(t *testing.T) {
	for v, want := range map[float64]string{math.MaxFloat64: `"Infinity"`, -1e39: `"-Infinity"`, 1e-60: "0"} {
		if got := string(AppendFloat(nil, v, 32)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func FuzzFloat(f *testing.F) {
	f.Add(uint64(1), false)
	f.Fuzz(func(t *testing.T, u uint64, single bool) {
		v, bits := math.Float64frombits(u), 64
		if single {
			v, bits = float64(math.Float32frombits(uint32(u))), 32
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		for name, text := range map[string][]byte{"ECMAScript": AppendFloat(nil, v, bits), "Java": AppendJavaFloat(nil, v, bits)} {
			if back, err := strconv.ParseFloat(string(text), bits); err != nil || back != v || !json.Valid(text) {
				t.Errorf("%s: %v is written as %s, read back as %v (%v)", name, v, text, back, err)
			}
		}
	})
}
