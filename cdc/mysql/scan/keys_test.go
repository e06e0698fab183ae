package scan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// keyCase is a table whose key is made to be hard to read in order.
type keyCase struct {
	name    string
	columns string   // definition, the key included
	flavor  string   // "" for both
	rows    []string // the key's values, in any order
	label   bool     // an ENUM comes first: only reading on behind a boundary is a range
}

// keyCases have boundaries of every kind: what a client would order otherwise
// than the server, or write otherwise than it is.
func keyCases() []keyCase {
	texts := []string{"''", "'a'", "'A '", "'b'", "'B_'", "'é'", "'ß'", "'sß'", "'z'", "'Z%'", `'\\'`, `'\''`, "'ab'", "'aB c'", "'_'", "'10'", "'9'"}
	wide := append(slices.Clone(texts), "'😀'", "'漢字'", "'ﬁ'", "'\u0301'", "'a\u0301'")
	number := func(typ string, values ...string) keyCase {
		return keyCase{name: typ, columns: "a " + typ + " NOT NULL PRIMARY KEY", rows: values}
	}
	text := func(collation string, values []string) keyCase {
		charset, _, _ := strings.Cut(collation, "_")
		return keyCase{name: collation, columns: "a VARCHAR(40) CHARACTER SET " + charset + " COLLATE " + collation + " NOT NULL PRIMARY KEY", rows: values}
	}
	maria := func(k keyCase) keyCase { k.flavor = testserverMariaDB; return k }
	oracle := func(k keyCase) keyCase { k.flavor = testserverMySQL; return k }
	cases := []keyCase{
		number("INT", "0", "-1", "-2147483648", "2147483647", "5", "1000000", "6"),
		number("BIGINT", "0", "-1", "-9223372036854775808", "9223372036854775807", "9007199254740993", "9007199254740992"),
		number("BIGINT UNSIGNED", "0", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551614", "1"),
		number("MEDIUMINT", "-8388608", "8388607", "0", "-1"),
		number("TINYINT UNSIGNED ZEROFILL", "0", "7", "255", "128"),
		number("BIT(64)", "0", "1", "b'1000000000000000000000000000000000000000000000000000000000000000'", "18446744073709551615", "77"),
		number("YEAR", "0", "1901", "2155", "2026"),
		number("DECIMAL(30,10)", "0", "-0.0000000001", "0.0000000001", "-99999999999999999999.9999999999", "99999999999999999999.9999999999",
			"9007199254740993.0000000001", "9007199254740993.0000000002", "-9007199254740993.5"),
		number("DECIMAL(65,0)", "99999999999999999999999999999999999999999999999999999999999999999", "-99999999999999999999999999999999999999999999999999999999999999999", "1"),
		number("DECIMAL(6,2) UNSIGNED ZEROFILL", "0", "1.5", "12", "9999.99"),
		number("DOUBLE", "0", "-1.5", "0.1", "0.2", "1e300", "-1e300", "5e-324", "1.7976931348623157e308", "9007199254740993", "0.30000000000000004", "0.3"),
		number("FLOAT", "0", "-1.5", "0.1", "0.2", "1e30", "-3.4028234e38", "16777217", "1.17549435e-38"),
		number("DATE", "'0000-00-00'", "'2026-00-00'", "'2026-11-00'", "'2026-11-21'", "'9999-12-31'", "'1000-01-01'", "'0003-02-01'"),
		number("DATETIME(6)", "'0000-00-00'", "'2026-11-21 10:11:12'", "'2026-11-21 10:11:12.000001'", "'2026-11-21 10:11:11.999999'", "'9999-12-31 23:59:59.999999'", "'2026-02-00 01:02:03.4'"),
		number("DATETIME", "'0000-00-00'", "'2026-11-21 10:11:12'", "'2026-11-21 10:11:13'"),
		number("TIMESTAMP(3)", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999'", "'2026-10-25 01:30:00'", "'2026-10-25 00:30:00'", "'0000-00-00'"),
		number("TIME(6)", "'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:00.000001'", "'00:00:00.000001'", "'-10:11:12.5'", "'100:00:00'"),
		{name: "ENUM", columns: "a ENUM('z','a','m','10','9') NOT NULL PRIMARY KEY", rows: []string{"'z'", "'a'", "'m'", "'10'", "'9'"}, label: true},
		number("BINARY(4)", "x'00000000'", "x'01'", "x'ff'", "x'ffffffff'", "'a'", "'A'", "x'0100'  + 0"),
		number("VARBINARY(8)", "''", "x'00'", "x'0000'", "x'ff'", "'a'", "'A'", "'a '", "x'27'", "x'5c'"),
		text("latin1_swedish_ci", texts), text("latin1_bin", texts), text("latin1_german2_ci", texts),
		text("utf8mb4_bin", append(wide, "'a'", "'é'")), text("utf8mb4_general_ci", wide), text("utf8mb4_unicode_ci", wide), text("utf8mb3_general_ci", texts),
		text("ucs2_general_ci", texts), text("utf16_unicode_ci", wide), text("gbk_chinese_ci", []string{"'漢'", "'字'", "'a'", "'A'", `'\\'`}),
		text("sjis_japanese_ci", []string{"'漢'", "'字'", "'ソ'", "'表'", "'a'"}),
		oracle(text("utf8mb4_0900_ai_ci", wide)), oracle(text("utf8mb4_0900_as_cs", wide)), oracle(text("utf8mb4_0900_bin", wide)), oracle(text("utf8mb4_ja_0900_as_cs_ks", wide)),
		maria(text("utf8mb4_nopad_bin", append(wide, "'a  '"))), maria(text("utf8mb4_uca1400_as_cs", wide)), maria(text("latin1_swedish_nopad_ci", append(texts, "'a '"))),
		{name: "char", columns: "a CHAR(5) CHARACTER SET latin1 NOT NULL PRIMARY KEY", rows: texts[:8]},
		maria(number("UUID", "'00000000-0000-0000-0000-000000000000'", "'f0000000-0000-1000-8000-000000000001'", "'10000000-0000-1000-8000-000000000001'",
			"'00000000-0000-1000-8000-f00000000001'", "'01234567-89ab-4def-8123-456789abcdef'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'")),
		maria(number("INET6", "'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'", "'ffff::'")),
		maria(number("INET4", "'0.0.0.0'", "'1.2.3.4'", "'200.1.1.1'", "'255.255.255.255'", "'9.9.9.9'")),
	}
	return append(cases, compositeCases(texts)...)
}

// compositeCases are keys of several columns.
func compositeCases(texts []string) (cases []keyCase) {
	var grid, three []string
	for i, a := range []string{"-1", "0", "7"} {
		for _, b := range texts[:6] {
			grid = append(grid, a+", "+b)
		}
		for j := range 4 {
			for k := range 3 {
				three = append(three, fmt.Sprintf("%d, '%c', %d.%d", i, 'x'-j, k, j))
			}
		}
	}
	var labelled, third []string
	for _, a := range []string{"'z'", "'a'", "'ü'", "'10'", "''"} {
		for b := range 4 {
			labelled = append(labelled, fmt.Sprintf("%s, %d", a, b))
			third = append(third, fmt.Sprintf("%s, %d, '%s'", a, b%2, []string{"z", "a", "z,a", ""}[b]))
		}
	}
	const ab = "a INT NOT NULL, b VARCHAR(40) CHARACTER SET latin1 NOT NULL, "
	cases = []keyCase{
		{name: "two", columns: ab + "PRIMARY KEY (a, b)", rows: grid},
		{name: "reversed", columns: ab + "PRIMARY KEY (b, a)", rows: grid},
		{name: "unique", columns: ab + "UNIQUE KEY `un``usual` (a, b)", rows: grid},
		{name: "descending", columns: ab + "PRIMARY KEY (a DESC, b)", rows: grid},
		{name: "descending last", columns: ab + "PRIMARY KEY (a, b DESC)", rows: grid},
		{name: "all descending", columns: ab + "PRIMARY KEY (a DESC, b DESC)", rows: grid},
		{name: "three", columns: "a SMALLINT UNSIGNED NOT NULL, b CHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, c DECIMAL(4,1) NOT NULL, PRIMARY KEY (a, b, c)", rows: three},
		{name: "labels", columns: "a ENUM('z','a','ü','10') CHARACTER SET latin1 NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b)", rows: labelled, label: true},
		{name: "labels last", columns: "b ENUM('z','a','ü','10') NOT NULL, a INT NOT NULL, c SET('z','a') NOT NULL, PRIMARY KEY (a, b, c)", rows: third},
		{name: "partitions", columns: ab + "PRIMARY KEY (a, b)) PARTITION BY HASH (a", rows: grid},
	}
	return cases
}

// The names of the servers as testserver has them.
const (
	testserverMySQL   = "mysql"
	testserverMariaDB = "mariadb"
)

// TestKeys reads tables with hard keys in chunks of every size: each row comes
// once, in the server's own order, and no statement sorts.
func TestKeys(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		do := session(t, db)
		do("CREATE DATABASE d", "USE d", "SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'")
		c := connect(t, db)
		for n, k := range keyCases() {
			if k.flavor != "" && k.flavor != db.Flavor {
				continue
			}
			t.Run(k.name, func(t *testing.T) {
				table := "k" + strconv.Itoa(n)
				do("CREATE TABLE " + table + " (n INT, " + k.columns + ")")
				for i, v := range k.rows {
					do(fmt.Sprintf("INSERT IGNORE INTO %s VALUES (%d, %s)", table, i, v))
				}
				tab := plan(t, c, table, scan.TableOptions{UnkeyedRowsMax: -1})
				want := serverOrder(t, db, table, tab)
				if len(want) < 3 {
					t.Fatalf("%d rows", len(want))
				}
				for size := 1; size <= len(want)+1; size++ {
					if d := cmp.Diff(want, readOrder(t, c, tab, size, scan.Range{})); d != "" {
						t.Fatalf("chunks of %d: %s", size, d)
					}
				}
				ranges(t, c, tab, want)
				explain(t, db, c, tab, k.label)
			})
		}
	})
}

