package schema

import "github.com/cdcd-io/cdcd/cdc/mysql/tables"

// create reads what stands behind CREATE.
func (r *reader) create() (statement, Class) {
	s := statement{verb: verbCreate}
	if r.take("or") {
		r.need("replace")
		s.replace = true
	}
	if r.seq("temporary", "table") {
		return s, Benign
	}
	switch {
	case r.take("table"):
		s.ifNotExists = r.ifNotExists()
		s.name = r.name()
		return r.createTable(s)
	case r.take("database", "schema"):
		s.verb, s.ifNotExists = verbCreateDB, r.ifNotExists()
		s.name.DB = r.ident()
		s.charset = r.databaseOptions()
		return s, r.understood()
	case r.is("unique", "index", "fulltext", "spatial", "vector", "online", "offline"):
		return r.createIndex(s)
	}
	return s, r.other()
}

// understood is Understood if the statement has been read to its end.
func (r *reader) understood() Class {
	if r.bad || !r.ended() {
		return Uncertain
	}
	return Understood
}

func (r *reader) createTable(s statement) (statement, Class) {
	if r.take("like") {
		s.verb, s.to = verbLike, r.name()
		return s, r.understood()
	}
	if !r.punct('(') {
		return s, Uncertain
	}
	if r.take("like") {
		s.verb, s.to = verbLike, r.name()
		r.expect(')')
		return s, r.understood()
	}
	s.table = &definition{}
	for !r.bad {
		r.element(s.table)
		if !r.punct(',') {
			break
		}
	}
	r.expect(')')
	for !r.bad && !r.ended() {
		done, ok := r.tableOption(&s.charset)
		if !ok {
			return s, Uncertain
		}
		if done {
			return s, r.partitions()
		}
		r.punct(',')
	}
	return s, r.understood()
}

// partitions passes the partitions of a table, behind which a query may stand:
// of that the log has the columns' definitions, and the rows.
func (r *reader) partitions() Class {
	for depth := 0; r.t.kind != tokenEnd; r.next() {
		switch {
		case r.isPunct('('):
			depth++
		case r.isPunct(')'):
			depth--
		case depth == 0 && r.is("select", "as", "with", "replace", "ignore", "union"):
			return Uncertain
		}
	}
	return r.understood()
}

// element reads a column, a key or a constraint of CREATE TABLE.
func (r *reader) element(d *definition) {
	if key, ok := r.keyDef(); ok {
		if len(key.Parts) > 0 {
			d.keys = append(d.keys, key)
		}
		return
	}
	if r.is("period") && isWord(r.ahead, "for") {
		r.fail()
		return
	}
	c := r.columnDef(r.column())
	d.columns = append(d.columns, c)
	d.keys = append(d.keys, c.keys...)
}

// keyDef reads a key or a constraint, if one stands here; a constraint that is
// no index has no parts.
func (r *reader) keyDef() (k Key, ok bool) {
	if r.t.kind != tokenWord {
		return k, false
	}
	constraint := ""
	if r.take("constraint") {
		if !r.is("primary", "unique", "foreign", "check") {
			constraint = r.ident()
			r.ifNotExists()
		}
	}
	switch {
	case r.seq("primary", "key"):
		k = Key{Primary: true, Unique: true}
		r.keyName()
		k.Name = "PRIMARY"
	case r.take("unique"):
		k = Key{Unique: true}
		r.take("index", "key")
		k.Name = r.keyName()
	case r.is("fulltext", "spatial", "vector") && isWord(r.ahead, "index", "key"):
		r.next()
		r.next()
		k.Name = r.keyName()
	case r.is("fulltext", "spatial"):
		r.next()
		k.Name = r.keyName()
	case r.take("index", "key"):
		k.Name = r.keyName()
	case r.seq("foreign", "key"):
		// The index that the server makes for it may be shared or dropped later.
		r.ifNotExists()
		if !r.isPunct('(') {
			r.ident()
		}
		r.parens()
		r.need("references")
		r.references()
		return k, true
	case r.take("check"):
		r.check()
		return k, true
	default:
		return k, false
	}
	if k.Name == "" {
		k.Name = constraint
	}
	k.Parts = r.parts()
	r.keyOptions()
	return k, true
}

// keyName reads the name and type of a key, both of which may be missing.
func (r *reader) keyName() (name string) {
	r.ifNotExists()
	if !r.isPunct('(') && !r.is("using", "type") {
		name = r.ident()
	}
	if r.take("using", "type") {
		r.ident()
	}
	return name
}

// parts reads the columns of a key.
func (r *reader) parts() (list []Part) {
	r.expect('(')
	for !r.bad {
		p := Part{}
		if r.isPunct('(') {
			r.parens()
		} else {
			p.Column = r.ident()
			if r.isPunct('(') {
				p.Prefix = r.length(0) > 0
			}
		}
		r.take("asc", "desc")
		list = append(list, p)
		if !r.punct(',') {
			break
		}
		if r.is("period") || isWord(r.ahead, "without") {
			r.fail()
		}
	}
	r.expect(')')
	return list
}

// keyOptions passes the options of a key.
func (r *reader) keyOptions() {
	for !r.bad {
		switch {
		case r.take("using", "type"):
			r.ident()
		case r.seq("with", "parser"):
			r.ident()
		case r.take("comment"):
			r.text()
		case r.take("visible", "invisible", "ignored"), r.seq("not", "ignored"):
		case r.take("key_block_size", "engine_attribute", "secondary_engine_attribute", "clustering", "distance", "m"):
			r.punct('=')
			r.next()
		default:
			return
		}
	}
}

// createIndex reads CREATE [UNIQUE] INDEX name ON table (...), which is an
// ALTER TABLE.
func (r *reader) createIndex(s statement) (statement, Class) {
	s.verb = verbAlter
	r.take("online", "offline")
	k := Key{Unique: r.take("unique")}
	r.take("fulltext", "spatial", "vector")
	r.need("index")
	o := op{kind: opAddKey, exists: r.ifNotExists() || s.replace}
	if s.replace {
		return s, Uncertain
	}
	k.Name = r.ident()
	if r.take("using", "type") {
		r.ident()
	}
	r.need("on")
	s.name = r.name()
	k.Parts = r.parts()
	r.keyOptions()
	r.alterEnd()
	o.key = k
	s.ops = append(s.ops, o)
	return s, r.understood()
}

// alterEnd passes ALGORITHM, LOCK and WAIT.
func (r *reader) alterEnd() {
	for {
		switch {
		case r.take("algorithm", "lock"):
			r.punct('=')
			r.ident()
		case r.take("wait"):
			r.number()
		case r.take("nowait"):
		default:
			return
		}
	}
}

// databaseOptions reads the options of a database.
func (r *reader) databaseOptions() (c choice) {
	for !r.bad && !r.ended() {
		r.take("default")
		switch {
		case r.charsetWords():
			r.punct('=')
			c = r.charsetName()
		case r.take("collate"):
			r.punct('=')
			c.merge(r.collation())
		case r.take("comment"):
			r.punct('=')
			r.text()
		case r.take("encryption"), r.seq("read", "only"):
			r.punct('=')
			r.next()
		default:
			r.fail()
		}
	}
	return c
}

// names reads a list of tables.
func (r *reader) names() (list []tables.Name) {
	for !r.bad {
		list = append(list, r.name())
		if !r.punct(',') {
			break
		}
	}
	return list
}
