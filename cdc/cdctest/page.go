package cdctest

import (
	"fmt"
	"slices"
	"strings"
)

// TypesPage returns docs/reference/types.md, made of the matrix.
func TypesPage() string {
	var b strings.Builder
	b.WriteString(pageHead)
	probes := Probes("")
	var kinds []string
	for _, p := range probes {
		if !slices.Contains(kinds, p.Kind) {
			kinds = append(kinds, p.Kind)
		}
	}
	for _, kind := range kinds {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n| column | becomes | the server prints | in JSON |\n|---|---|---|---|\n", kind, pageNotes(kind))
		for i := range probes {
			if probes[i].Kind == kind {
				writeProbe(&b, &probes[i])
			}
		}
	}
	return b.String()
}

const pageHead = `# Column types

What each column of MySQL and MariaDB becomes. This page is made of the matrix of types with which the tests ask MySQL 9.7 and MariaDB 10.11:
each value below was inserted, updated and deleted in each row image (FULL, MINIMAL, NOBLOB) with ` + "`binlog_row_metadata`" + ` FULL and MINIMAL, and what
came out of the log is what the server itself prints for a SELECT (in a session with utf8mb4 and UTC; bytes in hexadecimal here). "In JSON" is
the value in the message format ` + "`json`" + ` ([messages](messages.md)).

* NULL is ` + "`null`" + `. A column that the log does not tell is left out, which is not the same: with ` + "`binlog_row_image=MINIMAL`" + ` an image before the
  change has the key alone and the one after it the columns that the statement named; with ` + "`NOBLOB`" + ` both lack BLOB and TEXT columns that did not change.
* The key of a message is that of the image after the change, and of the one before it where that lacks it.
* A table may have as many columns as its server allows. Invisible columns, MySQL's generated ` + "`my_row_id`" + ` and generated columns come like others (MariaDB
  leaves VIRTUAL ones out of minimal images). What no SELECT shows, such as the hash that MariaDB keeps of a long unique key, does not come
  (from ` + "`binlog_files`" + `, without a catalog, the hash does).
* A value that can't be read without loss, such as bytes that are no character of the column's character set, is the fault ` + "`value_undecodable`" + `:
  never a question mark in its place.
`

// pageNotes says what holds for a whole kind.
func pageNotes(kind string) string {
	switch kind {
	case "Integers":
		return "Exact to 64 bits; use a JSON parser that keeps them. BIT is a number, YEAR 0000 is 0. ZEROFILL and display widths are not part of a value.\n"
	case "Exact numbers":
		return "A string, with the digits that the column has.\n"
	case "Floating point":
		return "The shortest digits that read back as the same value. A server prints six digits of a FLOAT; the log has all of them, and the column below is\n" +
			"what `CAST(v AS DOUBLE)` prints.\n"
	case "Dates and times":
		return "DATETIME has no zone and comes as it was written, TIMESTAMP comes in UTC, whatever zone session and server have. A date that no calendar has\n" +
			"is written as the server prints it, with a space. MariaDB's temporal types of before 10.1 (`mysql56_temporal_format=OFF`) are read too, with fractions\n" +
			"where the server's catalog tells how many digits there are.\n"
	case "Text":
		return "UTF-8, whatever the column's character set. CHAR comes without the spaces at its end, as the server has it.\n"
	case "Character sets":
		return "All that either server offers; latin1 is cp1252, as in the servers. Sequences that the server can't print are refused.\n"
	case "ENUM and SET":
		return "The labels. An ENUM's error value (index 0) is the empty label. Labels with characters beyond the Basic Multilingual Plane need\n" +
			"`binlog_row_metadata=FULL`: the servers' own catalogs have lost them, and such a table is refused without.\n"
	case "Bytes":
		return "Base64. BINARY(n) has all of its n bytes again: the log leaves out zeros at its end.\n"
	case "JSON":
		return "MySQL's documents as MySQL prints them; MariaDB's JSON is LONGTEXT, and comes as text.\n"
	case "Geometry and vectors":
		return "SRID and well-known binary; vectors as an array of numbers. (In the second column: as the server keeps it.)\n"
	case "MariaDB's own":
		return "UUID and INET are bytes in the log: that they are what they are comes from the server's catalog. COMPRESSED columns come as if they were not.\n"
	}
	return ""
}

// cellMax bounds what a cell shows, in characters.
const cellMax = 44

func writeProbe(b *strings.Builder, p *Probe) {
	name := code(p.Column)
	if p.Flavor != "" {
		name += map[string]string{MySQL: " (MySQL)", MariaDB: " (MariaDB)"}[p.Flavor]
	}
	var texts, jsons []string
	for i := range p.Values {
		texts = append(texts, code(p.Values[i].Text))
		jsons = append(jsons, code(p.JSON(&p.Values[i])))
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, p.Type, strings.Join(texts, "<br>"), strings.Join(jsons, "<br>"))
}

// code shows text as code in a cell of a table, cut where it is long.
func code(text string) string {
	if text == "" {
		return "(empty)"
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > cellMax {
			b.WriteString("…")
			break
		}
		switch {
		case r == '|':
			b.WriteString(`\|`)
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	mark := "`"
	if strings.Contains(text, "`") {
		mark = "``"
	}
	return mark + b.String() + mark
}
