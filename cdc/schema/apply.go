package schema

import (
	"slices"
	"strings"
)

// build makes a table of the body of CREATE TABLE. ok is false where it can't be
// told what the server made of it.
func (d *definition) build(db, name, charset string) (*Table, bool) {
	t := &Table{DB: db, Name: name, Charset: charset}
	for i := range d.columns {
		c, ok := d.columns[i].resolve(charset)
		if !ok || t.Index(c.Name) >= 0 {
			return nil, false
		}
		t.Columns = append(t.Columns, c)
	}
	for i := range d.keys {
		if !t.addKey(d.keys[i]) {
			return nil, false
		}
	}
	t.settle()
	return t, len(t.Columns) > 0
}

// addKey adds a key, of which a name may be missing.
func (t *Table) addKey(k Key) bool {
	if len(k.Parts) == 0 {
		return false
	}
	k.Parts = slices.Clone(k.Parts)
	for i, p := range k.Parts {
		if p.Column == "" {
			continue
		}
		at := t.Index(p.Column)
		if at < 0 {
			return false
		}
		k.Parts[i].Column = t.Columns[at].Name
	}
	if k.Primary && t.key("PRIMARY") >= 0 {
		return false
	}
	if k.Name == "" || k.Primary {
		k.Name = t.keyName(&k)
	}
	t.Keys = append(t.Keys, k)
	return true
}

// alter applies clauses of ALTER TABLE, in the order of the servers
// (mysql_prepare_alter_table): first what becomes of the columns that are
// there, by their old names; then those that are new or moved, in the order
// of the clauses; then the keys. dbCharset is the database's.
func (t *Table) alter(ops []op, dbCharset string) (*Table, bool) {
	n := t.clone()
	for i := range ops {
		if o := &ops[i]; o.kind == opDefaultCharset || o.kind == opConvert {
			n.Charset = o.charset.in(dbCharset)
			if o.charset.collate && !o.charset.def {
				n.Charset = t.Charset
			}
			if o.kind == opConvert && !n.convert() {
				return nil, false
			}
		}
	}
	forced := ""
	if slices.ContainsFunc(ops, func(o op) bool { return o.kind == opConvert }) {
		forced = n.Charset
		if slices.ContainsFunc(ops, func(o op) bool { return o.kind == opDefaultCharset }) {
			return nil, false // MariaDB makes something else of it than MySQL
		}
	}
	if t.replaced(ops) {
		return nil, false
	}
	if !n.alterColumns(t, ops, forced) {
		return nil, false
	}
	if !n.place(ops, forced) {
		return nil, false
	}
	for i := range ops {
		if !n.alterKeys(t, &ops[i]) {
			return nil, false
		}
	}
	if at := n.Index("my_row_id"); at > 0 && t.generated() {
		c := n.Columns[at]
		n.Columns = slices.Insert(slices.Delete(n.Columns, at, at+1), 0, c)
	}
	n.settle()
	return n, len(n.Columns) > 0
}

// replaced reports whether a column of a key is dropped and added anew in one
// statement: MariaDB's key then has the new one, MySQL's has none.
func (t *Table) replaced(ops []op) bool {
	return slices.ContainsFunc(ops, func(add op) bool {
		return add.kind == opAdd && slices.ContainsFunc(ops, func(drop op) bool {
			return drop.kind == opDrop && strings.EqualFold(drop.name, add.column.name)
		}) && slices.ContainsFunc(t.Keys, func(k Key) bool {
			return slices.ContainsFunc(k.Parts, func(p Part) bool { return strings.EqualFold(p.Column, add.column.name) })
		})
	})
}

// alterColumns drops, changes and renames columns where they are. Several
// names may change hands, so the old definition tells who is meant.
func (n *Table) alterColumns(t *Table, ops []op, forced string) bool {
	out := make([]Column, 0, len(n.Columns))
	used := 0
	for i, c := range n.Columns {
		old := t.Columns[i].Name
		gone := false
		for k := range ops {
			o := &ops[k]
			if !o.ofColumn() || !strings.EqualFold(o.name, old) {
				continue
			}
			used++
			switch o.kind {
			case opDrop:
				gone = true
				n.dropParts(old)
			case opRenameColumn:
				c.Name = o.to
			case opHide:
				c.Invisible = o.column.hidden
			case opChange:
				changed, ok := o.column.forced(forced).resolve(n.Charset)
				if !ok || forced != "" && o.column.typ.open() || t.rekeyed(old, c.Native, changed.Native) {
					return false
				}
				gone = o.placed // comes in again at its place
				c = changed
			}
		}
		if !gone {
			out = append(out, c)
		}
	}
	for k := range ops {
		if o := &ops[k]; o.ofColumn() {
			if t.Index(o.name) < 0 && o.exists {
				used++
			}
			used--
		}
	}
	n.Columns = out
	n.renameParts(ops)
	return used == 0
}

