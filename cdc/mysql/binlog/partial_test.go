package binlog_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// jsonGenerator makes JSON documents and changes of them at random.
type jsonGenerator struct{ *rand.Rand }

func (d *jsonGenerator) pick(list ...string) string { return list[d.IntN(len(list))] }

// name is a member's name, as in a path.
func (d *jsonGenerator) name() string {
	return d.pick("a", "bb", "ccc", `"a b"`, `"q\"uote"`, `"ü.["`, `"1"`, "ab", "b", `""`)
}

func (d *jsonGenerator) scalar() string {
	return d.pick("1", "-70000", "18446744073709551615", "1.5", "1e300", `"text"`, `"ü \" \\ \n \u0001"`, "null", "true", "{}", "[]",
		`"`+strings.Repeat("long ", d.IntN(200))+`"`)
}

func (d *jsonGenerator) value(depth int) string {
	if depth == 0 || d.IntN(4) == 0 {
		return d.scalar()
	}
	n := d.IntN(5)
	if depth == 3 && d.IntN(6) == 0 {
		n = 300 // beyond 64 KiB: the large form
	}
	parts := make([]string, n)
	object := d.IntN(2) == 0
	for i := range parts {
		parts[i] = d.value(depth - 1)
		if object {
			parts[i] = d.key(i) + ": " + parts[i]
		}
	}
	if object {
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func (d *jsonGenerator) key(i int) string {
	name := d.name()
	if i > 9 {
		name = "k" + strconv.Itoa(i)
	}
	if !strings.HasPrefix(name, `"`) {
		name = `"` + name + `"`
	}
	return name
}

func (d *jsonGenerator) path() string {
	p := "$"
	for range 1 + d.IntN(3) {
		switch d.IntN(4) {
		case 0:
			p += fmt.Sprintf("[%d]", d.IntN(5))
		case 1:
			p += d.pick("[last]", "[last-1]", "[last-2]")
		default:
			p += "." + d.name()
		}
	}
	return p
}

func quoted(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }

// expression is a change that the server may log in part.
func (d *jsonGenerator) expression(column string) string {
	value := func() string {
		switch d.IntN(5) {
		case 0:
			return d.pick("12345678901234567890.123456789", "CAST('2024-01-31 12:30:00.5' AS DATETIME(6))", "x'00ff'", "TRUE",
				"CAST('-838:59:59.000001' AS TIME(6))", "1.5e0")
		default:
			return "CAST(" + quoted(d.value(2)) + " AS JSON)"
		}
	}
	out := column
	for range 1 + d.IntN(3) {
		switch d.IntN(4) {
		case 0:
			out = "JSON_REMOVE(" + out + ", " + quoted(d.path()) + ")"
		case 1:
			out = "JSON_REPLACE(" + out + ", " + quoted(d.path()) + ", " + value() + ")"
		default:
			out = "JSON_SET(" + out + ", " + quoted(d.path()) + ", " + value() + ", " + quoted(d.path()) + ", " + value() + ")"
		}
	}
	return out
}

// TestPartialJSON: after partial updates, documents are what the server prints.
func TestPartialJSON(t *testing.T) {
	const rows, updates = 12, 400
	db := testserver.MySQL(t)
	c := db.Conn(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := &jsonGenerator{rand.New(rand.NewPCG(seed, 1))}
	run(t, c, "CREATE DATABASE d", "USE d", "SET binlog_row_value_options = PARTIAL_JSON",
		"CREATE TABLE t (id INT PRIMARY KEY, a JSON, n INT, b JSON, name VARCHAR(20), c JSON, INDEX m ((CAST(c->'$.zips' AS UNSIGNED ARRAY))))")
	for id := range rows {
		run(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, %s, 1, %s, 'x', '{\"zips\": [1,2,3]}')", id, quoted(d.value(3)), quoted(d.value(3))))
	}
	var want []string
	for len(want) < updates {
		set := "a = " + d.expression("a")
		if d.IntN(2) == 0 {
			set += ", b = " + d.expression("b")
		}
		if d.IntN(3) == 0 {
			set += ", name = CONCAT(name, 'y'), n = NULL"
		}
		if d.IntN(5) == 0 {
			set += ", c = JSON_SET(c, '$.zips[0]', " + strconv.Itoa(d.IntN(9)) + ")"
		}
		if d.IntN(9) == 0 {
			set = "b = NULL, " + set
		}
		id := d.IntN(rows)
		r, err := c.Execute(fmt.Sprintf("UPDATE t SET %s, n = %d WHERE id = %d", set, len(want), id))
		if err != nil {
			continue // the server refuses the path or the document
		}
		if r.AffectedRows != 1 {
			continue
		}
		want = append(want, strings.Join(query(t, c, fmt.Sprintf("SELECT a, b, c FROM t WHERE id = %d", id))[0], "\n"))
	}
	l := newLogReader(db.Flavor, noCatalog)
	l.dir(t, db)
	var got []string
	for _, ch := range l.changes["d.t"] {
		if ch.before == nil {
			continue
		}
		got = append(got, strings.Join([]string{ch.after[1], ch.after[3], ch.after[5]}, "\n"))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("update %d\ngot  %.3000s\nwant %.3000s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d updates, %d were made", len(got), len(want))
	}
	if l.partial < updates/4 {
		t.Errorf("only %d events may have parts", l.partial)
	}
}

// TestPartialJSONAlone: a part without the document before it is refused.
func TestPartialJSONAlone(t *testing.T) {
	db := testserver.MySQL(t)
	run(t, db.Conn(t), "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, v JSON)",
		"SET binlog_row_value_options = PARTIAL_JSON", "SET binlog_row_image = MINIMAL",
		`INSERT INTO t VALUES (1, CONCAT('{"a": 1, "b": "', REPEAT('x', 1000), '"}'))`, "UPDATE t SET v = JSON_SET(v, '$.a', 2)")
	l := newLogReader(db.Flavor, noCatalog)
	err := l.file(filepath.Join(db.BinlogDir(), "binlog.000001"))
	if err == nil {
		err = l.file(filepath.Join(db.BinlogDir(), "binlog.000002"))
	}
	if f := fault.Of(err); f.Code != binlog.CodePartialJSON || !strings.Contains(f.Hint, "binlog_row_image") || f.Path != "d.t.v" {
		t.Errorf("%v", err)
	}
}
