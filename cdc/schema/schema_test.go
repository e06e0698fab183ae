package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/skip"
)

func all(string) bool { return true }

func never(*position.Position) bool { return false }

// script applies statements, separated by semicolons, in database d.
func script(t *testing.T, h *History, later func(*position.Position) bool, text string) (out []Changed) {
	t.Helper()
	for _, sql := range strings.Split(text, ";") {
		if strings.TrimSpace(sql) != "" {
			out = append(out, h.Apply(&Query{SQL: sql, DB: "d", ServerCharset: "utf8mb4"}, later))
		}
	}
	return out
}

// brief writes a fact: the columns, with types, and the key.
func brief(f Fact) string {
	switch {
	case f.Absent:
		return "absent"
	case f.Table == nil:
		return "unknown"
	}
	var list []string
	for _, c := range f.Table.Columns {
		list = append(list, c.Name+" "+c.Native)
	}
	for _, i := range f.Table.Key(nil) {
		list = append(list, "key "+f.Table.Columns[i].Name)
	}
	return strings.Join(list, ", ")
}

func TestHistory(t *testing.T) {
	for name, c := range map[string]struct{ script, t, u string }{
		"nothing":                {"", "unknown", "unknown"},
		"create":                 {"CREATE TABLE t (a INT PRIMARY KEY, b TEXT)", "a int, b text, key a", "unknown"},
		"new database":           {"CREATE DATABASE d", "absent", "absent"},
		"dropped database":       {"CREATE TABLE t (a INT); DROP DATABASE d", "absent", "absent"},
		"other database":         {"CREATE TABLE t (a INT); DROP DATABASE e", "a int", "unknown"},
		"if not exists, unknown": {"CREATE TABLE IF NOT EXISTS t (a INT)", "unknown", "unknown"},
		"if not exists, absent":  {"DROP TABLE t; CREATE TABLE IF NOT EXISTS t (a INT)", "a int", "unknown"},
		"if not exists, new":     {"CREATE DATABASE d; CREATE TABLE IF NOT EXISTS t (a INT)", "a int", "absent"},
		"if not exists, there":   {"CREATE TABLE t (a INT); CREATE TABLE IF NOT EXISTS t (b INT)", "a int", "unknown"},
		"like":                   {"CREATE TABLE t (a INT); CREATE TABLE u LIKE t", "a int", "a int"},
		"like unknown":           {"CREATE TABLE u (a INT); DROP TABLE u; CREATE TABLE u LIKE t", "unknown", "unknown"},
		"swap":                   {"CREATE TABLE t (a INT); CREATE TABLE u (b INT); RENAME TABLE t TO x, u TO t, x TO u", "b int", "a int"},
		"rename":                 {"CREATE TABLE t (a INT); ALTER TABLE t RENAME TO u, ADD b INT", "absent", "a int, b int"},
		"rename unknown":         {"CREATE TABLE u (b INT); RENAME TABLE t TO u", "absent", "unknown"},
		"alter unknown":          {"ALTER TABLE t ADD b INT", "unknown", "unknown"},
		"not understood":         {"CREATE TABLE t (a INT); ALTER TABLE t FROBNICATE", "a int", "unknown"}, // Forget follows
		"column is not there":    {"CREATE TABLE t (a INT); ALTER TABLE t DROP b", "unknown", "unknown"},
		"reorder":                {"CREATE TABLE t (a INT, b INT, c INT); ALTER TABLE t MODIFY c INT FIRST, ADD d INT AFTER a", "c int, a int, d int, b int", "unknown"},
		"swap names":             {"CREATE TABLE t (a INT PRIMARY KEY, b CHAR); ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a", "b int, a char(1), key b", "unknown"},
		"key by order":           {"CREATE TABLE t (a INT, b INT NOT NULL, c INT NOT NULL, UNIQUE(a), UNIQUE z (c), UNIQUE y (b))", "a int, b int, c int, key c", "unknown"},
		"enum in a key to text":  {"CREATE TABLE t (a ENUM('x','yy') NOT NULL UNIQUE); ALTER TABLE t MODIFY a VARCHAR(9) NOT NULL", "unknown", "unknown"},
		"set in a key to binary": {"CREATE TABLE t (a SET('x','yy') PRIMARY KEY); ALTER TABLE t CHANGE a b BINARY(9)", "unknown", "unknown"},
		"enum in a key to enum":  {"CREATE TABLE t (a ENUM('x','yy') PRIMARY KEY); ALTER TABLE t MODIFY a ENUM('x')", "a enum('x'), key a", "unknown"},
		"enum in a key to int":   {"CREATE TABLE t (a ENUM('x','yy') PRIMARY KEY); ALTER TABLE t MODIFY a INT", "a int, key a", "unknown"},
		"enum in no key to text": {"CREATE TABLE t (a ENUM('x','yy'), KEY (a)); ALTER TABLE t MODIFY a CHAR(9)", "a char(9)", "unknown"},
		"convert and change":     {"CREATE TABLE t (a CHAR(3)) CHARSET latin1; ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, MODIFY a TEXT FIRST", "unknown", "unknown"},
		"convert and add":        {"CREATE TABLE t (a INT) CHARSET latin1; ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, ADD b TEXT, MODIFY a TEXT(90)", "a text, b text", "unknown"},
		"cut off":                {"CREATE TABLE t (a INT", "unknown", "unknown"},
		"select":                 {"CREATE TABLE t (a INT) SELECT 1 AS b", "unknown", "unknown"},
	} {
		h := New(all)
		script(t, h, never, c.script)
		if d := cmp.Diff([]string{c.t, c.u}, []string{brief(h.Fact(tables.Name{DB: "d", Table: "t"})), brief(h.Fact(tables.Name{DB: "d", Table: "u"}))}); d != "" {
			t.Errorf("%s: %s\n%s", name, c.script, d)
		}
	}
}

