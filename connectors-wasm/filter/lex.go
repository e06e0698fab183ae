package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a token is.
type kind uint8

const (
	end        kind = iota
	word            // a keyword or a name
	quotedName      // a name in backticks
	number
	str
	symbol // = != < <= > >= ( ) ,
)

// token is a lexeme with its place. Text is without quotes; of a word, and of a
// symbol, it is as written.
type token struct {
	kind kind
	text string
	pos  int // 1-based character
}

// syntaxError says what is wrong, and where in the expression.
type syntaxError struct {
	pos  int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("where: at character %d: %s", e.pos, e.what) }

func fail(pos int, format string, args ...any) error {
	return &syntaxError{pos, fmt.Sprintf(format, args...)}
}

// lex cuts an expression into tokens; the last one is end.
func lex(text string) ([]token, error) {
	var out []token
	pos := 1
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if unicode.IsSpace(r) {
			text, pos = text[size:], pos+1
			continue
		}
		t, n, err := lexOne(text, r, pos)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		pos += utf8.RuneCountInString(text[:n])
		text = text[n:]
	}
	return append(out, token{kind: end, pos: pos}), nil
}

// lexOne reads the token that text begins with, and its length in bytes.
func lexOne(text string, r rune, pos int) (token, int, error) {
	switch {
	case r == '\'' || r == '`':
		return quoted(text, byte(r), pos)
	case r == '"':
		return token{}, 0, fail(pos, "write text in single quotes, and names in backticks")
	case r >= '0' && r <= '9' || r == '-' || r == '+' || r == '.':
		return lexNumber(text, pos)
	case r == '_' || unicode.IsLetter(r):
		n := strings.IndexFunc(text, func(r rune) bool { return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(text)
		}
		return token{word, text[:n], pos}, n, nil
	}
	for _, s := range []string{"!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","} {
		if strings.HasPrefix(text, s) {
			return token{symbol, strings.Replace(s, "<>", "!=", 1), pos}, len(s), nil
		}
	}
	return token{}, 0, fail(pos, "%q is not understood", r)
}

// quoted reads text or a name; a quote within is doubled.
func quoted(text string, quote byte, pos int) (token, int, error) {
	k := str
	if quote == '`' {
		k = quotedName
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != quote {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return token{k, b.String(), pos}, i + 1, nil
	}
	return token{}, 0, fail(pos, "the closing %c is missing", quote)
}

// lexNumber reads [sign] digits [. digits] [e [sign] digits].
func lexNumber(text string, pos int) (token, int, error) {
	digits := func(i int) int {
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i
	}
	i := 0
	if text[0] == '-' || text[0] == '+' {
		i = 1
	}
	whole := digits(i)
	n, seen := whole, whole-i
	if n < len(text) && text[n] == '.' {
		f := digits(n + 1)
		seen += f - n - 1
		n = f
	}
	if seen == 0 {
		return token{}, 0, fail(pos, "a number is expected behind %q", text[:1])
	}
	if n < len(text) && (text[n] == 'e' || text[n] == 'E') {
		e := n + 1
		if e < len(text) && (text[e] == '-' || text[e] == '+') {
			e++
		}
		if x := digits(e); x > e {
			n = x
		}
	}
	return token{number, text[:n], pos}, n, nil
}
