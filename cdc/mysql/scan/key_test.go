package scan

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// goldenKeys are keys as they are in positions: they must be read for ever.
func goldenKeys() map[string][]part {
	return map[string][]part{
		"k1~00000000~i-5":      {{kind: partInt, num: math.MaxUint64 - 4}},
		"k1~0123abcd~u7~tYWJj": {{kind: partUint, num: 7}, {kind: partText, text: []byte("abc")}},
		"k1~0123abcd~d-12.340~b_w~t": {{kind: partDecimal, text: []byte("-12.340")}, {kind: partBytes, text: []byte{0xff}},
			{kind: partText}},
		"k1~0123abcd~f3ff8000000000000~c-1~s0~y7": {{kind: partFloat, num: math.Float64bits(1.5)}, {kind: partClock, num: math.MaxUint64},
			{kind: partStamp}, {kind: partDate, num: 7}},
		"k1~0123abcd~wOjox": {{kind: partWord, text: []byte("::1")}},
	}
}

func TestKeyForm(t *testing.T) {
	for text, want := range goldenKeys() {
		print, parts, err := parseKey(Key(text))
		if err != nil || print != text[3:11] || !slices.EqualFunc(parts, want, samePart) {
			t.Errorf("%s: %s %+v %v", text, print, parts, err)
		}
	}
	for _, bad := range []string{"", "k1", "k1~", "k1~00000000", "k1~00000000~", "k2~00000000~i1", "k1~0000000~i1", "k1~0000000G~i1", "k1~0000000A~i1",
		"k1~00000000~x1", "k1~00000000~i", "k1~00000000~i1x", "k1~00000000~i+1", "k1~00000000~i01", "k1~00000000~i-0", "k1~00000000~i9223372036854775808",
		"k1~00000000~u-1", "k1~00000000~u18446744073709551616", "k1~00000000~d1;DROP", "k1~00000000~d", "k1~00000000~d.5", "k1~00000000~d5.", "k1~00000000~d--5", "k1~00000000~d1e5",
		"k1~00000000~f7ff0000000000000", "k1~00000000~f7ff8000000000001", "k1~00000000~f3FF8000000000000", "k1~00000000~f1", "k1~00000000~t=", "k1~00000000~tYW", "k1~00000000~tYR",
		"k1~00000000~wJyc", "k1~00000000~w", "k1~00000000~i1~", "k1~00000000~i1\n"} {
		if _, parts, err := parseKey(Key(bad)); err != errKey {
			t.Errorf("%q: %+v %v", bad, parts, err)
		}
	}
	long := Key("k1~00000000")
	for range keyPartsMax {
		long = append(long, "~i1"...)
	}
	if _, _, err := parseKey(long); err != nil {
		t.Errorf("%d parts: %v", keyPartsMax, err)
	}
	if _, _, err := parseKey(append(long, "~i1"...)); err != errKey {
		t.Errorf("%d parts: %v", keyPartsMax+1, err)
	}
}

func samePart(a, b part) bool {
	return a.kind == b.kind && a.num == b.num && bytes.Equal(a.text, b.text)
}

// TestKeyRoundTrip: what appendPart writes parseKey reads, and nothing in it
// needs quoting anywhere.
func TestKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key("k1~00000000")
		var want []part
		for range rapid.IntRange(1, keyPartsMax).Draw(t, "parts") {
			p := part{kind: rapid.SampledFrom([]byte{partInt, partUint, partText, partBytes, partDate, partStamp, partClock}).Draw(t, "kind")}
			if p.kind == partText || p.kind == partBytes {
				p.text = rapid.SliceOf(rapid.Byte()).Draw(t, "text")
			} else {
				p.num = rapid.Uint64().Draw(t, "num")
			}
			want, k = append(want, p), appendPart(k, p)
		}
		_, got, err := parseKey(k)
		if err != nil || !slices.EqualFunc(got, want, samePart) {
			t.Fatalf("%s: %+v %v", k, got, err)
		}
		if i := bytes.IndexFunc(k, func(r rune) bool {
			return r != '~' && r != '-' && r != '_' && r != '.' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
		}); i >= 0 {
			t.Fatalf("%s has %q", k, k[i])
		}
	})
}

// FuzzKey: any bytes are read or refused, and what is read writes itself again
// and makes a literal without a quote of its own.
func FuzzKey(f *testing.F) {
	for text := range goldenKeys() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, k []byte) {
		print, parts, err := parseKey(k)
		if err != nil {
			return
		}
		again := Key("k1~" + print)
		for _, p := range parts {
			again = appendPart(again, p)
			c := keyColumn{kind: p.kind, charset: "latin1", collation: "latin1_bin"}
			literal := c.appendLiteral(nil, p)
			if n := bytes.Count(literal, []byte("'")); n != 0 && (n != 2 || bytes.ContainsAny(literal, `\;`)) {
				t.Errorf("literal %s", literal)
			}
		}
		if !bytes.Equal(again, k) {
			t.Errorf("%s is written as %s", k, again)
		}
	})
}

// TestStale: a key of another definition is refused.
func TestStale(t *testing.T) {
	tab := &Table{key: []keyColumn{{name: "a", native: "int", kind: partInt}, {name: "b", native: "varchar(5)", kind: partText, charset: "latin1", collation: "latin1_bin"}}}
	tab.print = tab.fingerprint()
	good := appendPart(appendPart(Key("k1~"+tab.print), part{kind: partInt, num: 1}), part{kind: partText})
	if _, err := tab.decode(good); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*keyColumn){
		func(k *keyColumn) { k.name = "c" }, func(k *keyColumn) { k.native = "varchar(6)" }, func(k *keyColumn) { k.charset = "utf8mb4" },
		func(k *keyColumn) { k.collation = "latin1_swedish_ci" }, func(k *keyColumn) { k.desc = true },
	} {
		other := &Table{key: slices.Clone(tab.key)}
		change(&other.key[1])
		other.print = other.fingerprint()
		if _, err := other.decode(good); !fault.HasCode(err, CodeKeyStale) {
			t.Errorf("%+v: %v", other.key[1], err)
		}
	}
	for _, bad := range []Key{appendPart(Key("k1~"+tab.print), part{kind: partInt}), appendPart(appendPart(Key("k1~"+tab.print), part{kind: partUint}), part{kind: partText}), Key("x")} {
		if _, err := tab.decode(bad); !fault.HasCode(err, CodeKeyStale) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
