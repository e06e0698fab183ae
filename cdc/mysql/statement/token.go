package statement

import "bytes"

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a bare word
	tokenQuoted           // `name`, or "name", which is a name with ANSI_QUOTES
	tokenString           // 'text'
	tokenOther            // one byte of punctuation
)

type token struct {
	kind tokenKind
	text []byte // without quotes
}

// scanner splits a statement into tokens. The content of /*! ... */ and
// /*M! ... */ counts, as the server executes it; other comments don't.
type scanner struct {
	p        []byte
	executes bool // inside an executable comment
}

// next returns the next token, which is a view of the statement unless a quote
// in it was doubled.
func (s *scanner) next() token {
	s.skip()
	if len(s.p) == 0 {
		return token{}
	}
	c := s.p[0]
	switch {
	case c == '`' || c == '"':
		return token{tokenQuoted, s.quoted(c)}
	case c == '\'':
		return token{tokenString, s.quoted(c)}
	case wordByte(c):
		n := 1
		for n < len(s.p) && wordByte(s.p[n]) {
			n++
		}
		t := token{tokenWord, s.p[:n]}
		s.p = s.p[n:]
		return t
	}
	t := token{tokenOther, s.p[:1]}
	s.p = s.p[1:]
	return t
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// quoted reads up to the closing quote, which doubled means itself; outside of
// backquotes a backslash protects what follows.
func (s *scanner) quoted(q byte) []byte {
	var out []byte // only once something is left out
	from := 1
	for i := 1; i < len(s.p); i++ {
		switch {
		case s.p[i] == '\\' && q != '`':
			i++
		case s.p[i] != q:
		case i+1 < len(s.p) && s.p[i+1] == q:
			out = append(out, s.p[from:i+1]...)
			i++
			from = i + 1
		default:
			text := s.p[from:i]
			if out != nil {
				text = append(out, text...)
			}
			s.p = s.p[i+1:]
			return text
		}
	}
	text := s.p[1:]
	s.p = nil
	return text
}

// skip passes white space and comments.
func (s *scanner) skip() {
	for len(s.p) > 0 {
		switch {
		case s.p[0] == ' ' || s.p[0] >= '\t' && s.p[0] <= '\r':
			s.p = s.p[1:]
		case s.p[0] == '#', bytes.HasPrefix(s.p, []byte("--")) && (len(s.p) == 2 || s.p[2] <= ' '):
			s.until("\n")
		case s.executes && bytes.HasPrefix(s.p, []byte("*/")):
			s.executes = false
			s.p = s.p[2:]
		case bytes.HasPrefix(s.p, []byte("/*!")), bytes.HasPrefix(s.p, []byte("/*M!")):
			s.executes = true
			s.p = s.p[bytes.IndexByte(s.p, '!')+1:]
			for len(s.p) > 0 && s.p[0] >= '0' && s.p[0] <= '9' {
				s.p = s.p[1:]
			}
		case bytes.HasPrefix(s.p, []byte("/*")):
			s.p = s.p[2:]
			s.until("*/")
		default:
			return
		}
	}
}

func (s *scanner) until(end string) {
	i := bytes.Index(s.p, []byte(end))
	if i < 0 {
		s.p = nil
		return
	}
	s.p = s.p[i+len(end):]
}
