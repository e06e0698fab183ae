package jsontext

import (
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// AppendBase64 appends v as a string in base 64.
func AppendBase64(dst, v []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v)
	return append(dst, '"')
}

// AppendText appends v as a JSON string. What is not UTF-8 becomes U+FFFD;
// <, > and & stay as they are.
func AppendText[T string | []byte](dst []byte, v T) []byte {
	return append(AppendInner(append(dst, '"'), v), '"')
}

// AppendInner is AppendText without the quotes: for a string that is put together.
// Most text has nothing to escape, so it looks at eight bytes at a time.
func AppendInner[T string | []byte](dst []byte, v T) []byte {
	switch v := any(v).(type) {
	case string:
		return appendInner(dst, unsafe.Slice(unsafe.StringData(v), len(v)))
	case []byte:
		return appendInner(dst, v)
	}
	return dst
}

func appendInner(dst, v []byte) []byte {
	start := 0
	for i := 0; i < len(v); {
		for i+8 <= len(v) && plain(binary.LittleEndian.Uint64(v[i:])) {
			i += 8
		}
		for end := min(i+8, len(v)); i < end; {
			c := v[i]
			if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
				i++
				continue
			}
			if c >= utf8.RuneSelf {
				n := runeLen(v[i:])
				if n > 0 {
					i += n
					continue
				}
				dst = append(append(dst, v[start:i]...), `\ufffd`...)
			} else {
				dst = appendEscape(append(dst, v[start:i]...), c)
			}
			i++
			start = i
		}
	}
	return append(dst, v[start:]...)
}

// appendEscape appends an ASCII character that can't stand in a string.
func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '\\')
	switch c {
	case '"', '\\':
		return append(dst, c)
	case '\n':
		return append(dst, 'n')
	case '\r':
		return append(dst, 'r')
	case '\t':
		return append(dst, 't')
	}
	return append(dst, 'u', '0', '0', hex[c>>4], hex[c&15])
}

// plain reports whether eight bytes are ASCII that needs no escape. Of each byte
// it makes the highest bit: of itself, of it less 0x20, and of it XOR a character
// less 1, which borrows from the next byte only where the answer is no already.
func plain(w uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^'"'*each, w^'\\'*each
	return (w|(w-0x20*each)|(quote-each)&^quote|(slash-each)&^slash)&high == 0
}

// runeLen returns the length of the valid rune that v begins with, or 0.
func runeLen(v []byte) int {
	r, size := utf8.DecodeRune(v)
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}
