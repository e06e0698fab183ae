package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cdcd": func() { os.Exit(execute(os.Args[1:])) },
	})
}

// The command line, as a person meets it: testdata/script holds what is typed
// and what comes back.
func TestScripts(t *testing.T) {
	scripts(t, testscript.Params{Dir: "testdata/script"}, nil, nil)
}

// The same against real servers: what a database refuses. Scripts of a folder run at
// the same time; these have one server and its log, so they come one after the other.
func TestDatabaseScripts(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)", "INSERT INTO shop.orders VALUES (1)")
		logAccess := "REPLICATION CLIENT ON *.*"
		if db.Flavor == "mariadb" {
			logAccess = "BINLOG MONITOR ON *.*"
		}
		db.CreateUser(t, "reader", "good", "SELECT ON shop.*", "REPLICATION SLAVE ON *.*", logAccess)
		db.CreateUser(t, "poor", "good", "SELECT ON shop.*")
		files, err := filepath.Glob("testdata/database/*.txtar")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) { // ends when its script has
				scripts(t, testscript.Params{Files: []string{file}}, map[string]string{
					"GOOD":           db.UserDSN("reader", "good"),
					"WRONG_PASSWORD": db.UserDSN("reader", "not-the-password"),
					"NO_GRANT":       db.UserDSN("poor", "good"),
				}, db)
			})
		}
	})
}

// scripts runs the scripts that p names; db is nil for those without a server.
func scripts(t *testing.T, p testscript.Params, env map[string]string, db *testserver.DB) {
	p.RequireExplicitExec = true
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sql": statements(db)}
	p.Setup = func(e *testscript.Env) error {
		for key, value := range env {
			e.Setenv(key, value)
		}
		return setup(e)
	}
	p.Condition = condition
	p.UpdateScripts = os.Getenv("UPDATE_SCRIPTS") != ""
	testscript.Run(t, p)
}

// condition knows [connectors]: the shipped ones are in this binary. Where they must
// be and are not it is an error.
func condition(name string) (bool, error) {
	if name != "connectors" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	built := len(catalog.Names()) >= 2
	if !built && os.Getenv("CI") == "true" {
		return false, errors.New("missing: " + noConnectors)
	}
	return built, nil
}

// exits CODE cdcd ARGS... runs cdcd and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// statements makes the command sql STATEMENT..., which runs them on the server as
// its administrator.
func statements(db *testserver.DB) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 || db == nil {
			ts.Fatalf("usage: sql STATEMENT..., where there is a server")
		}
		ts.Check(db.Try(args...))
	}
}

// setup gives each script the demo's recordings, a cache and a temporary folder
// of its own.
func setup(e *testscript.Env) error {
	if err := os.CopyFS(e.WorkDir, demo.Files()); err != nil {
		return err
	}
	e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
	e.Setenv("HOME", e.WorkDir)
	return nil
}
