package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// The log does not name its columns, and columns change their names behind the
// last message: a pipeline whose state is lost, or older than the stream,
// decodes every row by the definition of its time, because the stream has the
// history of definitions too.
func TestDefinitionsSurviveTheState(t *testing.T) {
	for name, metadata := range map[string]string{"mysql": "MINIMAL", "mariadb": "NO_LOG"} {
		for _, way := range []string{"lost", "older"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				start := testserver.MySQL
				if name == "mariadb" {
					start = testserver.MariaDB
				}
				db := start(t, testserver.Args("--binlog-row-metadata="+metadata))
				definitionsSurvive(t, db, way)
			})
		}
	}
}

func definitionsSurvive(t *testing.T, db *testserver.DB, way string) {
	ns := testserver.NATS(t)
	config := func(dir string) string {
		return fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.*]}}
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, db.DSN(), dir, ns.URL())
	}
	// Whatever the columns are called, a is 1 and b is 2.
	n := 0
	write := func() {
		for _, table := range []string{"swap", "still"} {
			n++
			db.Exec(t, fmt.Sprintf("INSERT INTO shop.%s (id, a, b) VALUES (%d, 1, 2)", table, n))
		}
	}
	swap := func() {
		db.Exec(t, "ALTER TABLE shop.swap RENAME COLUMN a TO b, RENAME COLUMN b TO a")
		write()
	}
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.swap (id INT PRIMARY KEY, a INT, b INT)", "CREATE TABLE shop.still (id INT PRIMARY KEY, a INT, b INT)")
	write()
	dir, old := t.TempDir(), t.TempDir()
	run(t, config(dir), pipeline.CaughtUp)
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	write()
	swap()
	if way == "older" {
		run(t, config(dir), pipeline.CaughtUp) // the stream is ahead of the copy, and behind a swap
		write()
		swap()
		run(t, config(old), pipeline.CaughtUp)
	} else {
		run(t, config(t.TempDir()), pipeline.CaughtUp)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, want := map[int]string{}, map[int]string{}
	for _, m := range readFrom(ctx, t, ns.Conn(t)) {
		var body struct{ After struct{ ID, A, B int } }
		if err := json.Unmarshal(m.Data, &body); err != nil {
			t.Fatal(err)
		}
		got[body.After.ID] += fmt.Sprintf("a=%d b=%d", body.After.A, body.After.B)
	}
	for i := range n {
		want[i+1] = "a=1 b=2"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows:\n%s", diff)
	}
}
