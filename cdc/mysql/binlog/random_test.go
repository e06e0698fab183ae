package binlog_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// compareRandom inserts rows of values, as SQL, and compares what the log gives with
// what the server prints for the expressions, in which $ is the column.
func compareRandom(t *testing.T, db *testserver.DB, columns, expressions []string, rows [][]string) {
	t.Helper()
	c := db.Conn(t)
	definition, list := []string{"id INT PRIMARY KEY"}, []string{"id"}
	for i, column := range columns {
		definition = append(definition, fmt.Sprintf("c%d %s", i, column))
		list = append(list, strings.ReplaceAll(expressions[i], "$", fmt.Sprintf("c%d", i)))
	}
	run(t, c, "CREATE DATABASE d", "USE d", "SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'", "CREATE TABLE t ("+strings.Join(definition, ",")+")")
	for from := 0; from < len(rows); from += 100 {
		var values []string
		for i, row := range rows[from:min(from+100, len(rows))] {
			values = append(values, fmt.Sprintf("(%d,%s)", from+i, strings.Join(row, ",")))
		}
		run(t, c, "INSERT INTO t VALUES "+strings.Join(values, ","))
	}
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	answers := query(t, c, "SELECT "+strings.Join(list, ",")+" FROM t ORDER BY id")
	if len(answers) != len(rows) || len(r.changes["d.t"]) != len(rows) {
		t.Fatalf("%d rows written, %d there, %d in the log", len(rows), len(answers), len(r.changes["d.t"]))
	}
	wrong := 0
	for i, want := range answers {
		got := r.changes["d.t"][i].after
		for k := range want {
			if got[k] != want[k] && wrong < 10 {
				wrong++
				t.Errorf("row %d, %s: decoded %.300q, the server prints %.300q of %.300s", i, columns[max(k-1, 0)], got[k], want[k], rows[i][max(k-1, 0)])
			}
		}
	}
}

// TestRandomValues compares many values of the types that are packed into bits
// and groups of digits with what both servers print.
func TestRandomValues(t *testing.T) {
	const rows = 1500
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 3))
		digits := func(n int) string {
			var b strings.Builder
			for range r.IntN(n + 1) {
				b.WriteByte(byte('0' + r.IntN(10)*r.IntN(2)))
			}
			return b.String() + "0"
		}
		var columns, expressions []string
		var makers []func() string
		add := func(column, expression string, f func() string) {
			columns, expressions, makers = append(columns, column), append(expressions, expression), append(makers, f)
		}
		for _, d := range [][2]int{{65, 30}, {65, 0}, {30, 30}, {38, 17}, {20, 7}, {19, 9}, {10, 1}, {9, 5}, {4, 2}, {1, 0}} {
			add(fmt.Sprintf("DECIMAL(%d,%d)", d[0], d[1]), "$", func() string {
				return []string{"'-", "'"}[r.IntN(2)] + digits(d[0]-d[1]) + "." + digits(d[1]) + "'"
			})
		}
		for n := range 7 {
			add(fmt.Sprintf("TIME(%d)", n), "$", func() string {
				return fmt.Sprintf("'%s%d:%d:%d.%06d'", []string{"-", ""}[r.IntN(2)], r.IntN(839), r.IntN(60), r.IntN(60), r.IntN(1e6)*r.IntN(2))
			})
			date := func(first int) string {
				return fmt.Sprintf("'%04d-%02d-%02d %02d:%02d:%02d.%06d'", first+r.IntN(60), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6))
			}
			add(fmt.Sprintf("DATETIME(%d)", n), "$", func() string { return date(r.IntN(9900)) })
			add(fmt.Sprintf("TIMESTAMP(%d) NULL", n), "$", func() string { return date(1975) })
		}
		for _, bits := range []int{3, 11, 29, 37, 53, 64} {
			add(fmt.Sprintf("BIT(%d)", bits), "$ + 0", func() string { return fmt.Sprint(r.Uint64() >> (64 - bits)) })
		}
		add("DATE", "$", func() string { return fmt.Sprintf("'%04d-%02d-%02d'", r.IntN(10000), r.IntN(13), r.IntN(29)) })
		add("YEAR", "LPAD($, 4, '0')", func() string { return fmt.Sprint(1901 + r.IntN(255)) })
		add("MEDIUMINT", "$", func() string { return fmt.Sprint(r.IntN(1<<24) - 1<<23) })
		add("BIGINT UNSIGNED", "$", func() string { return fmt.Sprint(r.Uint64()) })
		add("SET('a','b','c','d','e','f','g','h','i','j')", "$", func() string { return fmt.Sprint(r.IntN(1 << 10)) })
		add("BINARY(6)", "LOWER(HEX($))", func() string { return fmt.Sprintf("x'%012x'", r.Uint64()>>(16+8*r.IntN(5))<<(8*r.IntN(3))&(1<<48-1)) })
		list := [][]string{}
		for range rows {
			row := []string{}
			for _, f := range makers {
				v := f()
				if r.IntN(20) == 0 {
					v = "NULL"
				}
				row = append(row, v)
			}
			list = append(list, row)
		}
		compareRandom(t, db, columns, expressions, list)
	})
}

// TestRandomDocuments compares JSON documents with what MySQL prints: in small
// and large form, with keys and values of all kinds.
func TestRandomDocuments(t *testing.T) {
	const rows = 1500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	text := func() string {
		runes := []rune(`aZ0 "\/é日😀` + "\n\t\b\f\r\x01\x1f\x7f")
		var b strings.Builder
		for range r.IntN(8) * (1 + 40*(r.IntN(40)/39)) {
			b.WriteRune(runes[r.IntN(len(runes))])
		}
		return b.String()
	}
	quote := func(s string) string {
		var b strings.Builder
		for _, c := range s {
			switch {
			case c == '"' || c == '\\':
				b.WriteString(`\` + string(c))
			case c < 0x20:
				fmt.Fprintf(&b, `\u%04x`, c)
			default:
				b.WriteRune(c)
			}
		}
		return `"` + b.String() + `"`
	}
	var value func(depth int) string
	value = func(depth int) string {
		switch k := r.IntN(12); {
		case k < 3 && depth < 6:
			var list []string
			for range r.IntN(6) + 300*(r.IntN(200)/199) {
				list = append(list, value(depth+1))
			}
			return "[" + strings.Join(list, ",") + "]"
		case k < 6 && depth < 6:
			var list []string
			for range r.IntN(6) + 300*(r.IntN(200)/199) {
				list = append(list, quote(text())+": "+value(depth+1))
			}
			return "{" + strings.Join(list, ",") + "}"
		case k == 6:
			return []string{"true", "false", "null"}[r.IntN(3)]
		case k < 9:
			return fmt.Sprint(int64(r.Uint64()) >> r.IntN(64))
		case k == 9:
			return fmt.Sprint(r.Uint64() >> r.IntN(64))
		case k == 10:
			return fmt.Sprintf("%d.%de%d", r.IntN(1000), r.IntN(1e6), r.IntN(40)-20)
		}
		return quote(text())
	}
	list := [][]string{}
	for range rows {
		sql := strings.NewReplacer("'", "''", `\`, `\\`).Replace(value(0))
		list = append(list, []string{"'" + sql + "'"})
	}
	list = slices.DeleteFunc(list, func(row []string) bool { return len(row[0]) > 1<<20 })
	compareRandom(t, testserver.MySQL(t, testserver.Args("--max-allowed-packet=1G")), []string{"JSON"}, []string{"$"}, list)
}
