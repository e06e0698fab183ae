package tables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// patternsMax bounds the length of a filter.
const patternsMax = 10_000

// Filter says which tables are followed. It is made of patterns "db.table" in
// which * stands for any run of characters, also across none. Names are
// compared as the log writes them, byte for byte: on a server with
// lower_case_table_names = 1 (Windows, some managed services) they are in
// lower case there, so the patterns must be too. A name may be put in
// backquotes, inside which * and . mean themselves and a backquote is doubled.
//
// The system schemas (mysql, information_schema, performance_schema, sys) are
// followed only where a pattern writes their name out.
type Filter struct{ patterns []pattern }

type pattern struct {
	db, table part
	text      string
}

// part is one side of a pattern: runs of text between asterisks.
type part struct{ runs []string }

// New returns the Filter of the patterns, and a fault of code tables_invalid
// for each that can't be read; its path is "tables[i]".
func New(patterns []string) (*Filter, []*fault.Fault) {
	const hint = `write tables as "db.table", with * for any run of characters, such as tables: [shop.orders, "shop.item_*"]; names with spaces or dots go into backquotes`
	f := &Filter{}
	var faults []*fault.Fault
	refuse := func(path, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, "tables_invalid", path, hint, format, args...))
	}
	if len(patterns) == 0 {
		refuse("tables", "no table is followed")
	}
	if len(patterns) > patternsMax {
		refuse("tables", "%d patterns are more than %d", len(patterns), patternsMax)
		return f, faults
	}
	for i, text := range patterns {
		p, ok := parse(text)
		if !ok {
			refuse(fmt.Sprintf("tables[%d]", i), "%q is not a pattern of a table's name", text)
			continue
		}
		f.patterns = append(f.patterns, p)
	}
	return f, faults
}

func parse(text string) (pattern, bool) {
	db, rest, ok := parsePart(text)
	if !ok || !strings.HasPrefix(rest, ".") {
		return pattern{}, false
	}
	table, rest, ok := parsePart(rest[1:])
	return pattern{db: db, table: table, text: text}, ok && rest == ""
}

// parsePart reads a name up to a dot or the end.
func parsePart(text string) (p part, rest string, ok bool) {
	if strings.HasPrefix(text, "`") {
		var name strings.Builder
		for i := 1; i < len(text); i++ {
			if text[i] != '`' {
				name.WriteByte(text[i])
				continue
			}
			if i+1 < len(text) && text[i+1] == '`' {
				name.WriteByte('`')
				i++
				continue
			}
			return part{[]string{name.String()}}, text[i+1:], name.Len() > 0
		}
		return p, "", false
	}
	end := strings.IndexByte(text, '.')
	if end < 0 {
		end = len(text)
	}
	name := text[:end]
	if name == "" || strings.ContainsAny(name, "` \t\n") {
		return p, "", false
	}
	return part{strings.Split(name, "*")}, text[end:], true
}

func (p part) match(name string) bool {
	first, last := p.runs[0], p.runs[len(p.runs)-1]
	if len(p.runs) == 1 {
		return name == first
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, run := range p.runs[1 : len(p.runs)-1] {
		i := strings.Index(name, run)
		if i < 0 {
			return false
		}
		name = name[i+len(run):]
	}
	return true
}

// literal returns the name that the part means, if it means exactly one.
func (p part) literal() (string, bool) { return p.runs[0], len(p.runs) == 1 }

// Match reports whether the table is followed.
func (f *Filter) Match(db, table string) bool {
	system := System(db)
	return slices.ContainsFunc(f.patterns, func(p pattern) bool {
		if _, exact := p.db.literal(); system && !exact {
			return false
		}
		return p.db.match(db) && p.table.match(table)
	})
}

// MatchDB reports whether a table of the schema may be followed.
func (f *Filter) MatchDB(db string) bool {
	system := System(db)
	return slices.ContainsFunc(f.patterns, func(p pattern) bool {
		if _, exact := p.db.literal(); system && !exact {
			return false
		}
		return p.db.match(db)
	})
}

// Name is a table's name.
type Name struct{ DB, Table string }

// Named is a pattern that means exactly one table.
type Named struct {
	Name
	Index int // of the pattern
}

// Named returns the tables that patterns without asterisk name.
func (f *Filter) Named() []Named {
	var out []Named
	for i, p := range f.patterns {
		db, ok := p.db.literal()
		table, ok2 := p.table.literal()
		if ok && ok2 {
			out = append(out, Named{Name{db, table}, i})
		}
	}
	return out
}

// System reports whether the schema is one of the server's own.
func System(db string) bool {
	switch db {
	case "mysql", "information_schema", "performance_schema", "sys":
		return true
	}
	return false
}
