package schema

import "github.com/cdcd-io/cdcd/cdc/mysql/tables"

// read understands a statement, or says that it can't, or that it need not.
func read(q *Query) (statement, Class) {
	r := newReader(q)
	s, class := r.statement()
	if r.bad || r.l.bad {
		class = Uncertain
	}
	if class == Understood && q.Mode.Foreign && (s.verb == verbCreate || s.verb == verbAlter) {
		class = Uncertain
	}
	return s, class
}

func (r *reader) statement() (statement, Class) {
	switch {
	case r.take("create"):
		return r.create()
	case r.take("alter"):
		for r.take("online", "offline", "ignore") {
		}
		switch {
		case r.take("table"):
			return r.alterTable()
		case r.take("database", "schema"):
			return r.alterDatabase()
		}
		return statement{}, r.other()
	case r.take("drop"):
		return r.drop()
	case r.take("rename"):
		if r.take("table", "tables") {
			return r.rename()
		}
		return statement{}, r.other()
	case r.seq("set", "statement"): // MariaDB: SET STATEMENT variable=value FOR statement
		for r.t.kind != tokenEnd && !r.is("for") {
			if r.is("sql_mode", "collation_server", "character_set_server") {
				return statement{}, Uncertain
			}
			r.next()
		}
		r.need("for")
		if r.bad || r.seq("set", "statement") {
			return statement{}, Uncertain
		}
		return r.statement()
	case r.is("truncate", "grant", "revoke", "flush", "analyze", "optimize", "repair", "check", "set", "install", "uninstall",
		"use", "insert", "replace", "update", "delete", "select", "begin", "commit", "rollback", "savepoint", "release",
		"start", "xa", "call", "do", "load", "with", "lock", "unlock", "import", "reset", "purge", "cache"),
		r.t.kind == tokenEnd && !r.l.bad:
		return statement{}, Benign
	}
	return statement{}, Uncertain
}

func (r *reader) alterDatabase() (statement, Class) {
	s := statement{verb: verbAlterDB, name: tables.Name{DB: r.db}}
	if !r.is("default", "character", "char", "charset", "collate", "comment", "encryption", "read") {
		s.name.DB = r.ident()
	}
	s.charset = r.databaseOptions()
	if !s.charset.set && !r.bad {
		return s, Benign
	}
	return s, r.understood()
}

func (r *reader) drop() (statement, Class) {
	s := statement{verb: verbDrop}
	switch {
	case r.seq("temporary", "table"), r.seq("temporary", "tables"):
		return s, Benign
	case r.take("table", "tables"):
		r.ifExists()
		s.names = r.names()
		r.take("restrict", "cascade")
		r.alterEnd()
		return s, r.understood()
	case r.take("database", "schema"):
		s.verb = verbDropDB
		r.ifExists()
		s.name.DB = r.ident()
		return s, r.understood()
	case r.take("online", "offline"), r.is("index"):
		r.need("index")
		o := op{kind: opDropKey, exists: r.ifExists()}
		o.name = r.ident()
		r.need("on")
		s.verb, s.name = verbAlter, r.name()
		s.add(o)
		r.alterEnd()
		return s, r.understood()
	}
	return s, r.other()
}

func (r *reader) rename() (statement, Class) {
	s := statement{verb: verbRename}
	r.ifExists()
	for !r.bad {
		from := r.name()
		if r.take("wait") {
			r.number()
		}
		r.take("nowait")
		r.need("to")
		s.pairs = append(s.pairs, [2]tables.Name{from, r.name()})
		if !r.punct(',') {
			break
		}
	}
	return s, r.understood()
}

// other answers for CREATE, ALTER, DROP and RENAME of things that are no
// tables. Their noun may stand behind options such as DEFINER=....
func (r *reader) other() Class {
	for range 40 {
		switch {
		case r.is("view", "procedure", "function", "trigger", "event", "user", "role", "server", "tablespace", "logfile",
			"undo", "resource", "instance", "sequence", "package", "spatial", "library", "aggregate", "json", "prepare"):
			return Benign
		case r.t.kind == tokenEnd, r.is("table", "tables", "database", "schema", "index"):
			return Uncertain
		}
		r.next()
	}
	return Uncertain
}
