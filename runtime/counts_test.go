package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/sdk/consume"
)

// A daemon killed several times inside a transaction that comes in parts ends it
// with the counts of all of it, per subject; the consumer library compares them
// with what it has read.
func TestCountsOfAKilledTransaction(t *testing.T) {
	for name, sinkKeys := range map[string]string{"flowing": "", "atomic": ", atomic: true"} {
		t.Run(name, func(t *testing.T) { countsOfAKilledTransaction(t, sinkKeys) })
	}
}

func countsOfAKilledTransaction(t *testing.T, sinkKeys string) {
	db, ns := testserver.MariaDB(t), testserver.NATS(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, email VARCHAR(100))",
		"CREATE TABLE shop.items (id INT PRIMARY KEY)", "CREATE TABLE shop.logs (id INT PRIMARY KEY)")
	const limit = ", rate_limit: {rows_per_second: 1000}" // else a daemon may be through before it is killed
	yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: ["shop.*"], start: earliest%s}}
    steps: [{wasm: mask, only: [shop.orders], with: {columns: [email], how: redact}}]
    sink: {jetstream: {stream: SHOP%s}}
state: {dir: %s}
nats: {url: %q}
`, db.DSN(), limit, sinkKeys, t.TempDir(), ns.URL())
	path := childFiles(t, yaml)
	run(t, yaml, pipeline.CaughtUp) // the code cache is warm from here on
	want := map[string]uint64{"cdc.shop.shop.orders": 9000, "cdc.shop.shop.items": 6001, "cdc.shop.shop.logs": 5000}
	conn := db.Conn(t)
	if err := conn.UseDB("shop"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"BEGIN", "INSERT INTO shop.items SELECT seq FROM seq_1_to_6000", "INSERT INTO shop.orders SELECT seq, 'a@example.com' FROM seq_1_to_9000",
		"INSERT INTO shop.items VALUES (100000)", "INSERT INTO shop.logs SELECT seq FROM seq_1_to_5000", "COMMIT"} {
		if _, err := conn.Execute(statement); err != nil {
			t.Fatal(err)
		}
	}
	nc := ns.Conn(t)
	for range 3 {
		child := startChild(t, path)
		for before, end := lastSeq(t, nc), time.Now().Add(time.Minute); lastSeq(t, nc) < before+1000; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing is delivered")
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
	}
	run(t, strings.Replace(yaml, limit, "", 1), pipeline.CaughtUp)

	inside, counted := map[string]bool{}, map[string]uint64{}
	for _, m := range readFrom(t.Context(), t, nc) {
		if m.Header.Get("Cdc-Tx-Rows") == "" {
			inside[m.Header.Get("Cdc-Epoch")] = true
			counted[m.Subject]++
		}
	}
	if diff := cmp.Diff(want, counted); diff != "" || len(inside) < 3 {
		t.Fatalf("%d daemons wrote some of it\n%s", len(inside), diff)
	}
	end := txEnd(t, ns)
	if diff := cmp.Diff(want, end.Subjects); diff != "" || end.Rows != 20_001 || end.Messages != 20_001 {
		t.Errorf("%+v\n%s", end, diff)
	}
	r, err := consume.Open(t.Context(), nc, consume.Config{Stream: "SHOP", UntilCaughtUp: true})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	if err := r.Run(t.Context(), func(_ context.Context, tx *consume.Tx) error { rows += len(tx.Messages); return nil }); err != nil || rows != 20_001 {
		t.Errorf("%d rows read, %v", rows, err)
	}
}

type txEndBody struct {
	Kind           string
	Rows, Messages uint64
	Subjects       map[string]uint64
}

// txEnd returns the one tx_end of the stream.
func txEnd(t *testing.T, ns *testserver.NATSServer) (found txEndBody) {
	t.Helper()
	j, err := js.New(ns.Conn(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(t.Context(), seq, js.WithGetMsgSubject("cdc.shop._cdcd"))
		if err != nil {
			t.Fatalf("no tx_end: %v", err)
		}
		seq = m.Sequence
		if !strings.Contains(string(m.Data), "tx_end") {
			continue
		}
		if err := json.Unmarshal(m.Data, &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
}
