package schema

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// columnDef reads what stands behind a column's name.
func (r *reader) columnDef(name string) columnDef {
	c := columnDef{name: name, typ: r.typ(r.l.mode.RealAsFloat)}
	if c.typ.charset != "" {
		c.charset = choice{set: true, name: c.typ.charset}
	}
	if c.typ.serial {
		c.notNull = true
		c.keys = append(c.keys, c.unique())
	}
	for !r.bad && r.attribute(&c) {
	}
	return c
}

func (c *columnDef) unique() Key {
	return Key{Unique: true, Parts: []Part{{Column: c.name}}}
}

// attribute reads one attribute of a column; false at the end of the column.
func (r *reader) attribute(c *columnDef) bool {
	switch {
	case r.t.kind == tokenEnd, r.isPunct(','), r.isPunct(')'), r.isPunct(';'), r.is("first", "after", "remove", "partition"):
		return false
	case r.seq("not", "null"):
		c.notNull, c.null = true, false
	case r.take("null"):
		c.null, c.notNull = true, false
	case r.take("invisible"):
		c.hidden = true
	case r.seq("not", "secondary"), r.take("visible", "virtual", "stored", "persistent"):
	case r.take("default"):
		r.value()
	case r.seq("on", "update"):
		r.value()
	case r.take("auto_increment"):
		c.auto = true
	case r.seq("serial", "default"):
		r.need("value")
		c.notNull, c.auto = true, true
		c.keys = append(c.keys, c.unique())
	case r.take("unique"):
		r.take("key")
		c.keys = append(c.keys, c.unique())
	case r.seq("primary", "key"), r.take("key"):
		c.keys = append(c.keys, Key{Primary: true, Unique: true, Parts: []Part{{Column: c.name}}})
	case r.take("comment"):
		r.text()
	case r.charsetWords():
		c.charset = r.charsetName()
	case r.take("collate"):
		c.charset.merge(r.collation())
	case r.take("binary"): // the binary collation of the character set
	case r.take("byte"):
		c.charset = choice{set: true, name: "binary"}
	case r.take("ascii"):
		c.charset = choice{set: true, name: "latin1"}
	case r.take("unicode"):
		c.charset = choice{set: true, name: "ucs2"}
	case r.take("column_format", "storage"):
		r.ident()
	case r.take("engine_attribute", "secondary_engine_attribute", "srid", "ref_system_id"):
		r.punct('=')
		r.next()
	case r.take("compressed"):
		c.typ.zip = true
		if r.punct('=') {
			r.next()
		}
	case r.seq("generated", "always"), r.is("as") && r.ahead.text == "(":
		r.need("as")
		r.parens() // AS ROW START of a versioned table is none
		c.derived = true
	default:
		return r.constraintOf()
	}
	return true
}

// constraintOf reads REFERENCES, CHECK and attributes of MariaDB's engines.
func (r *reader) constraintOf() bool {
	switch {
	case r.take("references"):
		r.references()
	case r.take("constraint"):
		if !r.is("check") {
			r.ident()
		}
		r.need("check")
		r.check()
	case r.take("check"):
		r.check()
	case r.maria && (r.t.kind == tokenWord || r.t.kind == tokenQuoted) && r.ahead.text == "=" && r.ahead.kind == tokenOther:
		r.next()
		r.next()
		r.next()
	default:
		r.fail()
		return false
	}
	return true
}

func (r *reader) check() {
	r.parens()
	if r.seq("not", "enforced") {
		return
	}
	r.take("enforced")
}

func (r *reader) references() {
	r.name()
	if r.isPunct('(') {
		r.parens()
	}
	for {
		switch {
		case r.take("match"):
			r.ident()
		case r.is("on") && isWord(r.ahead, "delete", "update"):
			r.next()
			r.next()
			if !r.seq("set", "null") && !r.seq("set", "default") && !r.seq("no", "action") {
				r.need("cascade", "restrict")
			}
		default:
			return
		}
	}
}

// value passes a default: a literal, a function's call, or an expression in
// parentheses.
func (r *reader) value() {
	for r.punct('-') || r.punct('+') {
	}
	switch {
	case r.isPunct('('):
		r.parens()
	case r.seq("next", "value"):
		r.need("for")
		r.name()
	case r.t.kind == tokenWord && strings.HasPrefix(r.t.text, "_") && r.ahead.kind != tokenWord && r.ahead.kind != tokenOther:
		r.next() // a literal's character set
		r.value()
	case r.t.kind == tokenWord && strings.EqualFold(r.t.text, "n") && r.ahead.kind == tokenString:
		r.next()
		r.text()
	case r.is("date", "time", "timestamp") && r.ahead.kind == tokenString:
		r.next()
		r.text()
	case r.t.kind == tokenString:
		r.text()
	case r.t.kind == tokenHex:
		r.next()
	case r.isPunct('.'):
		r.next()
		r.next()
	case r.t.kind == tokenWord || r.t.kind == tokenQuoted:
		r.next()
		for r.punct('.') {
			if r.t.kind == tokenWord || r.t.kind == tokenQuoted {
				r.next()
			}
		}
		if r.isPunct('-') || r.isPunct('+') { // 1e-3
			r.next()
			r.next()
		}
		if r.isPunct('(') {
			r.parens()
		}
	default:
		r.fail()
	}
}

