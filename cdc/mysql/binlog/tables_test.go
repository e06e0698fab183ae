package binlog_test

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestWideTable has a column of each line of the matrix in one table, so that
// every piece of metadata has to find its own column among all others.
func TestWideTable(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		var columns, values, want []string
		var setup []string
		for _, p := range cdctest.Probes(db.Flavor) {
			if strings.HasPrefix(p.Column, "VARCHAR(16000)") || strings.HasPrefix(p.Column, "VARBINARY(60000)") || p.FullOnly {
				continue // the first two alone make the row as wide as it may be
			}
			columns = append(columns, fmt.Sprintf("c%d %s", len(columns), p.Column))
			values, want = append(values, p.Values[0].SQL), append(want, p.Values[0].Text)
			setup = append(setup, p.Setup...)
		}
		c := db.Conn(t)
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			run(t, c, "SET GLOBAL binlog_row_metadata = "+metadata, "CREATE DATABASE "+metadata, "USE "+metadata, "SET NAMES utf8mb4",
				"SET sql_mode = '', time_zone = '+00:00'")
			run(t, c, setup...)
			run(t, c, "CREATE TABLE t ("+strings.Join(columns, ",")+")",
				"INSERT INTO t VALUES ("+strings.Join(values, ",")+")",
				"CREATE TABLE u ("+strings.Join(reversed(columns), ",")+")",
				"INSERT INTO u VALUES ("+strings.Join(reversed(values), ",")+")")
		}
		r := newLogReader(db.Flavor, catalogOf(t, db))
		r.dir(t, db)
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			if d := cmp.Diff(want, r.changes[metadata+".t"][0].after); d != "" {
				t.Errorf("%s: %s", metadata, d)
			}
			if d := cmp.Diff(reversed(want), r.changes[metadata+".u"][0].after); d != "" {
				t.Errorf("%s, reversed: %s", metadata, d)
			}
		}
		for _, col := range r.schemas["FULL.t"].Columns {
			if col.Type == sdk.TypeVector && col.Length != 3 {
				t.Errorf("a vector of %d dimensions, want 3", col.Length)
			}
		}
		wideAllocations(t, db)
		full, minimal := *r.schemas["FULL.t"], *r.schemas["MINIMAL.t"]
		minimal.DB, minimal.ID = full.DB, full.ID
		if d := cmp.Diff(full, minimal); d != "" {
			t.Errorf("full and minimal metadata give different schemas: %s", d)
		}
	})
}

