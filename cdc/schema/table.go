package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Table is a table's definition, as far as rows need it. A Table is never
// changed once a History has it.
type Table struct {
	DB      string   `json:"db"`
	Name    string   `json:"name"`
	Charset string   `json:"charset,omitempty"` // the default; "" not known
	Columns []Column `json:"columns"`
	Keys    []Key    `json:"keys,omitempty"` // in the server's order
}

// Column is one column.
type Column struct {
	Name string `json:"name"`
	// Native is the type as information_schema.COLUMNS.COLUMN_TYPE has it.
	Native    string   `json:"native"`
	Charset   string   `json:"charset,omitempty"` // of text and labels; "" for others, or not known
	Labels    []string `json:"labels,omitempty"`  // of ENUM and SET
	NotNull   bool     `json:"not_null,omitempty"`
	Invisible bool     `json:"invisible,omitempty"`
	// Implied says that nothing was said of NULL in the definition of a
	// TIMESTAMP: a variable of the server decides, and the log tells.
	Implied bool `json:"implied,omitempty"`
}

// Key is an index.
type Key struct {
	Name    string `json:"name"`
	Primary bool   `json:"primary,omitempty"`
	Unique  bool   `json:"unique,omitempty"`
	Parts   []Part `json:"parts"`
}

// Part is a column of a key; Column is empty for an expression.
type Part struct {
	Column string `json:"column"`
	Prefix bool   `json:"prefix,omitempty"` // only the value's first characters
}

// Index returns the index of the column, or -1. Names of columns are the same
// in upper and lower case.
func (t *Table) Index(column string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return strings.EqualFold(c.Name, column) })
}

// Key returns the columns that identify a row, in key order: those of the
// primary key, or of the first unique key without prefixes, expressions and
// columns that may be NULL. nullable, if not nil, knows better which may.
func (t *Table) Key(nullable func(column int) bool) []int {
	if nullable == nil {
		nullable = func(i int) bool { return !t.Columns[i].NotNull }
	}
	for _, k := range t.Keys {
		if !k.Primary && !k.Unique {
			continue
		}
		list := make([]int, 0, len(k.Parts))
		for _, p := range k.Parts {
			i := t.Index(p.Column)
			if i < 0 || !k.Primary && (p.Prefix || nullable(i)) {
				list = nil
				break
			}
			list = append(list, i)
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// indexBytesMin is the smallest of the limits, by engine and row format, of how
// many bytes an index takes.
const indexBytesMin = 767

// Hashes returns for how many unique keys MariaDB keeps a hidden column with a
// hash of the values, DB_ROW_HASH_n: those over a whole TEXT or BLOB, at least,
// and at most also those that are too long for some index.
func (t *Table) Hashes() (least, most int) {
	for _, k := range t.Keys {
		if k.Primary || !k.Unique {
			continue
		}
		large, bytes := false, 0
		for _, p := range k.Parts {
			i := t.Index(p.Column)
			if i < 0 {
				continue
			}
			base, n := strings.ToLower(t.Columns[i].Native), 0
			if at := strings.IndexByte(base, '('); at >= 0 {
				_, _ = fmt.Sscanf(base[at:], "(%d)", &n) // 0 for what has no length
				base = base[:at]
			}
			large = large || !p.Prefix && (strings.HasSuffix(base, "text") || strings.HasSuffix(base, "blob"))
			bytes += n * max(widest(t.Columns[i].Charset), 1)
		}
		if large {
			least++
		}
		if large || bytes > indexBytesMin {
			most++
		}
	}
	return least, most
}

// rank orders keys as both servers keep them (sort_keys in sql_table.cc): the
// primary one, unique ones without NULLs, other unique ones, the rest.
func (t *Table) rank(k *Key) int {
	switch {
	case k.Primary:
		return 0
	case !k.Unique:
		return 4
	}
	rank := 1
	for _, p := range k.Parts {
		if i := t.Index(p.Column); i < 0 || !t.Columns[i].NotNull {
			return 3
		}
		if p.Prefix {
			rank = 2
		}
	}
	return rank
}

// rekeyed reports whether a column of a unique key changes its type so that the
// server chooses itself how much of it the key takes: it comes to be, or was, a
// TEXT or BLOB, or a prefix is in the key; or it was an ENUM or SET and becomes a
// text, of which the key may then take no more bytes than the number had.
func (t *Table) rekeyed(name, before, after string) bool {
	if before == after {
		return false
	}
	free := isLarge(before) || isLarge(after) || isLabel(before) && isString(after)
	return slices.ContainsFunc(t.Keys, func(k Key) bool {
		return k.Unique && slices.ContainsFunc(k.Parts, func(p Part) bool {
			return strings.EqualFold(p.Column, name) && (free || p.Prefix)
		})
	})
}

func isLarge(native string) bool {
	return strings.HasSuffix(native, "text") || strings.HasSuffix(native, "blob")
}

func isLabel(native string) bool {
	return strings.HasPrefix(native, "enum(") || strings.HasPrefix(native, "set(")
}

// isString is about CHAR, VARCHAR, BINARY and VARBINARY.
func isString(native string) bool {
	base, _, _ := strings.Cut(native, "(")
	return strings.HasSuffix(base, "char") || strings.HasSuffix(base, "binary")
}

// settle puts the keys in order, and gives columns of the primary key what it
// implies.
func (t *Table) settle() {
	for _, k := range t.Keys {
		for _, p := range k.Parts {
			if i := t.Index(p.Column); k.Primary && i >= 0 {
				t.Columns[i].NotNull, t.Columns[i].Implied = true, false
			}
		}
	}
	slices.SortStableFunc(t.Keys, func(a, b Key) int { return t.rank(&a) - t.rank(&b) })
}

// generated reports whether the first column is the key that MySQL made by
// itself (sql_generate_invisible_primary_key): it stays the first.
func (t *Table) generated() bool {
	c := &t.Columns[0]
	return strings.EqualFold(c.Name, "my_row_id") && c.Invisible && c.Native == "bigint unsigned" &&
		len(t.Keys) > 0 && t.Keys[0].Primary && len(t.Keys[0].Parts) == 1 && strings.EqualFold(t.Keys[0].Parts[0].Column, c.Name)
}

func (t *Table) clone() *Table {
	c := *t
	c.Columns = slices.Clone(t.Columns)
	c.Keys = slices.Clone(t.Keys)
	for i := range c.Keys {
		c.Keys[i].Parts = slices.Clone(c.Keys[i].Parts)
	}
	return &c
}

// named returns the definition under another name.
func (t *Table) named(db, name string) *Table {
	c := *t
	c.DB, c.Name = db, name
	return &c
}

func (t *Table) key(name string) int {
	return slices.IndexFunc(t.Keys, func(k Key) bool { return strings.EqualFold(k.Name, name) })
}

// keyName returns the name that the server gives to an index without one: its
// first column's, with a number if that is taken.
func (t *Table) keyName(k *Key) string {
	if k.Primary {
		return "PRIMARY"
	}
	base := k.Parts[0].Column
	if base == "" {
		base = "functional_index"
	}
	name := base
	for n := 2; t.key(name) >= 0 || strings.EqualFold(name, "PRIMARY"); n++ {
		name = base + "_" + itoa(n)
	}
	return name
}
