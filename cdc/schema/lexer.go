package schema

import "strings"

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a bare word or a number
	tokenQuoted           // a name in quotes
	tokenString           // text, unescaped
	tokenHex              // bytes: x'61', 0x61, b'1'
	tokenOther            // one byte of punctuation
)

type token struct {
	kind tokenKind
	text string
}

// tokensMax bounds a statement. Both servers allow 4,096 columns, and a column
// with all its attributes and a few labels has some dozens of tokens.
const tokensMax = 1 << 19

// lexer splits a statement into tokens. The content of executable comments
// counts where the server executes it.
type lexer struct {
	text     string
	mode     Mode
	maria    bool
	executes int // executable comments that are open
	count    int
	bad      bool // an unfinished quote or comment, or too many tokens
}

func (l *lexer) next() token {
	l.skip()
	l.count++
	if l.count > tokensMax {
		l.bad, l.text = true, ""
	}
	if l.text == "" {
		return token{}
	}
	return l.token()
}

func (l *lexer) token() token {
	c := l.text[0]
	switch {
	case c == '`', c == '"' && l.mode.ANSIQuotes:
		return token{kind: tokenQuoted, text: l.quoted(c, false)}
	case c == '\'' || c == '"':
		return token{kind: tokenString, text: l.quoted(c, !l.mode.NoBackslashEscapes)}
	case (c == 'x' || c == 'X') && strings.HasPrefix(l.text[1:], "'"):
		l.text = l.text[1:]
		return l.hex(l.quoted('\'', false))
	case (c == 'b' || c == 'B') && strings.HasPrefix(l.text[1:], "'"):
		l.text = l.text[1:]
		return token{kind: tokenHex, text: bits(l.quoted('\'', false))}
	case wordByte(c):
		n := 1
		for n < len(l.text) && wordByte(l.text[n]) {
			n++
		}
		word := l.text[:n]
		l.text = l.text[n:]
		if strings.HasPrefix(word, "0x") && len(word) > 2 && isHex(word[2:]) {
			return l.hex(word[2:])
		}
		return token{kind: tokenWord, text: word}
	}
	l.text = l.text[1:]
	return token{kind: tokenOther, text: string(c)}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// hex makes bytes of digits.
func (l *lexer) hex(digits string) token {
	if !isHex(digits) {
		l.bad = true
		return token{}
	}
	if len(digits)%2 != 0 {
		digits = "0" + digits
	}
	out := make([]byte, len(digits)/2)
	for i := range len(digits) {
		c := digits[i] | 0x20
		v := c - '0'
		if c >= 'a' {
			v = c - 'a' + 10
		}
		out[i/2] = out[i/2]<<4 | v
	}
	return token{kind: tokenHex, text: string(out)}
}

// bits makes bytes of binary digits.
func bits(digits string) string {
	out := make([]byte, (len(digits)+7)/8)
	for i := range len(digits) {
		at := i + len(out)*8 - len(digits)
		out[at/8] |= (digits[i] & 1) << (7 - at%8)
	}
	return string(out)
}

// quoted reads up to the closing quote, which doubled means itself.
func (l *lexer) quoted(q byte, escapes bool) string {
	var out strings.Builder
	for i := 1; i < len(l.text); i++ {
		c := l.text[i]
		switch {
		case c == '\\' && escapes && i+1 < len(l.text):
			i++
			out.WriteString(escaped(l.text[i]))
		case c != q:
			out.WriteByte(c)
		case i+1 < len(l.text) && l.text[i+1] == q:
			out.WriteByte(q)
			i++
		default:
			l.text = l.text[i+1:]
			return out.String()
		}
	}
	l.bad, l.text = true, ""
	return out.String()
}

// escaped returns what a byte behind a backslash stands for. Source: MySQL
// manual, "String Literals"; \% and \_ keep their backslash.
func escaped(c byte) string {
	switch c {
	case '0':
		return "\x00"
	case 'b':
		return "\b"
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case 'Z':
		return "\x1a"
	case '%', '_':
		return `\` + string(c)
	}
	return string([]byte{c})
}

// skip passes white space and comments.
func (l *lexer) skip() {
	for l.text != "" {
		c := l.text[0]
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			l.text = l.text[1:]
		case c == '#', strings.HasPrefix(l.text, "--") && (len(l.text) == 2 || l.text[2] <= ' '):
			_, l.text, _ = strings.Cut(l.text, "\n")
		case l.executes > 0 && strings.HasPrefix(l.text, "*/"):
			l.executes--
			l.text = l.text[2:]
		case strings.HasPrefix(l.text, "/*"):
			l.comment()
		default:
			return
		}
	}
	if l.executes > 0 {
		l.bad = true
	}
}

// comment passes a comment, or enters one that the server executes. MariaDB
// passes over the versions of MySQL from 5.7 on.
// Source: MariaDB documentation, "Comment Syntax".
func (l *lexer) comment() {
	rest, own := strings.CutPrefix(l.text, "/*!")
	if !own && l.maria {
		rest, own = strings.CutPrefix(l.text, "/*M!")
	}
	if own {
		version := 0
		n := 0
		for n < 6 && n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			version = version*10 + int(rest[n]-'0')
			n++
		}
		if n != 5 && n != 6 {
			version, n = 0, 0
		}
		if !l.maria || version < 50700 || version > 99999 {
			l.executes++
			l.text = rest[n:]
			return
		}
	}
	end := strings.Index(l.text[2:], "*/")
	if end < 0 {
		l.bad, l.text = true, ""
		return
	}
	l.text = l.text[2+end+2:]
}