// wideAllocations decodes the table's rows again and again: no type allocates.
func wideAllocations(t *testing.T, db *testserver.DB) {
	t.Helper()
	p := binlog.NewParser(binlog.Options{Flavor: db.Flavor})
	files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
	if err != nil {
		t.Fatal(err)
	}
	catalog, rows := catalogOf(t, db), 0
	var b sdk.Builder
	for _, name := range files {
		f, err := binlog.OpenFile(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for {
			raw, _, err := f.Next()
			if err == io.EOF {
				break
			}
			ev, err2 := p.Parse(raw)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if ev.Type == binlog.TableMapEvent {
				if _, err := p.TableMap(ev); err != nil {
					t.Fatal(err)
				}
			}
			if !ev.Type.IsRows() {
				continue
			}
			h, data, err := p.RowsHeader(ev)
			if m := p.Table(h.TableID); err != nil || m.Table != "t" && m.Table != "u" {
				continue
			}
			_, pl, err := binlog.BuildSchema(p.Table(h.TableID), catalog(p.Table(h.TableID)))
			if err != nil {
				t.Fatal(err)
			}
			rows++
			if n := testing.AllocsPerRun(20, func() {
				b.Reset()
				b.BeginTx(sdk.TxInfo{})
				if _, err := pl.AppendRows(&b, h, data, 0, nil); err != nil {
					t.Fatal(err)
				}
			}); n > 0 {
				t.Errorf("%s: %v allocations for a row", p.Table(h.TableID).FullName(), n)
			}
		}
	}
	if rows != 4 {
		t.Errorf("%d rows events, want 4", rows)
	}
}

func reversed(list []string) []string {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}

// TestOldTemporal reads the temporal types from before MySQL 5.6, which MariaDB
// can still write. The log does not show their fractional digits: without a
// catalog they are refused, and not only where there are some.
func TestOldTemporal(t *testing.T) {
	db := testserver.MariaDB(t, testserver.Args("--mysql56-temporal-format=OFF"))
	probes := slices.DeleteFunc(cdctest.Probes(db.Flavor), func(p cdctest.Probe) bool { return p.Kind != "Dates and times" })
	r := newLogReader(db.Flavor, catalogOf(t, db))
	compareProbes(t, db, r, probes)
	for n := range probes {
		if typ := r.types["FULL.t"+itoa(n)][2]; typ != binlog.ColTime && typ != binlog.ColDateTime && typ != binlog.ColTimestamp && typ != binlog.ColDate {
			t.Errorf("%s is written as %v", probes[n].Column, typ)
		}
	}
	for _, column := range []string{"TIME(3)", "DATETIME"} {
		run(t, db.Conn(t), "CREATE OR REPLACE TABLE FULL.f (v "+column+")", "FLUSH BINARY LOGS", "INSERT INTO FULL.f VALUES (0)")
		err := lastFile(t, newLogReader(db.Flavor, noCatalog), db)
		if !fault.HasCode(err, binlog.CodeSchemaIncomplete) {
			t.Errorf("%s: %v", column, err)
		}
	}
}

// TestKeys reads primary keys of several columns, out of order and with
// prefixes, the unique key that the servers take for one, and no key.
func TestKeys(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		run(t, db.Conn(t), "CREATE DATABASE d", "USE d",
			"CREATE TABLE a (x INT, y INT, z INT, PRIMARY KEY (z, x))", "INSERT INTO a VALUES (1, 2, 3)",
			"CREATE TABLE b (x INT, y VARCHAR(50), PRIMARY KEY (y(10), x))", "INSERT INTO b VALUES (1, 'text longer than its prefix')",
			"CREATE TABLE c (x INT NOT NULL, UNIQUE KEY (x))", "INSERT INTO c VALUES (1)",
			"CREATE TABLE e (x INT, UNIQUE KEY (x))", "INSERT INTO e VALUES (1)")
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		got := map[string][]int{}
		for name, s := range r.schemas {
			got[name] = s.Key
		}
		if d := cmp.Diff(map[string][]int{"d.a": {2, 0}, "d.b": {1, 0}, "d.c": {0}, "d.e": nil}, got); d != "" {
			t.Error(d)
		}
		if v := r.changes["d.b"][0].after[1]; v != "text longer than its prefix" {
			t.Errorf("%q", v)
		}
	})
}

