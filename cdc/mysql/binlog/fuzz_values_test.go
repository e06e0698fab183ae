package binlog

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/sdk"
)

// charsetNames are all that a column may have.
const charsetNames = "armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030 " +
	"gb2312 gbk geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ucs2 ujis " +
	"utf16 utf16le utf32 utf8mb3 utf8mb4"

// FuzzText reads any bytes as text of any character set: what comes out is
// UTF-8, bounded, and the same as before after the decoder was used for
// something else.
func FuzzText(f *testing.F) {
	names := strings.Fields(charsetNames)
	for i := range names {
		f.Add(byte(i), []byte("plain"))
		f.Add(byte(i), []byte{0x81, 0x30, 0x81, 0x30, 0x8f, 0xa1, 0xa1, 0x80, 0xff, 0xfe, 0xd8, 0x3d, 0xde, 0x00})
	}
	sets := map[string]*charset{}
	for _, name := range names {
		sets[name] = newCharset(name)
	}
	f.Fuzz(func(t *testing.T, which byte, v []byte) {
		name := names[int(which)%len(names)]
		c := sets[name]
		out, err := c.append([]byte("x"), v)
		if len(out) == 0 || out[0] != 'x' {
			t.Fatalf("%s %x: what was there is gone: %q", name, v, out)
		}
		if name == charsetBinary {
			return
		}
		if err == nil && (!utf8.Valid(out) || len(out) > 1+4*len(v)) {
			t.Fatalf("%s %x: %q", name, v, out)
		}
		if c.plain(v) && (err != nil || string(out[1:]) != string(v)) {
			t.Fatalf("%s %x is plain, and read as %q (%v)", name, v, out, err)
		}
		again, err2 := newCharset(name).append([]byte("x"), v)
		if (err == nil) != (err2 == nil) || err == nil && string(again) != string(out) {
			t.Fatalf("%s %x: %q (%v), by a new decoder %q (%v)", name, v, out, err, again, err2)
		}
	})
}

// FuzzInline reads any bytes as any type whose values live in a slot, and
// prints what comes out.
func FuzzInline(f *testing.F) {
	for k := range byte(kindHeap) {
		f.Add(k, byte(3), bytes.Repeat([]byte{0xff}, 8))
		f.Add(k, byte(6), []byte{0x80, 0, 0, 1, 2, 3, 4, 5})
	}
	types := map[kind]sdk.Type{kindFloat32: sdk.TypeFloat32, kindFloat64: sdk.TypeFloat64, kindYear: sdk.TypeYear, kindBit: sdk.TypeBit,
		kindDate: sdk.TypeDate, kindOldTime: sdk.TypeTime, kindTime2: sdk.TypeTime, kindOldDateTime: sdk.TypeDateTime,
		kindDateTime2: sdk.TypeDateTime, kindOldTimestamp: sdk.TypeTimestamp, kindTimestamp2: sdk.TypeTimestamp,
		kindHiresTime: sdk.TypeTime, kindHiresDateTime: sdk.TypeDateTime, kindHiresTimestamp: sdk.TypeTimestamp}
	f.Fuzz(func(t *testing.T, which, digits byte, p []byte) {
		k := kind(which) % kindHeap
		c := column{kind: k, size: inlineSize(k, int(digits%7)), digits: int(digits % 7)}
		if k == kindBit {
			c.size = int(digits)%8 + 1
		}
		slot, n, err := c.inline(p)
		if err != nil {
			return
		}
		if n != c.size || n > len(p) {
			t.Fatalf("%d of %d bytes, want %d", n, len(p), c.size)
		}
		typ := types[k]
		if typ == sdk.TypeInvalid {
			typ = sdk.TypeInt
		}
		s := &sdk.Schema{ID: 1, Columns: []sdk.Column{{Name: "v", Type: typ, Scale: uint8(c.digits)}}}
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 0)
		b.After().SetSlot(0, slot)
		if text := b.After().AppendText(nil, &s.Columns[0], 0); len(text) == 0 || len(text) > 340 {
			t.Fatalf("%v %x: %q", typ, p, text)
		}
	})
}

// inlineSize is the bytes of a kind with the given number of fractional digits.
func inlineSize(k kind, digits int) int {
	switch k {
	case kindInt8, kindUint8, kindYear:
		return 1
	case kindInt16, kindUint16:
		return 2
	case kindInt24, kindUint24, kindDate, kindOldTime:
		return 3
	case kindInt32, kindUint32, kindFloat32, kindOldTimestamp:
		return 4
	case kindTime2:
		return 3 + fractionBytes(digits)
	case kindTimestamp2:
		return 4 + fractionBytes(digits)
	case kindDateTime2:
		return 5 + fractionBytes(digits)
	case kindHiresTime, kindHiresDateTime, kindHiresTimestamp:
		return hiresBytes(k, digits)
	}
	return 8
}

// FuzzColumnZlib expands any value of MariaDB's COMPRESSED columns; what it
// takes is bounded.
func FuzzColumnZlib(f *testing.F) {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(bytes.Repeat([]byte("a"), 1000)); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0x82, 0x03, 0xe8}, packed.Bytes()...))
	f.Add(append([]byte{0x84, 0xff, 0xff, 0xff, 0xff}, packed.Bytes()...))
	f.Add([]byte{0, 'p', 'l', 'a', 'i', 'n'})
	f.Fuzz(func(t *testing.T, v []byte) {
		z := columnZlib{max: 1 << 20}
		for range 2 { // the reader is used again
			out, err := z.expand(v)
			if most := max(len(v), z.max); len(out) > most || cap(z.buf) > 2*most {
				t.Fatalf("%d bytes became %d in %d (%v)", len(v), len(out), cap(z.buf), err)
			}
		}
	})
}