// ranges reads from each row on, behind it, up to it, and it alone.
func ranges(t *testing.T, c *scan.Conn, tab *scan.Table, want []int64) {
	t.Helper()
	var keys []scan.Key
	if _, err := chunk(t, c, tab, scan.Range{RowsMax: len(want)}, func(r *scan.Row) error {
		k, err := r.AppendKey(nil)
		keys = append(keys, k)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		for _, r := range []struct {
			in   scan.Range
			want []int64
		}{
			{scan.Range{After: k, From: true}, want[i:]}, {scan.Range{After: k}, want[i+1:]}, {scan.Range{UpTo: k}, want[:i+1]},
			{scan.Range{After: k, From: true, UpTo: k}, want[i : i+1]}, {scan.Range{After: k, UpTo: k}, nil},
		} {
			if got := readOrder(t, c, tab, 100, r.in); !slices.Equal(got, r.want) {
				t.Errorf("%+v: %v, want %v", r.in, got, r.want)
			}
		}
	}
}

// serverOrder lists the rows' numbers in the order of the key.
func serverOrder(t *testing.T, db *testserver.DB, table string, tab *scan.Table) (list []int64) {
	t.Helper()
	sql, err := tab.ChunkStatement(scan.Range{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range db.Query(t, "SELECT n"+sql[strings.Index(sql, " FROM "):]) {
		n, err := strconv.ParseInt(r[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// readOrder reads a range in chunks and lists the rows' numbers.
func readOrder(t testing.TB, c *scan.Conn, tab *scan.Table, size int, r scan.Range) (list []int64) {
	t.Helper()
	var b sdk.Builder
	n := tab.Schema.Column("n")
	r.RowsMax = size
	for range 10_000 {
		if _, err := c.Low(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		done, err := c.Chunk(t.Context(), tab, r, func(row *scan.Row) error {
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			if err := row.Append(&b, 0); err != nil {
				return err
			}
			list = append(list, int64(b.After().Slot(n)))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.High(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		if done.End {
			return list
		}
		r.After = done.Last
	}
	t.Fatal("it does not end")
	return nil
}

// explain asks how the server runs the statements behind a boundary in the
// table's middle.
func explain(t *testing.T, db *testserver.DB, c *scan.Conn, tab *scan.Table, label bool) {
	t.Helper()
	middle, err := c.Boundary(t.Context(), tab, scan.Range{RowsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	last, err := c.Last(t.Context(), tab)
	if err != nil || len(middle) == 0 || len(last) == 0 {
		t.Fatalf("boundary %s, last %s, %v", middle, last, err)
	}
	asker := db.Conn(t)
	if _, err := asker.Execute("SET sql_mode = '', time_zone = '+00:00'"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []scan.Range{{After: middle, RowsMax: 10}, {UpTo: middle, RowsMax: 10}, {After: middle, UpTo: last, RowsMax: 10}} {
		sql, err := tab.ChunkStatement(r)
		if err != nil {
			t.Fatal(err)
		}
		boundary, err := tab.BoundaryStatement(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{sql, boundary + " LIMIT 1 OFFSET 3"} {
			if label && (len(r.After) == 0 || s != sql) {
				continue
			}
			if why := badPlan(t, db, asker, s, tab.KeyName); why != "" {
				t.Errorf("%s: %s", why, s)
			}
		}
	}
}

// badPlan says why a statement is not a read of a range of the key.
func badPlan(t *testing.T, db *testserver.DB, c *client.Conn, sql, key string) string {
	t.Helper()
	word := "EXPLAIN "
	if db.Flavor == testserverMySQL {
		word = "EXPLAIN FORMAT=TRADITIONAL "
	}
	res, err := c.Execute(word + sql)
	if err != nil {
		t.Fatal(err)
	}
	r := make([]string, res.ColumnNumber())
	for i := range r {
		if r[i], err = res.GetString(0, i); err != nil {
			t.Fatal(err)
		}
	}
	// The last columns of both are key, key_len, ref, rows, (filtered,) Extra.
	at := slices.Index(r, key)
	text := strings.Join(r, "|")
	typ := slices.ContainsFunc(r, func(v string) bool { return v == "range" || v == "const" })
	if at < 0 || !typ || strings.Contains(text, "filesort") || strings.Contains(text, "temporary") {
		return text
	}
	return ""
}
