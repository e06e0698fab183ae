package schema

// alterTable reads what stands behind ALTER TABLE.
func (r *reader) alterTable() (statement, Class) {
	s := statement{verb: verbAlter}
	r.ifExists()
	s.name = r.name()
	if r.take("wait") {
		r.number()
	}
	r.take("nowait")
	for !r.bad && !r.ended() {
		if !r.clause(&s) {
			break
		}
		r.punct(',')
	}
	class := r.understood()
	if class == Understood && len(s.ops) == 0 && s.to.Table == "" {
		class = Benign
	}
	return s, class
}

func (s *statement) add(o op) { s.ops = append(s.ops, o) }

// clause reads one clause; false when the rest is about partitions.
func (r *reader) clause(s *statement) bool {
	switch {
	case r.partitionClause():
		for r.t.kind != tokenEnd {
			r.next()
		}
		return false
	case r.take("add"):
		r.addClause(s)
	case r.take("drop"):
		r.dropClause(s)
	case r.take("modify"):
		r.take("column")
		o := op{kind: opChange, exists: r.ifExists()}
		o.name = r.column()
		r.changed(s, o, o.name)
	case r.take("change"):
		r.take("column")
		o := op{kind: opChange, exists: r.ifExists()}
		o.name = r.column()
		r.changed(s, o, r.column())
	case r.take("rename"):
		r.renameClause(s)
	case r.take("alter"):
		r.alterClause(s)
	case r.take("convert"):
		r.need("to")
		if !r.charsetWords() {
			r.fail()
		}
		o := op{kind: opConvert, charset: r.charsetName()}
		if r.take("collate") {
			o.charset.merge(r.collation())
		}
		s.add(o)
	case r.seq("order", "by"):
		r.orderBy()
	case r.take("force"), r.seq("enable", "keys"), r.seq("disable", "keys"), r.seq("with", "validation"), r.seq("without", "validation"),
		r.seq("discard", "tablespace"), r.seq("import", "tablespace"), r.take("secondary_load", "secondary_unload"):
	case r.is("algorithm", "lock"):
		r.alterEnd()
	default:
		return r.options(s)
	}
	return !r.bad
}

// options reads options of the table, between which no comma has to stand.
func (r *reader) options(s *statement) bool {
	o := op{kind: opDefaultCharset}
	done, ok := r.tableOption(&o.charset)
	if !ok {
		r.fail()
		return false
	}
	if o.charset.set {
		s.add(o)
	}
	if done {
		for r.t.kind != tokenEnd {
			r.next()
		}
	}
	return !done
}

// partitionClause reports whether a clause is about partitions, which are not
// part of a definition here.
func (r *reader) partitionClause() bool {
	switch {
	case r.is("add", "drop", "reorganize", "coalesce", "truncate", "analyze", "check", "optimize", "rebuild", "repair",
		"discard", "import", "exchange", "secondary_load", "secondary_unload"):
		return isWord(r.ahead, "partition")
	case r.is("remove", "upgrade"):
		return isWord(r.ahead, "partitioning")
	case r.is("convert"):
		if isWord(r.ahead, "partition", "table") { // MariaDB: makes a table of a partition, or the reverse
			r.fail()
		}
	case r.is("partition"):
		return isWord(r.ahead, "by")
	}
	return false
}

func (r *reader) addClause(s *statement) {
	if k, ok := r.keyDef(); ok {
		if len(k.Parts) > 0 {
			s.add(op{kind: opAddKey, key: k})
		}
		return
	}
	if r.is("system", "period") && isWord(r.ahead, "versioning", "for") {
		r.fail()
		return
	}
	r.take("column")
	exists := r.ifNotExists()
	if !r.punct('(') {
		o := op{kind: opAdd, exists: exists}
		r.changed(s, o, r.column())
		return
	}
	for !r.bad {
		if k, ok := r.keyDef(); ok {
			if len(k.Parts) > 0 {
				s.add(op{kind: opAddKey, key: k})
			}
		} else {
			r.changed(s, op{kind: opAdd, exists: exists}, r.column())
		}
		if !r.punct(',') {
			break
		}
	}
	r.expect(')')
}

// changed reads the definition and the place of a column.
func (r *reader) changed(s *statement, o op, name string) {
	o.column = r.columnDef(name)
	switch {
	case r.take("first"):
		o.placed = true
	case r.take("after"):
		o.placed, o.after = true, r.column()
		if o.after == "" {
			r.fail()
		}
	}
	s.add(o)
	for _, k := range o.column.keys {
		s.add(op{kind: opAddKey, key: k})
	}
}

func (r *reader) dropClause(s *statement) {
	switch {
	case r.seq("primary", "key"):
		s.add(op{kind: opDropKey, name: "PRIMARY", primary: true})
	case r.take("index", "key"):
		o := op{kind: opDropKey, exists: r.ifExists()}
		o.name = r.ident()
		s.add(o)
	case r.seq("foreign", "key"):
		r.ifExists()
		r.ident()
	case r.is("check", "constraint") && r.ahead.kind != tokenOther && r.ahead.kind != tokenEnd:
		check := r.take("check")
		r.take("constraint")
		o := op{kind: opDropConstraint, exists: r.ifExists()}
		o.name = r.ident()
		if !check {
			s.add(o)
		}
	case r.is("system", "period") && isWord(r.ahead, "versioning", "for"):
		r.fail()
	default:
		r.take("column")
		o := op{kind: opDrop, exists: r.ifExists()}
		o.name = r.column()
		r.take("restrict", "cascade")
		s.add(o)
	}
}

func (r *reader) renameClause(s *statement) {
	switch {
	case r.take("column"):
		o := op{kind: opRenameColumn, exists: r.ifExists()}
		o.name = r.column()
		r.need("to")
		o.to = r.column()
		s.add(o)
	case r.take("index", "key"):
		o := op{kind: opRenameKey, exists: r.ifExists()}
		o.name = r.ident()
		r.need("to")
		o.to = r.ident()
		s.add(o)
	default:
		r.take("to", "as")
		r.punct('=')
		s.to = r.name()
	}
}

// alterClause reads ALTER COLUMN, INDEX, CHECK and CONSTRAINT.
func (r *reader) alterClause(s *statement) {
	switch {
	case r.is("index", "key") && (r.ahead.kind == tokenWord || r.ahead.kind == tokenQuoted):
		r.next()
		r.ifExists()
		r.ident()
		r.take("not")
		r.need("visible", "invisible", "ignored")
	case r.is("check", "constraint") && (r.ahead.kind == tokenWord || r.ahead.kind == tokenQuoted):
		r.next()
		r.ident()
		r.take("not")
		r.need("enforced")
	default:
		r.take("column")
		r.ifExists()
		o := op{kind: opHide, name: r.column()}
		switch {
		case r.seq("drop", "default"):
		case r.seq("set", "default"):
			r.value()
		default:
			r.need("set")
			o.column.hidden = r.is("invisible")
			r.need("visible", "invisible")
			s.add(o)
		}
	}
}

// orderBy passes a list of columns; one named like a clause must be quoted.
func (r *reader) orderBy() {
	for !r.bad {
		r.column()
		r.take("asc", "desc")
		if !r.isPunct(',') || isWord(r.ahead, "add", "drop", "modify", "change", "rename", "alter", "convert", "order",
			"force", "algorithm", "lock", "engine", "comment", "default", "charset", "collate", "character") {
			return
		}
		r.next()
	}
}