func at(pos uint64) *position.Position {
	return &position.Position{Flavor: gtid.MySQL, File: "binlog.000001", Pos: pos}
}

// TestDefinitionOfLater: what the catalog of later said is not changed again by
// the statements that it already has in it, and rows that it decoded in front of
// them are told.
func TestDefinitionOfLater(t *testing.T) {
	n := tables.Name{DB: "d", Table: "t"}
	inIt := func(*position.Position) bool { return true }
	for sql, want := range map[string]struct {
		conflicts int
		fact      string
	}{
		"ALTER TABLE t ADD INDEX (a)":             {0, "a int"},
		"ALTER TABLE t ENGINE=InnoDB":             {0, "a int"},
		"ALTER TABLE t DROP PARTITION p":          {0, "a int"},
		"ALTER TABLE t ADD a INT":                 {1, "unknown"},
		"ALTER TABLE t RENAME COLUMN b TO a":      {1, "unknown"},
		"ALTER TABLE t ADD UNIQUE (a)":            {1, "unknown"},
		"DROP TABLE t":                            {1, "absent"},
		"CREATE TABLE t (b INT)":                  {1, "b int"},
		"RENAME TABLE x TO t":                     {1, "unknown"},
		"RENAME TABLE t TO x":                     {1, "unknown"},
		"DROP DATABASE d":                         {1, "absent"},
		"CREATE TABLE IF NOT EXISTS t (a INT)":    {0, "a int"},
		"CREATE TABLE other (a INT)":              {0, "a int"},
		"CREATE VIEW v AS SELECT 'ALTER TABLE t'": {0, "a int"},
	} {
		h := New(all)
		h.Learn(n, Fact{Table: &Table{DB: "d", Name: "t", Columns: []Column{{Name: "a", Native: "int"}}}, Read: at(1000), Used: true})
		got := script(t, h, inIt, sql)
		if len(got[0].Conflicts) != want.conflicts || brief(h.Fact(n)) != want.fact {
			t.Errorf("%s: %+v, %s", sql, got[0], brief(h.Fact(n)))
		}
	}
	// Behind it, statements count, and nothing is in conflict.
	h := New(all)
	h.Learn(n, Fact{Table: &Table{DB: "d", Name: "t", Columns: []Column{{Name: "a", Native: "int"}}}, Read: at(1000), Used: true})
	if got := script(t, h, never, "ALTER TABLE t ADD b INT"); len(got[0].Conflicts) != 0 || brief(h.Fact(n)) != "a int, b int" {
		t.Errorf("%+v, %s", got, brief(h.Fact(n)))
	}
}