// ofColumn reports whether a clause is about a column that is there.
func (o *op) ofColumn() bool {
	return o.kind == opDrop || o.kind == opChange || o.kind == opRenameColumn || o.kind == opHide
}

// place puts in the columns that are new, or moved.
func (n *Table) place(ops []op, forced string) bool {
	for k := range ops {
		o := &ops[k]
		if o.kind != opAdd && !(o.kind == opChange && o.placed) {
			continue
		}
		if n.Index(o.column.name) >= 0 {
			if o.kind == opAdd && o.exists {
				continue
			}
			return false
		}
		c, ok := o.column.forced(forced).resolve(n.Charset)
		if !ok {
			return false
		}
		at := len(n.Columns)
		switch {
		case o.placed && o.after == "":
			at = 0
		case o.placed:
			if at = n.Index(o.after) + 1; at == 0 {
				return false
			}
		}
		n.Columns = slices.Insert(n.Columns, at, c)
	}
	names := map[string]bool{}
	for _, c := range n.Columns {
		lower := strings.ToLower(c.Name)
		if names[lower] {
			return false
		}
		names[lower] = true
	}
	return true
}

// dropParts takes a column out of the keys.
func (n *Table) dropParts(column string) {
	for i := range n.Keys {
		n.Keys[i].Parts = slices.DeleteFunc(n.Keys[i].Parts, func(p Part) bool { return strings.EqualFold(p.Column, column) })
	}
	n.Keys = slices.DeleteFunc(n.Keys, func(k Key) bool { return len(k.Parts) == 0 })
}

// renameParts gives the columns of keys their new names, all at once.
func (n *Table) renameParts(ops []op) {
	for i := range n.Keys {
		for j := range n.Keys[i].Parts {
			p := &n.Keys[i].Parts[j]
			for k := range ops {
				o := &ops[k]
				if (o.kind == opChange || o.kind == opRenameColumn) && strings.EqualFold(o.name, p.Column) {
					p.Column = o.to
					if o.kind == opChange {
						p.Column = o.column.name
					}
					break
				}
			}
		}
	}
}

// alterKeys applies one clause to the keys; t is the table before.
func (n *Table) alterKeys(t *Table, o *op) bool {
	switch o.kind {
	case opAddKey:
		if o.exists && n.key(o.key.Name) >= 0 {
			return true
		}
		return n.addKey(o.key)
	case opDropKey, opDropConstraint:
		at := n.key(o.name)
		switch {
		case at >= 0:
			n.Keys = slices.Delete(n.Keys, at, at+1)
		case o.exists, o.kind == opDropConstraint:
		default:
			return t.key(o.name) >= 0 // went with its column
		}
	case opRenameKey:
		at := n.key(o.name)
		if at < 0 {
			return o.exists
		}
		n.Keys[at].Name = o.to
	}
	return true
}

// convert gives all texts the table's character set. A TEXT grows where the
// same number of characters needs more bytes.
func (n *Table) convert() bool {
	if n.Charset == "" || n.Charset == "binary" {
		return false
	}
	for i := range n.Columns {
		c := &n.Columns[i]
		base, _, _ := strings.Cut(c.Native, " ")
		switch {
		case strings.HasSuffix(base, "text") && c.Charset == "":
			return false
		case isLabel(base) && len(c.Labels) == 0:
			return false // the catalog could not print them, and may be able to now
		case c.Charset != n.Charset && slices.ContainsFunc(c.Labels, func(l string) bool { return l == "" || !ascii(l) }):
			return false // MySQL 9.7 spoils such labels
		case strings.HasSuffix(base, "text") && widest(n.Charset) > widest(c.Charset):
			c.Native = grown(base, widest(c.Charset), widest(n.Charset)) + c.Native[len(base):]
		case strings.HasPrefix(base, "varchar("):
			if length(base)*widest(n.Charset) > 65535 {
				return false
			}
		case strings.HasPrefix(base, "char("), strings.HasPrefix(c.Native, "enum("), strings.HasPrefix(c.Native, "set("),
			strings.HasSuffix(base, "text"):
		default:
			continue
		}
		c.Charset = n.Charset
	}
	return true
}

func grown(base string, from, to int) string {
	bytes := map[string]int{"tinytext": 255, "text": 65535, "mediumtext": 1<<24 - 1}[base]
	if bytes == 0 {
		return base
	}
	return sized(bytes / from * to)
}

// length returns the number in the parentheses of "varchar(20)".
func length(native string) (n int) {
	for _, c := range native[strings.IndexByte(native, '(')+1:] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
