package oracle

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
)

// DB is the database that a Workload creates and fills.
const DB = "shop"

// column is one column: its definition, and how a value for it is made.
type column struct {
	name string
	ddl  string
	kind kind
	// make gives a value as an SQL literal and as canonical text.
	make func(r *rand.Rand, n, v uint64) (literal, canon string)
}

// table is one followed table. Every table has the columns n, its key's number,
// and v, the key's version.
type table struct {
	name    string
	ddl     string // keys and options
	columns []column
	// shared keys are changed by all writers, who then only add one to v.
	shared bool
	keys   uint64 // keys of each writer, or all keys of a shared table
}

// Tables are the followed tables, for a configuration's `tables`.
func Tables() []string {
	var names []string
	for _, t := range tables() {
		names = append(names, DB+"."+t.name)
	}
	return names
}

const (
	largeKeys = 1 << 40 // keys of large transactions begin here
)

// tables are the followed tables, in the order in which a writer numbers them.
func tables() []*table {
	n := column{"n", "BIGINT UNSIGNED NOT NULL", kindText, func(_ *rand.Rand, n, _ uint64) (string, string) { return same(n) }}
	v := column{"v", "BIGINT UNSIGNED NOT NULL", kindText, func(_ *rand.Rand, _, v uint64) (string, string) { return same(v) }}
	return []*table{
		{name: "accounts", keys: 400, ddl: "PRIMARY KEY (n), KEY (email)", columns: []column{n, v,
			{"email", "VARCHAR(80) CHARACTER SET utf8mb4", kindText, makeEmail},
			{"balance", "DECIMAL(20,4) NOT NULL", kindText, makeDecimal},
			{"opened", "DATETIME(6) NULL", kindTime, makeDateTime},
			{"small", "TINYINT NOT NULL", kindText, func(r *rand.Rand, _, _ uint64) (string, string) { return same(r.IntN(256) - 128) }},
		}},
		{name: "blobs", keys: 60, ddl: "PRIMARY KEY (id)", columns: []column{
			{"id", "VARCHAR(24) NOT NULL", kindText, func(_ *rand.Rand, n, _ uint64) (string, string) { return text(fmt.Sprintf("k%08d", n)) }},
			n, v,
			{"data", "LONGBLOB NULL", kindBytes, makeBlob},
			{"note", "TEXT CHARACTER SET utf8mb4 NULL", kindText, makeNote},
		}},
		{name: "wide", keys: 300, ddl: "PRIMARY KEY (a, b)", columns: []column{
			{"a", "INT UNSIGNED NOT NULL", kindText, func(_ *rand.Rand, n, _ uint64) (string, string) { return same(n / 7) }},
			{"b", "VARCHAR(10) NOT NULL", kindText, func(_ *rand.Rand, n, _ uint64) (string, string) { return text(fmt.Sprintf("x%d", n%7)) }},
			n, v,
			{"big", "BIGINT UNSIGNED NULL", kindText, func(r *rand.Rand, _, _ uint64) (string, string) { return same(r.Uint64() | 1<<63) }},
			{"ratio", "DOUBLE NOT NULL", kindFloat, func(r *rand.Rand, _, _ uint64) (string, string) {
				lit := strconv.FormatFloat((r.Float64()-0.5)*1e6, 'e', 9, 64)
				return lit, canonFloat(lit)
			}},
			{"day", "DATE NULL", kindTime, makeDate},
			{"span", "TIME(3) NOT NULL", kindTime, makeTime},
			{"at", "TIMESTAMP(3) NULL DEFAULT NULL", kindTime, makeTimestamp},
			{"color", "ENUM('red','green','blue') NOT NULL", kindText, func(r *rand.Rand, _, _ uint64) (string, string) {
				return text([]string{"red", "green", "blue"}[r.IntN(3)])
			}},
			{"tags", "SET('a','b','c','d') NOT NULL", kindText, func(r *rand.Rand, _, _ uint64) (string, string) {
				return text([]string{"", "a", "b,c", "a,d", "a,b,c,d"}[r.IntN(5)])
			}},
			{"doc", "JSON NULL", kindJSON, makeJSON},
			{"raw", "BINARY(8) NOT NULL", kindBytes, makeBinary},
			{"bits", "BIT(12) NOT NULL", kindBit, func(r *rand.Rand, _, _ uint64) (string, string) { return same(r.IntN(1 << 12)) }},
		}},
		{name: "hot", keys: 8, shared: true, ddl: "PRIMARY KEY (n)", columns: []column{n, v,
			{"label", "VARCHAR(20) NOT NULL", kindText, func(_ *rand.Rand, n, _ uint64) (string, string) { return text(fmt.Sprintf("counter %d", n)) }},
		}},
		// A writer's last row of each transaction: v is its number among the
		// writer's transactions, n_rows the number of followed rows in it.
		{name: writerTable, keys: 64, shared: true, ddl: "PRIMARY KEY (n)", columns: []column{n, v,
			{"n_rows", "BIGINT NOT NULL", kindRowCount, func(*rand.Rand, uint64, uint64) (string, string) { return "1", "1" }},
		}},
	}
}