// TestRecords: what Commit gives restores the same knowledge; what is rolled
// back was never known.
func TestRecords(t *testing.T) {
	h := New(func(db string) bool { return db != "other" })
	script(t, h, never, "CREATE DATABASE d CHARACTER SET latin1; CREATE TABLE t (a ENUM('x'), b TEXT, UNIQUE u (a)); CREATE TABLE other.t (a INT)")
	records := h.Commit()
	if again := h.Commit(); len(again) != 0 {
		t.Errorf("twice: %v", again)
	}
	script(t, h, never, "ALTER TABLE t DROP b; DROP DATABASE e; CREATE TABLE u (a INT)")
	h.Rollback()
	other := New(all)
	for _, r := range records {
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		other.Restore(decoded)
	}
	if d := cmp.Diff(h.tables, other.tables); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(h.dbs, other.dbs); d != "" {
		t.Error(d)
	}
	if len(records) != 2 {
		t.Errorf("%d records", len(records))
	}
	script(t, other, never, "ALTER TABLE t ADD c TEXT")
	if c := other.Fact(tables.Name{DB: "d", Table: "t"}).Table.Columns[2].Charset; c != "latin1" {
		t.Errorf("character set %q", c)
	}
	for _, bad := range []string{"", "{}", `{"db":"d"}`, `{"db":"d","table":"t","absent":true,"definition":{}}`,
		`{"db":"d","table":"t","read":"x"}`, `{"db":"d","unknown":1}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// statements splits a file of statements.
func statements(t testing.TB, name string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(name, "maxwell") {
		return strings.Split(string(text), "\n")
	}
	return strings.Split(string(text), ";\n")
}

// TestCorpus reads every statement of the recorded ones: none that touches a
// table may pass as benign, and nearly all are understood.
func TestCorpus(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/corpus/ddl/*/*")
	if len(files) == 0 {
		skip.For(t, "the recorded DDL: ../shared/corpus beside the repository")
	}
	count := map[Class]int{}
	for _, maria := range []bool{false, true} {
		for _, file := range files {
			h := New(all)
			for _, sql := range statements(t, file) {
				q := &Query{SQL: sql, DB: "d", Maria: maria, ServerCharset: "utf8mb4", Done: true}
				s, class := read(q)
				count[class]++
				lower := strings.ToLower(strings.Join(strings.Fields(sql), " "))
				for _, verb := range []string{"create table ", "drop table ", "rename table ", "drop database "} {
					if strings.HasPrefix(lower, verb) && class == Benign {
						t.Errorf("%s: %v", sql, class)
					}
				}
				if s := strings.Fields(lower); class == Uncertain && len(s) > 1 && s[1] == "table" && !maria {
					t.Logf("uncertain: %.200s", lower)
				}
				if class == Understood && s.verb == verbNone {
					t.Errorf("%s: understood as nothing", sql)
				}
				h.Apply(q, never)
			}
		}
	}
	t.Log(count)
	if count[Understood] < 5*count[Uncertain] {
		t.Errorf("only these were understood: %v", count)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("CREATE TABLE `a`.b (c INT DEFAULT (1) /*!50100 , d ENUM('x\\'',x'61') */, UNIQUE (c)) CHARSET=utf8 PARTITION BY HASH (c)", uint8(0))
	f.Add("ALTER TABLE b ADD (c INT, d SERIAL), CHANGE c e TEXT(9) FIRST, RENAME TO f, CONVERT TO CHARACTER SET latin1", uint8(7))
	f.Add("RENAME TABLE a TO b, c.d TO e /*M! x */", uint8(4))
	f.Fuzz(func(t *testing.T, sql string, mode uint8) {
		h := New(all)
		h.Apply(&Query{SQL: "CREATE TABLE b (c INT PRIMARY KEY, x TEXT, y ENUM('ä'))", DB: "d"}, never)
		q := &Query{SQL: sql, DB: "d", Maria: mode&4 != 0, Mode: Mode{ANSIQuotes: mode&1 != 0, NoBackslashEscapes: mode&2 != 0}}
		h.Apply(q, never)
		for n, fact := range h.tables {
			if n.Table == "" || fact.Table != nil && (len(fact.Table.Columns) == 0 || fact.Table.DB != n.DB || fact.Table.Name != n.Table) {
				t.Fatalf("%q: %v is %+v", sql, n, fact)
			}
			if fact.Table == nil {
				continue
			}
			fact.Table.Key(nil)
			for _, c := range fact.Table.Columns {
				if c.Name == "" || c.Native == "" {
					t.Fatalf("%q: column %+v", sql, c)
				}
			}
		}
		for _, r := range h.Commit() {
			if _, err := r.Encode(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestConvertUnprinted: labels that the catalog could not print may come to be
// others by CONVERT.
func TestConvertUnprinted(t *testing.T) {
	n := tables.Name{DB: "d", Table: "t"}
	for labels, want := range map[string]string{"": "unknown", "x": "a set('x')"} {
		h, c := New(all), Column{Name: "a", Native: "set('?')", Charset: "utf8mb4"}
		if labels != "" {
			c.Native, c.Labels = "set('x')", []string{labels}
		}
		h.Learn(n, Fact{Table: &Table{DB: "d", Name: "t", Charset: "utf8mb4", Columns: []Column{c}}})
		script(t, h, never, "ALTER TABLE t CONVERT TO CHARACTER SET latin1")
		if got := brief(h.Fact(n)); got != want {
			t.Errorf("labels %q: %s, want %s", labels, got, want)
		}
	}
}

// TestNameLeftBehind: MariaDB may leave the old name of a table there when the
// name is another one in the file system. Then nothing is known of it: not that
// it is gone, and not what it is.
func TestNameLeftBehind(t *testing.T) {
	for _, c := range []struct {
		name  string
		maria bool
		want  string
	}{{"t_1", true, "absent"}, {"t 1", true, "unknown"}, {"t-1", true, "unknown"}, {"té", true, "unknown"}, {"t 1", false, "absent"}} {
		h := New(all)
		for _, sql := range []string{"CREATE TABLE `" + c.name + "` (a INT)", "ALTER TABLE `" + c.name + "` RENAME TO u, ADD b INT"} {
			h.Apply(&Query{SQL: sql, DB: "d", Maria: c.maria, ServerCharset: "utf8mb4"}, never)
		}
		if got := brief(h.Fact(tables.Name{DB: "d", Table: c.name})); got != c.want {
			t.Errorf("%q, MariaDB %v: %s, want %s", c.name, c.maria, got, c.want)
		}
		if got := brief(h.Fact(tables.Name{DB: "d", Table: "u"})); !strings.HasPrefix(got, "a int") || !strings.Contains(got, ", b int") {
			t.Errorf("%q: the new name has %s", c.name, got)
		}
	}
}
