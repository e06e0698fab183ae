package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/schema"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// recordedDDL returns the files of statements that others recorded.
func recordedDDL(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../../shared/corpus/ddl/*/*")
	types, err2 := filepath.Glob("../../../shared/corpus/types/*")
	if files = append(files, types...); err != nil || err2 != nil || len(files) == 0 {
		skip.For(t, "the recorded DDL: ../shared/corpus beside the repository")
	}
	return files
}

// split returns a file's statements: a line each, or up to a semicolon that ends
// a line.
func split(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	end := ";\n"
	if strings.Contains(file, "maxwell") {
		end = "\n"
	}
	for _, sql := range strings.Split(string(text), end) {
		if sql = strings.TrimSuffix(strings.TrimSpace(sql), ";"); sql != "" {
			list = append(list, sql)
		}
	}
	return list
}

// TestUnderstoodRecorded runs the statements of other projects' test suites on
// both servers, as far as they take them, and compares what they are understood to
// do with what they did.
func TestUnderstoodRecorded(t *testing.T) {
	run := func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d")
		d := newDifferential(t, db)
		took := 0
		for _, file := range recordedDDL(t) {
			session, err := db.Session()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := session.Exec("USE d"); err != nil {
				t.Fatal(err)
			}
			for _, sql := range split(t, file) {
				verb := strings.ToUpper(strings.TrimLeft(sql, "/*!0123456789 \t\n"))
				if strings.HasPrefix(verb, "SHUTDOWN") || strings.HasPrefix(verb, "GRANT") || strings.HasPrefix(verb, "SET GLOBAL") ||
					strings.Contains(verb, "BINLOG") || strings.Contains(verb, "MYSQL.") || strings.HasPrefix(verb, "LOCK") {
					continue // of the server itself, not of tables
				}
				if _, err := session.Exec(sql); err == nil {
					took++
				}
			}
			session.Close()
			d.compare(filepath.Base(file))
			drop := []string{"SET foreign_key_checks = 0"}
			for _, r := range db.Query(t, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' "+
				"AND TABLE_SCHEMA NOT IN ('mysql','sys','information_schema','performance_schema')") {
				drop = append(drop, "DROP TABLE "+definition.QuoteName(r[0])+"."+definition.QuoteName(r[1]))
			}
			db.Exec(t, drop...)
		}
		t.Logf("%d statements were taken: %v", took, d.stat)
		for _, sql := range d.uncertain {
			t.Logf("not understood: %.200s", sql)
		}
		if took < 700 || d.stat[schema.Understood] < 300 || 20*len(d.uncertain) > d.stat[schema.Understood] {
			t.Errorf("%d statements were taken, %d not understood: %v", took, len(d.uncertain), d.stat)
		}
	}
	// What the log says of columns makes no difference here.
	each(t, run, testserver.Args("--innodb-flush-log-at-trx-commit=0"))
}
