package schema

import "strings"

// family says what of a type depends on where it stands.
type family uint8

const (
	familyPlain  family = iota
	familyChar          // CHAR(n): BINARY(n) with character set binary
	familyVar           // VARCHAR(n): a TEXT where n is too large
	familyText          // TEXT: its size may follow from the character set
	familyLabels        // ENUM and SET
	familyTime          // TIMESTAMP, which may be NOT NULL by itself
)

// typeDef is a type as a statement has it.
type typeDef struct {
	family  family
	native  string // of familyPlain and familyTime, complete
	n       int    // characters; of TEXT(n), else -1
	base    string // of familyText: "text", "tinytext", ...; of familyLabels: "enum" or "set"
	charset string // that the type itself fixes: NCHAR, JSON of MariaDB
	labels  []label
	maria   bool
	zip     bool // MariaDB: COMPRESSED
	serial  bool
}

type label struct {
	text string
	raw  bool // bytes of the column's character set
}

// length reads "(n)", or returns without.
func (r *reader) length(without int) int {
	if !r.punct('(') {
		return without
	}
	n := r.number()
	r.expect(')')
	return n
}

// typ reads a column's type.
func (r *reader) typ(realAsFloat bool) typeDef {
	if r.t.kind != tokenWord {
		r.fail()
		return typeDef{}
	}
	word := strings.ToLower(r.t.text)
	r.next()
	if t, ok := r.textType(word); ok {
		return t
	}
	if native, ok := r.numberType(word, realAsFloat); ok {
		return typeDef{native: native}
	}
	switch word {
	case "serial":
		return typeDef{native: r.integer("bigint", 20, 20, " unsigned"), serial: true}
	case "bool", "boolean":
		return typeDef{native: "tinyint(1)"}
	case "bit":
		return typeDef{native: "bit(" + itoa(max(1, r.length(1))) + ")"}
	case "date":
		return typeDef{native: word}
	case "time", "datetime":
		return typeDef{native: fraction(word, r.length(0))}
	case "timestamp":
		return typeDef{family: familyTime, native: fraction(word, r.length(0))}
	case "year":
		r.length(4)
		r.attributes()
		if r.maria {
			return typeDef{native: "year(4)"}
		}
		return typeDef{native: "year"}
	case "json":
		if r.maria {
			return typeDef{family: familyText, base: "longtext", n: -1, charset: "utf8mb4"}
		}
		return typeDef{native: word}
	case "vector":
		return typeDef{native: "vector(" + itoa(r.length(2048)) + ")"}
	case "uuid", "inet4", "inet6":
		if !r.maria {
			r.fail()
		}
		return typeDef{native: word}
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon":
		return typeDef{native: word}
	case "geometrycollection", "geomcollection":
		if r.maria {
			return typeDef{native: "geometrycollection"}
		}
		return typeDef{native: "geomcollection"}
	}
	r.fail()
	return typeDef{}
}

func fraction(word string, n int) string {
	if n == 0 {
		return word
	}
	return word + "(" + itoa(n) + ")"
}

// textType reads the types that have a character set, or none and a length.
func (r *reader) textType(word string) (typeDef, bool) {
	switch word {
	case "char", "character":
		if r.take("varying") {
			return typeDef{family: familyVar, n: r.length(1)}, true
		}
		return typeDef{family: familyChar, n: r.length(1)}, true
	case "varchar", "varcharacter":
		return typeDef{family: familyVar, n: r.length(1)}, true
	case "nchar", "national", "nvarchar":
		return r.national(word), true
	case "binary":
		return typeDef{native: "binary(" + itoa(r.length(1)) + ")"}, true
	case "varbinary":
		return typeDef{family: familyVar, n: r.length(1), charset: "binary"}, true
	case "tinyblob", "mediumblob", "longblob":
		return typeDef{family: familyText, base: strings.Replace(word, "blob", "text", 1), n: -1, charset: "binary"}, true
	case "blob":
		return typeDef{family: familyText, base: "text", n: r.length(-1), charset: "binary"}, true
	case "tinytext", "mediumtext", "longtext":
		return typeDef{family: familyText, base: word, n: -1}, true
	case "text":
		return typeDef{family: familyText, base: word, n: r.length(-1)}, true
	case "long":
		t := typeDef{family: familyText, base: "mediumtext", n: -1}
		switch {
		case r.take("varbinary"):
			t.charset = "binary"
		case r.take("varchar", "varcharacter"):
		case r.is("char", "character") && isWord(r.ahead, "varying"):
			r.next()
			r.next()
		}
		return t, true
	case "enum", "set":
		return typeDef{family: familyLabels, base: word, labels: r.labels(), maria: r.maria}, true
	}
	return typeDef{}, false
}

