package binlog

import (
	"bytes"
	"errors"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/transform"
)

// charsetBinary is the name of the character set of bytes that are no text.
const charsetBinary = "binary"

// charsetOf returns the character set of a collation id of MySQL or MariaDB,
// "" for an id that neither has. Sources: information_schema.COLLATIONS of MySQL
// 9.7 and COLLATION_CHARACTER_SET_APPLICABILITY of MariaDB 10.11, which never
// give one id two meanings; TestCollations asks them again.
func charsetOf(id uint32) string {
	const first = "- big5 latin2 dec8 cp850 latin1 hp8 koi8r latin1 latin2 swe7 ascii ujis sjis cp1251 latin1 " +
		"hebrew - tis620 euckr latin7 latin2 koi8u cp1251 gb2312 greek cp1250 latin2 gbk cp1257 latin5 latin1 " +
		"armscii8 utf8mb3 cp1250 ucs2 cp866 keybcs2 macce macroman cp852 latin7 latin7 macce cp1250 utf8mb4 " +
		"utf8mb4 latin1 latin1 latin1 cp1251 cp1251 cp1251 macroman utf16 utf16 utf16le cp1256 cp1257 cp1257 " +
		"utf32 utf32 utf16le binary armscii8 ascii cp1250 cp1256 cp866 dec8 greek hebrew hp8 keybcs2 koi8r " +
		"koi8u utf8mb3 latin2 latin5 latin7 cp850 cp852 swe7 utf8mb3 big5 euckr gb2312 gbk sjis tis620 ucs2 " +
		"ujis geostd8 geostd8 latin1 cp932 cp932 eucjpms eucjpms cp1250 -"
	switch {
	case id <= 100:
		if name := strings.Fields(first)[id]; name != "-" {
			return name
		}
		return ""
	case id > 1024 && id < 1280: // MariaDB: the same without padding
		return charsetOf(id - 1024)
	}
	for _, r := range []struct {
		from, to uint32
		name     string
	}{
		{101, 124, "utf16"}, {128, 159, "ucs2"}, {160, 183, "utf32"}, {192, 223, "utf8mb3"},
		{224, 247, "utf8mb4"}, {248, 250, "gb18030"}, {255, 323, "utf8mb4"},
		{576, 578, "utf8mb3"}, {608, 610, "utf8mb4"}, {640, 642, "ucs2"}, {672, 674, "utf16"}, {736, 738, "utf32"},
		{2048, 2303, "utf8mb3"}, {2304, 2559, "utf8mb4"}, {2560, 2815, "ucs2"}, // MariaDB: uca1400
		{2816, 3071, "utf16"}, {3072, 3327, "utf32"},
	} {
		if id >= r.from && id <= r.to {
			return r.name
		}
	}
	return ""
}

// charset turns text of one character set into UTF-8. It is used by one
// goroutine.
type charset struct {
	name   string
	form   textForm
	table  *[256]rune // of formTable
	decode transform.Transformer
	over   []override // of formMulti, in order
}

// override is a run of sequences that the server reads in its own way.
type override struct {
	first, last uint32
	r           rune // of first; utf8.RuneError where the server has none
}

type textForm uint8

const (
	formBytes textForm = iota // no text
	formUTF8
	formTable
	formUTF16BE
	formUTF16LE
	formUCS2
	formUTF32
	formMulti
)

// newCharset returns the decoder of a character set, nil for one that is not
// known.
func newCharset(name string) *charset {
	switch name {
	case charsetBinary:
		return &charset{name: name}
	case "utf8mb4", "utf8mb3", "utf8":
		return &charset{name: name, form: formUTF8}
	case "utf16":
		return &charset{name: name, form: formUTF16BE}
	case "utf16le":
		return &charset{name: name, form: formUTF16LE}
	case "ucs2":
		return &charset{name: name, form: formUCS2}
	case "utf32":
		return &charset{name: name, form: formUTF32}
	}
	if e := multiByte(name); e != nil {
		return &charset{name: name, form: formMulti, decode: e.NewDecoder().Transformer, over: parseOverrides(overrides(name))}
	}
	upper := upperHalf(name)
	switch name {
	case "ascii", "swe7":
		upper = strings.Repeat("\ufffd", 128)
	}
	if upper == "" {
		return nil
	}
	c := &charset{name: name, form: formTable, table: &[256]rune{}}
	for i := range 128 {
		c.table[i] = rune(i)
	}
	for i, r := range []rune(upper) {
		c.table[128+i] = r
	}
	if name == "swe7" {
		for i, r := range map[byte]rune{'@': 'É', '[': 'Ä', '\\': 'Ö', ']': 'Å', '^': 'Ü', '`': 'é',
			'{': 'ä', '|': 'ö', '}': 'å', '~': 'ü', 0x7f: utf8.RuneError} {
			c.table[i] = r
		}
	}
	return c
}

func multiByte(name string) encoding.Encoding {
	switch name {
	case "big5":
		return traditionalchinese.Big5
	case "gb2312", "gbk":
		return simplifiedchinese.GBK
	case "gb18030":
		return simplifiedchinese.GB18030
	case "sjis", "cp932":
		return japanese.ShiftJIS
	case "ujis", "eucjpms":
		return japanese.EUCJP
	case "euckr":
		return korean.EUCKR
	}
	return nil
}

var errText = errors.New("the bytes are no valid text of the column's character set")

// plain reports whether v is UTF-8 already, as it is in most character sets
// when it has nothing but ASCII.
func (c *charset) plain(v []byte) bool {
	switch c.form {
	case formBytes:
		return true
	case formUTF8:
		return utf8.Valid(v)
	case formTable:
		return isASCII(v) && c.name != "swe7"
	case formMulti:
		return isASCII(v)
	}
	return len(v) == 0
}