// TestCatalogMismatch holds a log without names against catalogs that do not fit.
func TestCatalogMismatch(t *testing.T) {
	db := testserver.MySQL(t)
	run(t, db.Conn(t), "SET GLOBAL binlog_row_metadata = MINIMAL", "CREATE DATABASE d",
		"CREATE TABLE d.t (id INT UNSIGNED PRIMARY KEY, n DECIMAL(10,2), at DATETIME(3), e ENUM('a','b'), s VARCHAR(10) CHARACTER SET latin1)",
		"INSERT INTO d.t VALUES (1, 2, '2026-01-01', 'a', 'x')")
	right := catalogOf(t, db)(&binlog.TableMap{DB: "d", Table: "t"})
	edit := func(change func(c *binlog.CatalogTable)) *binlog.CatalogTable {
		c := *right
		c.Columns = slices.Clone(right.Columns)
		change(&c)
		return &c
	}
	for name, c := range map[string]struct {
		catalog *binlog.CatalogTable
		code    string
	}{
		"right":      {right, ""},
		"none":       {nil, binlog.CodeSchemaIncomplete},
		"columns":    {edit(func(c *binlog.CatalogTable) { c.Columns = c.Columns[:4] }), binlog.CodeSchemaMismatch},
		"type":       {edit(func(c *binlog.CatalogTable) { c.Columns[0].Native = "bigint unsigned" }), binlog.CodeSchemaMismatch},
		"sign":       {edit(func(c *binlog.CatalogTable) { c.Columns[0].Native = "int" }), binlog.CodeSchemaMismatch},
		"scale":      {edit(func(c *binlog.CatalogTable) { c.Columns[1].Native = "decimal(10,3)" }), binlog.CodeSchemaMismatch},
		"fraction":   {edit(func(c *binlog.CatalogTable) { c.Columns[2].Native = "datetime(6)" }), binlog.CodeSchemaMismatch},
		"no labels":  {edit(func(c *binlog.CatalogTable) { c.Columns[3].Labels = nil }), binlog.CodeSchemaIncomplete},
		"bad labels": {edit(func(c *binlog.CatalogTable) { c.Columns[3].Labels = []string{"a", "\xff"} }), binlog.CodeSchemaMismatch},
		"key":        {edit(func(c *binlog.CatalogTable) { c.Key = []int{5} }), binlog.CodeSchemaMismatch},
		"unknown":    {edit(func(c *binlog.CatalogTable) { c.Columns[1].Native = "money" }), binlog.CodeSchemaMismatch},
		"few labels": {edit(func(c *binlog.CatalogTable) { c.Columns[3].Labels = []string{} }), binlog.CodeSchemaIncomplete},
	} {
		r := newLogReader(db.Flavor, func(*binlog.TableMap) *binlog.CatalogTable { return c.catalog })
		var err error
		for _, f := range []string{"/binlog.000001", "/binlog.000002"} {
			if e := r.file(db.BinlogDir() + f); e != nil && fault.Of(e).Code != "binlog_unreadable" {
				err = e
			}
		}
		if c.code == "" && err != nil || c.code != "" && !fault.HasCode(err, c.code) {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if err != nil && !strings.Contains(fault.Of(err).Hint, "binlog_row_metadata=FULL") {
			t.Errorf("%s: hint %q", name, fault.Of(err).Hint)
		}
	}
}

// TestDoubles holds many JSON numbers against the server's own printing.
func TestDoubles(t *testing.T) {
	db := testserver.MySQL(t)
	c := db.Conn(t)
	run(t, c, "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, v JSON)")
	var rows []string
	add := func(text string) {
		rows = append(rows, fmt.Sprintf("(%d, '[%s]')", len(rows), text))
	}
	for e := -30; e <= 30; e++ {
		for _, digits := range []string{"1", "9", "1.5", "9.999999999999999", "1.2345678901234567", "2.5", "-7.125"} {
			add(digits + "e" + strconv.Itoa(e))
		}
	}
	seed := uint64(1)
	for range 2000 {
		seed = seed*6364136223846793005 + 1442695040888963407
		add(fmt.Sprintf("%d.%de%d", seed>>60, seed>>20&0xffffffff, int(seed>>33%600)-300))
	}
	run(t, c, "INSERT INTO t VALUES "+strings.Join(rows, ","))
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	for i, row := range query(t, c, "SELECT v FROM t ORDER BY id") {
		if got := r.changes["d.t"][i].after[1]; got != row[0] {
			t.Errorf("%s: decoded %s, the server prints %s", rows[i], got, row[0])
		}
	}
}

// TestHiddenColumns reads columns that SELECT * does not show, and what MariaDB's
// UUID is without a catalog.
func TestHiddenColumns(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, v INT INVISIBLE DEFAULT 7, g INT AS (id + 1) STORED, w INT AS (id + 2) VIRTUAL)",
			"INSERT INTO t (id) VALUES (1)")
		if db.Flavor == testserver.FlavorMySQL {
			run(t, c, "SET sql_generate_invisible_primary_key = ON", "CREATE TABLE k (v INT)", "INSERT INTO k VALUES (5)",
				"CREATE TABLE f (id INT PRIMARY KEY, j JSON, INDEX ((CAST(j->'$.a' AS UNSIGNED ARRAY))), INDEX ((id + 1)))",
				`INSERT INTO f VALUES (1, '{"a": [1, 2]}')`)
		} else {
			run(t, c, "CREATE TABLE x (id INT PRIMARY KEY, u UUID, i INET6)", "INSERT INTO x VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '::1')")
		}
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		for table, ch := range r.changes {
			var names []string
			for _, col := range r.schemas[table].Columns {
				names = append(names, col.Name+" "+col.Native)
			}
			t.Logf("%s %v: %v", table, names, ch[0].after)
		}
		if got := r.changes["d.t"][0].after; got[0] != "1" || got[1] != "7" || got[2] != "2" {
			t.Errorf("%v", got)
		}
		if db.Flavor == testserver.FlavorMySQL {
			if s := r.schemas["d.k"]; s.Columns[0].Name != "my_row_id" || s.Columns[0].Type != sdk.TypeUint || len(s.Key) != 1 {
				t.Errorf("%+v", s)
			}
		} else if s := r.schemas["d.x"]; s.Columns[1].Type != sdk.TypeBytes || s.Columns[1].Length != 16 {
			t.Errorf("%+v", s.Columns[1])
		}
	})
}
