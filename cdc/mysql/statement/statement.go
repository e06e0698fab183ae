package statement

import (
	"bytes"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
)

// Kind is what a statement means for a reader of changes.
type Kind uint8

// The kinds of statement.
const (
	Unknown    Kind = iota // not understood: it may have changed any table's definition
	Benign                 // changes neither rows nor definitions of tables
	Begin                  // BEGIN, or CREATE TABLE ... START TRANSACTION, whose tables are in Tables
	Commit                 // ends a transaction
	Rollback               // undoes one
	Savepoint              // Name is set
	RollbackTo             // Name is set
	XAStart                // begins an XA transaction; Name is its id
	XAEnd                  // inside one: nothing
	XACommit               // commits a prepared one; Name is its id
	XARollback             // undoes a prepared one; Name is its id
	DML                    // changes rows in statement format; no Tables means of any table
	Truncate               // empties Tables[0]
	DDL                    // changes the definitions of Tables, or of all tables of DB
)

// Statement is what a statement means.
type Statement struct {
	Kind   Kind
	Tables []tables.Name
	DB     string // DDL: all of its tables; DML without Tables: the default schema
	Name   string // of a savepoint; the id of an XA transaction, as XID writes it
}

// tokensMax bounds how much of a statement is looked at: names of tables come
// early, and what is cut off is Unknown.
const tokensMax = 10_000

// Read says what a statement means. schema is the default schema that it was
// executed in; text is not kept.
func Read(text []byte, schema string) Statement {
	switch string(text) {
	case "BEGIN":
		return Statement{Kind: Begin}
	case "COMMIT":
		return Statement{Kind: Commit}
	}
	r := reader{s: scanner{p: text}, schema: schema}
	r.next()
	return r.statement()
}

// reader walks over a statement with one token in hand.
type reader struct {
	s      scanner
	t      token
	schema string
	seen   int
}

func (r *reader) next() {
	if r.seen++; r.seen > tokensMax {
		r.t = token{}
		return
	}
	r.t = r.s.next()
}

// is reports whether the token in hand is one of the words.
func (r *reader) is(words ...string) bool {
	if r.t.kind != tokenWord {
		return false
	}
	for _, w := range words {
		if len(w) == len(r.t.text) && strings.EqualFold(w, string(r.t.text)) {
			return true
		}
	}
	return false
}

// take passes the token in hand if it is one of the words.
func (r *reader) take(words ...string) bool {
	if !r.is(words...) {
		return false
	}
	r.next()
	return true
}

// punct passes a byte of punctuation.
func (r *reader) punct(c byte) bool {
	if r.t.kind != tokenOther || r.t.text[0] != c {
		return false
	}
	r.next()
	return true
}

// ident reads one identifier.
func (r *reader) ident() (string, bool) {
	if r.t.kind != tokenWord && r.t.kind != tokenQuoted {
		return "", false
	}
	text := string(r.t.text)
	r.next()
	return text, text != ""
}

// name reads a table's name: "table", "db.table" or ".table".
func (r *reader) name() (tables.Name, bool) {
	r.punct('.')
	first, ok := r.ident()
	if !ok {
		return tables.Name{}, false
	}
	if !r.punct('.') {
		return tables.Name{DB: r.schema, Table: first}, true
	}
	table, ok := r.ident()
	return tables.Name{DB: first, Table: table}, ok
}

// names reads a list of tables.
func (r *reader) names() (list []tables.Name, ok bool) {
	for {
		n, ok := r.name()
		if !ok {
			return nil, false
		}
		list = append(list, n)
		if !r.punct(',') {
			return list, true
		}
	}
}

// skipTo passes everything up to and including one of the words.
func (r *reader) skipTo(words ...string) bool {
	for r.t.kind != tokenEnd {
		if r.take(words...) {
			return true
		}
		r.next()
	}
	return false
}

func (r *reader) statement() Statement {
	for r.punct('(') {
	}
	switch {
	case r.take("begin"), r.is("start") && r.startsTransaction():
		return Statement{Kind: Begin}
	case r.take("commit"):
		return Statement{Kind: Commit}
	case r.take("rollback"):
		r.take("work")
		if r.take("to") {
			r.take("savepoint")
			name, _ := r.ident()
			return Statement{Kind: RollbackTo, Name: name}
		}
		return Statement{Kind: Rollback}
	case r.take("savepoint"):
		name, _ := r.ident()
		return Statement{Kind: Savepoint, Name: name}
	case r.take("xa"):
		return r.xa()
	case r.is("insert", "replace", "update", "delete", "load", "with", "select", "call", "do", "handler"):
		return r.dml()
	case r.take("truncate"):
		r.take("table")
		if n, ok := r.name(); ok {
			return Statement{Kind: Truncate, Tables: []tables.Name{n}}
		}
		return Statement{}
	case r.take("set"):
		// MariaDB: SET STATEMENT variable=value FOR statement.
		if r.take("statement") && r.skipTo("for") {
			return r.statement()
		}
		return Statement{Kind: Benign}
	case r.take("create"):
		return r.create()
	case r.take("alter"):
		return r.alter()
	case r.take("drop"):
		return r.drop()
	case r.take("rename"):
		return r.rename()
	case r.is("grant", "revoke", "flush", "analyze", "optimize", "repair", "check", "install", "uninstall", "use",
		"release", "reset", "purge", "lock", "unlock", "cache", "import", "show", "kill", "shutdown", "comment"):
		return Statement{Kind: Benign}
	case r.t.kind == tokenEnd:
		return Statement{Kind: Benign} // nothing but a comment
	}
	return Statement{}
}

// startsTransaction tells START TRANSACTION from START REPLICA and the like.
func (r *reader) startsTransaction() bool {
	r.next()
	return r.is("transaction")
}

// dml reads a statement that changes rows. Where it can't tell which tables, or
// a function may have changed any, it names none.
func (r *reader) dml() Statement {
	whole := Statement{Kind: DML, DB: r.schema}
	var list []tables.Name
	switch {
	case r.take("insert", "replace"):
		for r.take("low_priority", "delayed", "high_priority", "ignore", "into") {
		}
		n, ok := r.name()
		if !ok {
			return whole
		}
		list = append(list, n)
	case r.take("load"):
		if !r.skipTo("table") {
			return whole
		}
		n, ok := r.name()
		if !ok {
			return whole
		}
		list = append(list, n)
	case r.take("update"):
		list = r.mentioned("set")
	case r.take("delete"):
		list = r.mentioned("where", "order", "limit", "returning")
	}
	if len(list) == 0 {
		return whole
	}
	return Statement{Kind: DML, DB: r.schema, Tables: list}
}

// mentioned returns everything up to one of the words that may be a table's
// name: rather too many than too few.
func (r *reader) mentioned(words ...string) (list []tables.Name) {
	for r.t.kind != tokenEnd && !r.is(words...) {
		if n, ok := r.name(); ok {
			list = append(list, n)
			continue
		}
		r.next()
	}
	return list
}

// endsWith reports whether the statement ends so, whatever the case.
func endsWith(text []byte, suffix string) bool {
	text = bytes.TrimRight(text, " \t\r\n;")
	return len(text) >= len(suffix) && strings.EqualFold(string(text[len(text)-len(suffix):]), suffix)
}