// national reads what follows NATIONAL, NCHAR or NVARCHAR.
func (r *reader) national(word string) typeDef {
	t := typeDef{family: familyVar, charset: "utf8mb3"}
	switch {
	case word == "nvarchar":
	case word == "national":
		if r.take("varchar", "varcharacter") {
			break
		}
		r.need("char", "character")
		if !r.take("varying") {
			t.family = familyChar
		}
	case r.take("varchar", "varcharacter", "varying"):
	default:
		t.family = familyChar
	}
	t.n = r.length(1)
	return t
}

// labels reads the labels of ENUM and SET.
func (r *reader) labels() (list []label) {
	r.expect('(')
	for !r.bad {
		if r.t.kind != tokenString && r.t.kind != tokenHex {
			r.fail()
			return nil
		}
		list = append(list, label{r.t.text, r.t.kind == tokenHex})
		r.next()
		if !r.punct(',') {
			break
		}
	}
	r.expect(')')
	return list
}

// numberType reads the numbers' types, with UNSIGNED and ZEROFILL.
func (r *reader) numberType(word string, realAsFloat bool) (string, bool) {
	switch word {
	case "tinyint", "int1":
		return r.integer("tinyint", 4, 3, ""), true
	case "smallint", "int2":
		return r.integer("smallint", 6, 5, ""), true
	case "mediumint", "int3", "middleint":
		return r.integer("mediumint", 9, 8, ""), true
	case "int", "integer", "int4":
		return r.integer("int", 11, 10, ""), true
	case "bigint", "int8":
		return r.integer("bigint", 20, 20, ""), true
	case "decimal", "dec", "numeric", "fixed":
		p, s, _ := r.precision(10, 0)
		if p == 0 {
			p = 10
		}
		return "decimal(" + itoa(p) + "," + itoa(s) + ")" + r.attributes(), true
	case "float", "float4":
		return r.float(false), true
	case "real":
		if realAsFloat {
			return r.float(true), true
		}
	case "float8":
	case "double":
		r.take("precision")
	default:
		return "", false
	}
	if p, s, given := r.precision(0, 0); given {
		return "double(" + itoa(p) + "," + itoa(s) + ")" + r.attributes(), true
	}
	return "double" + r.attributes(), true
}

// float reads FLOAT, FLOAT(p), which may be a DOUBLE, or FLOAT(m,d).
func (r *reader) float(real bool) string {
	if !r.isPunct('(') {
		return "float" + r.attributes()
	}
	r.next()
	p := r.number()
	if r.punct(',') {
		s := r.number()
		r.expect(')')
		return "float(" + itoa(p) + "," + itoa(s) + ")" + r.attributes()
	}
	r.expect(')')
	if real {
		r.fail()
	}
	if p > 24 {
		return "double" + r.attributes()
	}
	return "float" + r.attributes()
}

func (r *reader) precision(p, s int) (int, int, bool) {
	if !r.punct('(') {
		return p, s, false
	}
	p, s = r.number(), 0
	if r.punct(',') {
		s = r.number()
	}
	r.expect(')')
	return p, s, true
}

// attributes reads UNSIGNED, SIGNED and ZEROFILL.
func (r *reader) attributes() string {
	unsigned, zerofill := false, false
	for {
		switch {
		case r.take("unsigned"):
			unsigned = true
		case r.take("signed"):
		case r.take("zerofill"):
			zerofill = true
		case zerofill:
			return " unsigned zerofill"
		case unsigned:
			return " unsigned"
		default:
			return ""
		}
	}
}

// integer reads width and attributes. MariaDB shows the width always, MySQL
// since 8.0.19 with ZEROFILL and for TINYINT(1).
func (r *reader) integer(name string, signed, unsigned int, attr string) string {
	width := -1
	if attr == "" {
		width = r.length(-1)
		attr = r.attributes()
	}
	given := width
	if width <= 0 {
		width = signed
		if attr != "" {
			width = unsigned
		}
	}
	if r.maria || strings.HasSuffix(attr, "zerofill") || name == "tinyint" && given == 1 && attr == "" {
		return name + "(" + itoa(width) + ")" + attr
	}
	return name + attr
}