// forced returns the definition under CONVERT TO CHARACTER SET, which counts for
// columns that the same statement defines, whatever they say.
func (c *columnDef) forced(charset string) *columnDef {
	if charset == "" || c.charset.in(charset) == "binary" {
		return c
	}
	f := *c
	f.spoiled = c.charset.in(charset) != charset &&
		slices.ContainsFunc(c.typ.labels, func(l label) bool { return !ascii(l.text) })
	f.charset = choice{set: true, name: charset}
	return &f
}

// resolve makes a column of its definition; outer is the table's character set,
// "" if that is not known. ok is false where the type depends on what is not
// known.
func (c *columnDef) resolve(outer string) (out Column, ok bool) {
	out = Column{Name: c.name, NotNull: c.notNull || c.auto, Invisible: c.hidden}
	cs := c.charset.in(outer)
	t := &c.typ
	switch t.family {
	case familyPlain:
		out.Native = t.native
		return out, true
	case familyTime:
		out.Native, out.Implied = t.native, !c.notNull && !c.null && !c.derived
		return out, true
	case familyChar:
		out.Native, out.Charset = "char("+itoa(t.n)+")", cs
		if cs == "binary" {
			out.Native, out.Charset = "binary("+itoa(t.n)+")", ""
		}
		return out, true
	case familyVar, familyText:
		out.Native, ok = t.text(cs)
		if cs != "binary" {
			out.Charset = cs
		}
		if t.zip {
			out.Native += " /*M!100301 COMPRESSED*/"
		}
		return out, ok
	}
	out.Charset = cs
	ok = t.resolveLabels(&out, cs)
	return out, ok && !c.spoiled
}

// open reports whether it is a TEXT or BLOB of which no length is said. One that
// a column becomes under CONVERT TO CHARACTER SET MySQL makes as long as the
// column was, whatever it was, and MariaDB does not.
func (t *typeDef) open() bool { return t.family == familyText && t.n <= 0 }

// text returns the native type of VARCHAR and TEXT.
func (t *typeDef) text(cs string) (native string, ok bool) {
	const rowMax = 65535
	wide := widest(cs)
	base := t.base
	switch {
	case t.family == familyVar && wide == 0 && t.n*4 > rowMax:
		return "", false
	case t.family == familyVar && t.n*wide <= rowMax:
		if cs == "binary" {
			return "varbinary(" + itoa(t.n) + ")", true
		}
		return "varchar(" + itoa(t.n) + ")", true
	case t.n > 0:
		if wide == 0 {
			return "", false
		}
		base = sized(t.n * wide)
	case t.n == 0:
		base = "text"
	}
	if cs == "binary" {
		base = strings.Replace(base, "text", "blob", 1)
	}
	return base, true
}

// sized returns the smallest TEXT for a number of bytes.
func sized(bytes int) string {
	switch {
	case bytes <= 255:
		return "tinytext"
	case bytes <= 65535:
		return "text"
	case bytes <= 1<<24-1:
		return "mediumtext"
	}
	return "longtext"
}

// resolveLabels takes over the labels, as the server keeps them: without
// spaces at the end.
func (t *typeDef) resolveLabels(out *Column, cs string) bool {
	quoted := make([]string, len(t.labels))
	out.Labels = make([]string, len(t.labels))
	for i, l := range t.labels {
		text := l.text
		if l.raw && (!ascii(text) || widest(cs) == 0 || !superset(cs)) || !utf8.ValidString(text) {
			return false
		}
		if cs != "binary" {
			text = strings.TrimRight(text, " ")
		}
		out.Labels[i] = text
		quoted[i] = "'" + t.quote(text) + "'"
	}
	out.Native = t.base + "(" + strings.Join(quoted, ",") + ")"
	return true
}

// quote writes a label as information_schema does: MariaDB keeps backslashes
// and ends of lines escaped.
func (t *typeDef) quote(text string) string {
	if t.maria {
		text = strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(text)
	}
	return strings.ReplaceAll(text, "'", "''")
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// superset reports whether ASCII is written as itself in the character set.
func superset(cs string) bool {
	switch cs {
	case "ucs2", "utf16", "utf16le", "utf32", "swe7":
		return false
	}
	return true
}
