package scan

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/sdk"
)

// span is a Range, decoded.
type span struct {
	after, upTo []part
	from        bool // the row at after is in it
}

// statement writes a SELECT of a table's columns over the rows of a span, in the
// table's order, of which it takes rows; 0 is all.
//
// The server compares in the column's own type and collation. A row constructor,
// (a, b) > (x, y), would be easier to read, and neither server reads a range of the
// index for it; written out it does.
func (t *Table) statement(s span, rows int) string {
	b := t.appendRange(t.appendFrom(t.list, "FORCE"), s, t.where)
	b = t.appendOrder(b, false)
	if rows > 0 {
		b = strconv.AppendInt(append(b, " LIMIT "...), int64(rows), 10)
	}
	return string(b)
}

// keyStatement writes a SELECT of the key alone, over all rows of a span.
func (t *Table) keyStatement(s span, reverse bool) []byte {
	return t.appendOrder(t.appendRange(t.appendFrom(t.keyList, "FORCE"), s, ""), reverse)
}

// appendFrom begins a SELECT of a list by the table's key, with the word FORCE or
// USE.
func (t *Table) appendFrom(list, word string) []byte {
	b := []byte("SELECT " + list + " FROM " + t.quoted())
	if len(t.key) > 0 {
		b = append(b, " "+word+" INDEX ("+definition.QuoteName(t.KeyName)+")"...)
	}
	return b
}

// appendRange appends the WHERE of a span and a predicate.
func (t *Table) appendRange(b []byte, s span, where string) []byte {
	word := " WHERE "
	if len(s.after) > 0 {
		b = t.appendBeyond(append(b, word...), s.after, 0, '>', s.from)
		word = " AND "
	}
	if len(s.upTo) > 0 {
		b = t.appendBeyond(append(b, word...), s.upTo, 0, '<', true)
		word = " AND "
	}
	if where != "" {
		b = append(b, word+"(\n"+where+"\n)"...) // a comment in it ends with its line
	}
	return b
}

// appendBeyond appends that the key's columns from i on are behind the parts
// (sign '>') or before them, or, with at, at them. Parts may be those of the key's
// first columns alone.
func (t *Table) appendBeyond(b []byte, parts []part, i int, sign byte, at bool) []byte {
	k, last, n := &t.key[i], i == len(parts)-1, parts[i].num
	name := definition.QuoteName(k.name)
	b = append(append(append(b, '('), name...), ' ', sign^k.flip())
	if last && at {
		b = append(b, '=')
	}
	b = k.appendLiteral(append(b, ' '), parts[i])
	switch {
	case sign == '<' || last && at && n == 0: // 0 has no label
	case last && at:
		b = k.appendLabels(b, name, n-1, uint64(len(k.labels)))
	default:
		b = k.appendLabels(b, name, n, uint64(len(k.labels)))
	}
	if !last {
		b = k.appendLiteral(append(append(append(b, " OR ("...), name...), " = "...), parts[i])
		if n > 0 {
			b = k.appendLabels(b, name, n-1, n)
		}
		b = t.appendBeyond(append(b, " AND "...), parts, i+1, sign, at)
		b = append(b, ')')
	}
	return append(b, ')')
}

// flip turns '<' into '>' and back where the order is a descending one.
func (k *keyColumn) flip() byte {
	if k.desc {
		return '<' ^ '>'
	}
	return 0
}

// appendLabels appends that an ENUM has one of the labels behind a number and up
// to another. A server compares an ENUM with a number, in whose order the index is,
// but it reads no range of the index for that; for labels it does.
func (k *keyColumn) appendLabels(b []byte, name string, behind, to uint64) []byte {
	switch {
	case len(k.labels) == 0:
		return b
	case to > uint64(len(k.labels)) || behind >= to:
		return append(b, " AND 1 = 0"...) // there is none
	}
	word := " AND " + name + " IN ("
	for _, l := range k.labels[behind:to] {
		b = append(b, word...)
		b = append(hex.AppendEncode(append(b, "_utf8mb4 x'"...), []byte(l)), '\'')
		word = ", "
	}
	return append(b, ')')
}

// appendOrder appends the order of the key, or its reverse.
func (t *Table) appendOrder(b []byte, reverse bool) []byte {
	for i := range t.key {
		word := ", "
		if i == 0 {
			word = " ORDER BY "
		}
		b = append(append(b, word...), definition.QuoteName(t.key[i].name)...)
		if t.key[i].desc != reverse {
			b = append(b, " DESC"...)
		}
	}
	return b
}

// appendLiteral appends a part as a literal that the server takes for exactly
// the value that the column has.
func (k *keyColumn) appendLiteral(b []byte, p part) []byte {
	switch p.kind {
	case partInt:
		return strconv.AppendInt(b, int64(p.num), 10)
	case partUint:
		return strconv.AppendUint(b, p.num, 10)
	case partDecimal:
		return append(b, p.text...)
	case partFloat:
		return strconv.AppendFloat(b, math.Float64frombits(p.num), 'e', -1, 64)
	case partText:
		b = hex.AppendEncode(append(b, "_"+k.charset+" x'"...), p.text)
		return append(b, "' COLLATE "+k.collation...)
	case partBytes:
		return append(hex.AppendEncode(append(b, "_binary x'"...), p.text), '\'')
	case partWord:
		return append(append(append(b, '\''), p.text...), '\'')
	}
	return append(k.appendTime(append(b, '\''), p), '\'')
}

// appendTime appends the text of a date or time, with all its digits.
func (k *keyColumn) appendTime(b []byte, p part) []byte {
	switch {
	case p.kind == partDate && k.typ == sdk.TypeDate:
		y, m, d := sdk.UnpackDate(p.num)
		return fmt.Appendf(b, "%04d-%02d-%02d", y, m, d)
	case p.kind == partDate:
		c := sdk.UnpackDateTime(p.num)
		return fmt.Appendf(b, "%04d-%02d-%02d %02d:%02d:%02d.%06d", c.Year, c.Month, c.Day, c.Hour, c.Minute, c.Second, c.Micro)
	case p.kind == partStamp && p.num == 0:
		return append(b, "0000-00-00 00:00:00"...)
	case p.kind == partStamp:
		return time.UnixMicro(int64(p.num)).UTC().AppendFormat(b, "2006-01-02 15:04:05.000000")
	}
	us := int64(p.num)
	if us < 0 {
		b, us = append(b, '-'), -us
	}
	return fmt.Appendf(b, "%02d:%02d:%02d.%06d", us/3600e6, us/60e6%60, us/1e6%60, us%1e6)
}