func isASCII(v []byte) bool {
	const high = 0x8080808080808080
	for len(v) >= 32 {
		if (le.Uint64(v)|le.Uint64(v[8:])|le.Uint64(v[16:])|le.Uint64(v[24:]))&high != 0 {
			return false
		}
		v = v[32:]
	}
	for len(v) >= 8 {
		if le.Uint64(v)&high != 0 {
			return false
		}
		v = v[8:]
	}
	for _, b := range v {
		if b >= 0x80 {
			return false
		}
	}
	return true
}

// append appends v as UTF-8. It gives errText rather than a replacement for
// what has no meaning.
func (c *charset) append(dst, v []byte) ([]byte, error) {
	switch c.form {
	case formTable:
		for _, b := range v {
			r := c.table[b]
			if r == utf8.RuneError {
				return dst, errText
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, nil
	case formUTF16BE, formUTF16LE, formUCS2:
		return c.appendUTF16(dst, v)
	case formUTF32:
		for ; len(v) >= 4; v = v[4:] {
			r := rune(v[0])<<24 | rune(v[1])<<16 | rune(v[2])<<8 | rune(v[3])
			if !utf8.ValidRune(r) {
				return dst, errText
			}
			dst = utf8.AppendRune(dst, r)
		}
		if len(v) != 0 {
			return dst, errText
		}
		return dst, nil
	case formMulti:
		return c.appendMulti(dst, v)
	}
	if !c.plain(v) {
		return dst, errText
	}
	return append(dst, v...), nil
}

func (c *charset) appendUTF16(dst, v []byte) ([]byte, error) {
	unit := func(i int) rune {
		if c.form == formUTF16LE {
			return rune(v[i]) | rune(v[i+1])<<8
		}
		return rune(v[i])<<8 | rune(v[i+1])
	}
	if len(v)%2 != 0 {
		return dst, errText
	}
	for i := 0; i < len(v); i += 2 {
		r := unit(i)
		if utf16.IsSurrogate(r) {
			if c.form == formUCS2 || i+4 > len(v) {
				return dst, errText
			}
			i += 2
			if r = utf16.DecodeRune(r, unit(i)); r == utf8.RuneError {
				return dst, errText
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

// parseOverrides reads what overrides returns, which is part of the program.
func parseOverrides(list string) (out []override) {
	hex := func(text string) uint32 {
		v, _ := strconv.ParseUint(text, 16, 32)
		return uint32(v)
	}
	for _, run := range strings.Fields(list) {
		seq, r, known := strings.Cut(run, "=")
		first, last, more := strings.Cut(seq, "-")
		o := override{first: hex(first), last: hex(first), r: utf8.RuneError}
		if more {
			o.last = hex(last)
		}
		if known {
			o.r = rune(hex(r))
		}
		out = append(out, o)
	}
	return out
}

// appendMulti decodes through golang.org/x/text, but for the sequences that the
// server reads in its own way.
func (c *charset) appendMulti(dst, v []byte) ([]byte, error) {
	from, err := 0, error(nil)
	for at := 0; at < len(v); {
		if v[at] == 0x80 { // begins no character of any of them
			return dst, errText
		}
		n := c.sequence(v[at:])
		o := c.find(v[at : at+n])
		if o == nil {
			at += n
			continue
		}
		if o.r == utf8.RuneError {
			return dst, errText
		}
		if dst, err = c.transform(dst, v[from:at]); err != nil {
			return dst, err
		}
		dst = utf8.AppendRune(dst, o.r+rune(number(v[at:at+n])-o.first))
		at += n
		from = at
	}
	return c.transform(dst, v[from:])
}

// sequence returns the bytes of the character at the beginning of v, fewer where
// v ends inside it.
func (c *charset) sequence(v []byte) int {
	n := 2
	switch b := v[0]; {
	case b < 0x80:
		n = 1
	case b == 0x8f && (c.name == "ujis" || c.name == "eucjpms"): // the third set of EUC-JP
		n = 3
	case b >= 0xa1 && b <= 0xdf && (c.name == "sjis" || c.name == "cp932"): // the half-width katakana of Shift JIS
		n = 1
	case c.name == "gb18030" && len(v) > 1 && v[1] >= '0' && v[1] <= '9':
		n = 4
	}
	return min(n, len(v))
}

// number reads a sequence as a big-endian number.
func number(v []byte) (n uint32) {
	for _, b := range v {
		n = n<<8 | uint32(b)
	}
	return n
}

// find returns the run that the sequence is in, nil for none.
func (c *charset) find(seq []byte) *override {
	if seq[0] < 0x80 || len(seq) > 3 {
		return nil
	}
	n := number(seq)
	i := sort.Search(len(c.over), func(i int) bool { return c.over[i].last >= n })
	if i < len(c.over) && c.over[i].first <= n {
		return &c.over[i]
	}
	return nil
}

// transform decodes through golang.org/x/text, which replaces what is invalid:
// a replacement is an error here, unless the text itself has one, which only
// gb18030 can.
func (c *charset) transform(dst, v []byte) ([]byte, error) {
	if len(v) == 0 {
		return dst, nil
	}
	start, room := len(dst), 3*len(v)+utf8.UTFMax
	if cap(dst)-start < room {
		dst = append(dst, make([]byte, room)...)[:start]
	}
	c.decode.Reset()
	n, used, err := c.decode.Transform(dst[start:start+room], v, true)
	if err != nil || used != len(v) {
		return dst, errText
	}
	dst = dst[:start+n]
	bad := bytes.Count(dst[start:], []byte("\ufffd"))
	if bad > 0 && (c.name != "gb18030" || bad != bytes.Count(v, []byte{0x84, 0x31, 0xa4, 0x37})) {
		return dst, errText
	}
	return dst, nil
}
