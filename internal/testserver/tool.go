package testserver

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Binlog runs the server's own tool for reading binlog files, mysqlbinlog or
// mariadb-binlog, and returns what it prints.
func (db *DB) Binlog(t testing.TB, args ...string) string {
	t.Helper()
	argv := db.inst.binlogTool()
	if argv == nil {
		Missing(t, "mysqlbinlog of "+db.Flavor, errMissing)
	}
	cmd := exec.Command(argv[0], append(argv[1:], args...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", filepath.Base(argv[0]), err, problem.String())
	}
	return string(out)
}

// binlogTool returns how to run the tool that came with the server; nil where
// it is not there.
func (inst install) binlogTool() []string {
	name, i := "mysqlbinlog", slices.IndexFunc(inst.argv, func(arg string) bool { return filepath.Base(arg) == "mysqld" })
	if inst.flavor == FlavorMariaDB {
		name, i = "mariadb-binlog", slices.IndexFunc(inst.argv, func(arg string) bool { return filepath.Base(arg) == "mariadbd" })
	}
	if i < 0 {
		return nil
	}
	prefix := filepath.Dir(filepath.Dir(inst.argv[i]))
	tool := filepath.Join(prefix, "bin", name)
	if !exists(tool) && inst.flavor == FlavorMariaDB {
		tool = unpackedMariaDB(name)
	}
	if !exists(tool) {
		if tool = lookPath(name); tool == "" || i > 0 {
			return nil
		}
	}
	return append(append(slices.Clone(inst.argv[:i]), tool), "--no-defaults")
}
