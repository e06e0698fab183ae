package statement

import "github.com/cdcd-io/cdcd/cdc/mysql/tables"

// ifExists passes IF EXISTS and IF NOT EXISTS.
func (r *reader) ifExists() {
	if r.take("if") {
		r.take("not")
		r.take("exists")
	}
}

// beforeTable passes what may stand between the verb and TABLE. ok is false
// when the statement is about something else.
func (r *reader) beforeTable() (temporary, ok bool) {
	for {
		switch {
		case r.take("temporary"):
			temporary = true
		case r.take("online", "offline", "ignore"):
		case r.take("or"):
			r.take("replace")
		case r.take("table", "tables"):
			r.take("wait", "nowait")
			r.ifExists()
			return temporary, true
		default:
			return false, false
		}
	}
}

func (r *reader) create() Statement {
	text := r.s.p
	temporary, ok := r.beforeTable()
	switch {
	case ok:
		n, ok := r.name()
		if !ok {
			return Statement{}
		}
		if temporary {
			return Statement{Kind: Benign}
		}
		s := Statement{Kind: DDL, Tables: []tables.Name{n}}
		// CREATE TABLE ... SELECT since MySQL 8.0.21: the rows follow in the
		// same transaction.
		if endsWith(text, "START TRANSACTION") {
			s.Kind = Begin
		}
		return s
	case r.is("index", "unique", "fulltext", "spatial", "vector"):
		return r.index()
	}
	return r.notTables()
}

// index reads CREATE or DROP INDEX ... ON table.
func (r *reader) index() Statement {
	if r.skipTo("on") {
		if n, ok := r.name(); ok {
			return Statement{Kind: DDL, Tables: []tables.Name{n}}
		}
	}
	return Statement{}
}

func (r *reader) alter() Statement {
	if r.is("database", "schema") {
		return r.database()
	}
	if _, ok := r.beforeTable(); !ok {
		return r.notTables()
	}
	n, ok := r.name()
	if !ok {
		return Statement{}
	}
	s := Statement{Kind: DDL, Tables: []tables.Name{n}}
	for r.t.kind != tokenEnd {
		switch {
		case r.take("rename"):
			if r.is("column", "index", "key") {
				continue
			}
			r.take("to", "as")
			r.punct('=')
		case r.take("with"): // EXCHANGE PARTITION p WITH TABLE other
			if !r.take("table") {
				continue
			}
		default:
			r.next()
			continue
		}
		if n, ok := r.name(); ok {
			s.Tables = append(s.Tables, n)
		}
	}
	if r.seen > tokensMax {
		return Statement{}
	}
	return s
}

func (r *reader) drop() Statement {
	switch {
	case r.is("database", "schema"):
		return r.database()
	case r.is("index"):
		return r.index()
	}
	temporary, ok := r.beforeTable()
	if !ok {
		return r.notTables()
	}
	list, ok := r.names()
	switch {
	case !ok:
		return Statement{}
	case temporary:
		return Statement{Kind: Benign}
	}
	return Statement{Kind: DDL, Tables: list}
}

func (r *reader) database() Statement {
	r.next()
	r.ifExists()
	name, ok := r.ident()
	if !ok || name == "" {
		return Statement{}
	}
	return Statement{Kind: DDL, DB: name}
}

func (r *reader) rename() Statement {
	if !r.take("table", "tables") {
		return r.notTables()
	}
	r.ifExists()
	s := Statement{Kind: DDL}
	for {
		from, ok := r.name()
		r.take("wait", "nowait")
		if !ok || !r.take("to") {
			return Statement{}
		}
		to, ok := r.name()
		if !ok {
			return Statement{}
		}
		s.Tables = append(s.Tables, from, to)
		if !r.punct(',') {
			return s
		}
	}
}

// notTables answers for CREATE, ALTER, DROP and RENAME of other things, whose
// noun may stand behind options such as DEFINER=... or ALGORITHM=....
func (r *reader) notTables() Statement {
	for range 40 {
		if r.is("view", "procedure", "function", "trigger", "event", "user", "role", "server", "tablespace", "logfile",
			"undo", "resource", "instance", "sequence", "package", "database", "schema", "catalog", "library",
			"spatial", "aggregate", "prepare", "materialized", "json") {
			return Statement{Kind: Benign}
		}
		if r.t.kind == tokenEnd {
			break
		}
		r.next()
	}
	return Statement{}
}