const writerTable = "writer"

// create is the statement that makes the table.
func (t *table) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s.%s (", DB, t.name)
	for _, c := range t.columns {
		fmt.Fprintf(&b, "%s %s, ", c.name, c.ddl)
	}
	return b.String() + t.ddl + ") CHARACTER SET utf8mb4"
}

// row gives the values that key n has at version v, long ones shortened. In a
// shared table all but the version stays as it was made.
func (t *table) row(n, v uint64) (literals, canon []string) {
	literals, canon = t.values(n, v)
	for i := range canon {
		canon[i] = shorten(canon[i])
	}
	return literals, canon
}

// values is row with long values in full.
func (t *table) values(n, v uint64) (literals, canon []string) {
	h := fnv.New64a()
	h.Write([]byte(t.name))
	r := rand.New(rand.NewPCG(h.Sum64()^n, v))
	literals, canon = make([]string, len(t.columns)), make([]string, len(t.columns))
	for i := range t.columns {
		literals[i], canon[i] = t.columns[i].make(r, n, v)
	}
	return literals, canon
}

// column returns the index of a column; the tables' own names are given.
func (t *table) column(name string) int {
	for i := range t.columns {
		if t.columns[i].name == name {
			return i
		}
	}
	return -1
}

// selectAll reads the table so that kind.fromSQL understands each cell.
func (t *table) selectAll() string {
	parts := make([]string, len(t.columns))
	for i, c := range t.columns {
		parts[i] = c.name
		switch c.kind {
		case kindBytes:
			parts[i] = "HEX(" + c.name + ")"
		case kindBit:
			parts[i] = c.name + "+0"
		}
	}
	return fmt.Sprintf("SELECT %s FROM %s.%s", strings.Join(parts, ", "), DB, t.name)
}

func same[T any](v T) (string, string) { s := fmt.Sprint(v); return s, s }

func text(s string) (string, string) {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'", s
}

func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

func makeEmail(r *rand.Rand, n, v uint64) (string, string) {
	if oneIn(r, 12) {
		return "NULL", null
	}
	return text(fmt.Sprintf("user%d.v%d@exämple\"%c.org", n, v, rune(0x1F600+r.IntN(40))))
}

func makeDecimal(r *rand.Rand, _, _ uint64) (string, string) {
	sign := []string{"", "-"}[r.IntN(2)]
	return same(fmt.Sprintf("%s%d.%04d", sign, 1+r.Int64N(1e15), r.IntN(10000)))
}

func makeDateTime(r *rand.Rand, _, _ uint64) (string, string) {
	if oneIn(r, 10) {
		return "NULL", null
	}
	return text(fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d.%06d", 1000+r.IntN(9000), 1+r.IntN(12), 1+r.IntN(28),
		r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6)))
}

func makeDate(r *rand.Rand, _, _ uint64) (string, string) {
	return text(fmt.Sprintf("%04d-%02d-%02d", 1900+r.IntN(200), 1+r.IntN(12), 1+r.IntN(28)))
}

func makeTime(r *rand.Rand, _, _ uint64) (string, string) {
	sign := []string{"", "-"}[r.IntN(2)]
	return text(fmt.Sprintf("%s%02d:%02d:%02d.%03d", sign, r.IntN(839), r.IntN(60), r.IntN(60)|1, r.IntN(1000)))
}

func makeTimestamp(r *rand.Rand, _, _ uint64) (string, string) {
	return text(fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d.%03d", 1980+r.IntN(50), 1+r.IntN(12), 1+r.IntN(28),
		r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000)))
}

func makeJSON(r *rand.Rand, n, v uint64) (string, string) {
	if oneIn(r, 10) {
		return "NULL", null
	}
	doc := fmt.Sprintf(`{"n": %d, "list": [1, "zwei", null, %t], "deep": {"v": %d, "text": "ü\"%d"}}`, n, oneIn(r, 2), v, r.IntN(1000))
	literal, _ := text(doc)
	return literal, canonJSON([]byte(doc))
}

func makeBinary(r *rand.Rand, _, _ uint64) (string, string) {
	digits := fmt.Sprintf("%016x", r.Uint64()<<16) // ends in zero bytes, which the log leaves out
	return "X'" + digits + "'", digits
}

// makeBlob makes mostly small values, and one in thirty over 64 KiB.
func makeBlob(r *rand.Rand, _, _ uint64) (string, string) {
	size := r.IntN(300)
	switch {
	case oneIn(r, 30):
		size = 64<<10 + r.IntN(100<<10)
	case oneIn(r, 10):
		return "NULL", null
	}
	block := make([]byte, min(size, 257))
	for i := range block {
		block[i] = byte(r.Uint32())
	}
	data := make([]byte, size)
	for i := 0; i < size; i += len(block) {
		copy(data[i:], block)
	}
	digits := hex.EncodeToString(data)
	return "X'" + digits + "'", digits
}

func makeNote(r *rand.Rand, n, v uint64) (string, string) {
	return text(strings.Repeat(fmt.Sprintf("note %d of %d\nwith 'quotes' \\ and\ttabs; ", v, n), r.IntN(6)))
}
