package schema

import (
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
)

func itoa(n int) string { return strconv.Itoa(n) }

// reader is a recursive descent over a statement, with two tokens in hand. What
// it meets and does not know sets bad; nothing is skipped that might matter.
type reader struct {
	l     lexer
	t     token
	ahead token
	db    string
	maria bool
	bad   bool
}

func newReader(q *Query) *reader {
	r := &reader{l: lexer{text: q.SQL, mode: q.Mode, maria: q.Maria}, db: q.DB, maria: q.Maria}
	r.t = r.l.next()
	r.ahead = r.l.next()
	return r
}

func (r *reader) next() { r.t, r.ahead = r.ahead, r.l.next() }

func (r *reader) fail() { r.bad = true }

func isWord(t token, words ...string) bool {
	if t.kind != tokenWord {
		return false
	}
	for _, w := range words {
		if len(w) == len(t.text) && strings.EqualFold(w, t.text) {
			return true
		}
	}
	return false
}

// is reports whether the token in hand is one of the words.
func (r *reader) is(words ...string) bool { return isWord(r.t, words...) }

// take passes the token in hand if it is one of the words.
func (r *reader) take(words ...string) bool {
	if !r.is(words...) {
		return false
	}
	r.next()
	return true
}

// seq passes all the words if they come one behind the other. It looks at two.
func (r *reader) seq(first, second string) bool {
	if !r.is(first) || !isWord(r.ahead, second) {
		return false
	}
	r.next()
	r.next()
	return true
}

func (r *reader) isPunct(c byte) bool { return r.t.kind == tokenOther && r.t.text[0] == c }

// punct passes a byte of punctuation.
func (r *reader) punct(c byte) bool {
	if !r.isPunct(c) {
		return false
	}
	r.next()
	return true
}

// expect passes what has to come.
func (r *reader) expect(c byte) {
	if !r.punct(c) {
		r.fail()
	}
}

func (r *reader) need(words ...string) {
	if !r.take(words...) {
		r.fail()
	}
}

// ended reports whether the statement ends here.
func (r *reader) ended() bool {
	for r.punct(';') {
	}
	return r.t.kind == tokenEnd && !r.l.bad
}

// ident reads one identifier.
func (r *reader) ident() string {
	if r.t.kind != tokenWord && r.t.kind != tokenQuoted || r.t.text == "" {
		r.fail()
		return ""
	}
	text := r.t.text
	r.next()
	return text
}

// name reads a table's name: "table", "db.table" or ".table".
func (r *reader) name() tables.Name {
	r.punct('.')
	first := r.ident()
	if !r.punct('.') {
		return tables.Name{DB: r.db, Table: first}
	}
	return tables.Name{DB: first, Table: r.ident()}
}

// column reads a column's name, which may be qualified.
func (r *reader) column() string {
	name := r.ident()
	for r.punct('.') {
		name = r.ident()
	}
	return name
}

func (r *reader) ifExists() bool {
	if !r.take("if") {
		return false
	}
	r.need("exists")
	return true
}

func (r *reader) ifNotExists() bool {
	if !r.take("if") {
		return false
	}
	r.need("not")
	r.need("exists")
	return true
}

// number reads a small number.
func (r *reader) number() int {
	n, err := strconv.ParseUint(r.t.text, 10, 33)
	if r.t.kind != tokenWord || err != nil {
		r.fail()
		return 0
	}
	r.next()
	return int(n)
}

// parens passes from an opening parenthesis to its closing one.
func (r *reader) parens() {
	r.expect('(')
	for depth := 1; depth > 0; r.next() {
		switch {
		case r.t.kind == tokenEnd:
			r.fail()
			return
		case r.isPunct('('):
			depth++
		case r.isPunct(')'):
			depth--
		}
	}
}

// text passes a string, and those that stand behind it, which belong to it.
func (r *reader) text() {
	if r.t.kind != tokenString {
		r.fail()
	}
	for r.t.kind == tokenString {
		r.next()
	}
}

// charsetWords passes CHARACTER SET, CHAR SET or CHARSET.
func (r *reader) charsetWords() bool {
	return r.take("charset") || r.seq("character", "set") || r.seq("char", "set")
}

// charsetName reads the name of a character set, which may be in quotes.
func (r *reader) charsetName() choice {
	if r.take("default") {
		return choice{set: true, def: true}
	}
	return choice{set: true, name: CharsetName(r.word())}
}

// collation reads the name of a collation, which begins with its character
// set's, except for MariaDB's uca1400 ones, which fit several.
func (r *reader) collation() choice {
	if r.take("default") {
		return choice{set: true, def: true, collate: true}
	}
	name := r.word()
	if strings.HasPrefix(strings.ToLower(name), "uca1400_") {
		return choice{set: true, collate: true}
	}
	cs, _, _ := strings.Cut(name, "_")
	return choice{set: true, name: CharsetName(cs)}
}

func (r *reader) word() string {
	if r.t.kind != tokenString {
		return r.ident()
	}
	text := r.t.text
	r.next()
	return text
}

// CharsetName returns the name under which a character set is listed: utf8 is
// utf8mb3 on the servers that this package knows.
func CharsetName(name string) string {
	if name = strings.ToLower(name); name == "utf8" {
		return "utf8mb3"
	}
	return name
}

// merge takes over a later choice. A collation that does not say its character
// set leaves the one that was chosen.
func (c *choice) merge(later choice) {
	if later.collate && c.set {
		return
	}
	*c = later
}

// in resolves a choice in something that has a character set.
func (c choice) in(outer string) string {
	if c.set && !c.def && !c.collate {
		return c.name
	}
	return outer
}

// widest returns the bytes of a character set's longest character; 0 for one
// that is not known.
func widest(charset string) int {
	switch charset {
	case "":
		return 0
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		return 4
	case "utf8mb3", "ujis", "eucjpms":
		return 3
	case "ucs2", "big5", "gb2312", "gbk", "sjis", "cp932", "euckr":
		return 2
	}
	return 1
}
