package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// childConfig names the configuration that TestChild runs, as a process of its
// own that a test can kill.
const childConfig = "CDCD_TEST_CHILD_CONFIG"

// childCache is where the child finds compiled code: its TMPDIR is its parent's to remove.
const childCache = "CDCD_TEST_CHILD_CACHE"

// childModule names the built connector, so that the child needn't build it.
const childModule = "CDCD_TEST_CHILD_MODULE"

// TestChild is not a test: it is the daemon that TestKilledDaemon starts.
func TestChild(t *testing.T) {
	path := os.Getenv(childConfig)
	if path == "" {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, parse(t, string(text)))
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	o.CacheDir = os.Getenv(childCache)
	o.Module = func(config.Module) ([]byte, error) { return os.ReadFile(os.Getenv(childModule)) }
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // not to outlive the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// change is what one message says of one row.
type change struct {
	Op     string
	Before *order
	After  *order
	Tx     struct {
		ID    string
		Index uint64
		Total uint64
	} `json:"transaction"`
}

type order struct {
	ID, Qty int64
	Email   string
}

// A daemon killed again and again, with SIGKILL, loses, doubles and reorders
// nothing: small transactions, and large ones that are delivered in parts.
func TestKilledDaemon(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		t.Parallel() // mostly it waits
		ns := testserver.NATS(t)
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))")
		yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders], start: earliest}}
    steps: [{wasm: mask, with: {columns: [email], how: redact}}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, db.DSN(), t.TempDir(), ns.URL())
		path := childFiles(t, yaml)
		run(t, yaml, pipeline.CaughtUp) // the code cache is warm from here on
		rng, written := rand.New(rand.NewPCG(7, 7)), 0
		for range 6 {
			child, nc := startChild(t, path), ns.Conn(t)
			before, patience := lastSeq(t, nc), time.Now().Add(20*time.Second)
			for lastSeq(t, nc) < before+20 && time.Now().Before(patience) { // it delivers
				written = writeSome(t, db, rng, written)
				time.Sleep(5 * time.Millisecond)
			}
			stop := time.Now().Add(time.Duration(rng.IntN(400)) * time.Millisecond)
			for time.Now().Before(stop) {
				written = writeSome(t, db, rng, written)
				time.Sleep(5 * time.Millisecond)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait() // it was killed
		}
		run(t, yaml, pipeline.CaughtUp)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		messages := readFrom(ctx, t, ns.Conn(t))
		epochs := map[string]int{}
		for _, m := range messages {
			epochs[m.Header.Get("Cdc-Epoch")]++
		}
		t.Logf("%d rows written, messages by life of the daemon: %v", written, epochs)
		if len(epochs) < 4 {
			t.Error("too few of the killed daemons delivered anything")
		}
		compare(t, db, messages)
	})
}

// run runs the daemon in this process until it has caught up.
func run(t *testing.T, yaml string, until pipeline.Until) {
	t.Helper()
	o := options(t, parse(t, yaml))
	o.Until = until
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if s := d.Status()[0]; s.State != string(pipeline.StateEnded) {
		t.Fatalf("not caught up: %+v", s)
	}
}

// childFiles writes what TestChild is given: the configuration, and its module
// beside it.
func childFiles(t *testing.T, yaml string) (path string) {
	t.Helper()
	path = t.TempDir() + "/cdcd.yaml"
	module, err := mask()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte(yaml), 0o600), os.WriteFile(path+".wasm", module, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func startChild(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childConfig+"="+path, childModule+"="+path+".wasm", childCache+"="+codeCache(), "TMPDIR="+filepath.Dir(path))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// writeSome commits a transaction or a few and returns how many rows there
// have been in all.
func writeSome(t *testing.T, db *testserver.DB, rng *rand.Rand, rows int) int {
	t.Helper()
	n := 1 + rng.IntN(4)
	if rng.IntN(8) == 0 {
		n = 1500 // more than a batch takes
	}
	var values []string
	for range n {
		rows++
		values = append(values, fmt.Sprintf("(%d,%d,'user%d@example.com')", rows, rng.IntN(100), rows))
	}
	db.Exec(t, "INSERT INTO shop.orders VALUES "+strings.Join(values, ","),
		fmt.Sprintf("UPDATE shop.orders SET qty = qty + 1 WHERE id > %d", rows-2),
		fmt.Sprintf("DELETE FROM shop.orders WHERE id = %d", 1+rng.IntN(rows)))
	return rows
}

// compare replays the messages onto an empty table and compares it with the
// database's; on the way each must be the next of its transaction.
func compare(t *testing.T, db *testserver.DB, messages []*nats.Msg) {
	t.Helper()
	table, txs := map[int64]order{}, map[string]bool{}
	var last change
	for i, m := range messages {
		var c change
		if err := json.Unmarshal(m.Data, &c); err != nil {
			t.Fatal(err)
		}
		if got := m.Header.Get("Cdc-Seq"); got != strconv.Itoa(i+1) {
			t.Fatalf("message %d has Cdc-Seq %s", i+1, got)
		}
		if c.Tx.ID != last.Tx.ID {
			if txs[c.Tx.ID] || c.Tx.Index != 0 || last.Tx.Total != 0 && last.Tx.Index+1 != last.Tx.Total {
				t.Fatalf("message %d begins %+v behind %+v", i+1, c.Tx, last.Tx)
			}
			txs[c.Tx.ID] = true
		} else if c.Tx.Index != last.Tx.Index+1 {
			t.Fatalf("message %d is %+v behind %+v", i+1, c.Tx, last.Tx)
		}
		last = c
		apply(t, table, c)
	}
	want := map[int64]order{}
	for _, row := range db.Query(t, "SELECT id, qty FROM shop.orders") {
		id, _ := strconv.ParseInt(row[0], 10, 64)
		qty, _ := strconv.ParseInt(row[1], 10, 64)
		want[id] = order{ID: id, Qty: qty, Email: "***"}
	}
	if len(want) == 0 {
		t.Fatal("the table is empty")
	}
	if d := cmp.Diff(want, table); d != "" {
		t.Fatalf("the table made of the messages differs (-database +messages):\n%.4000s", d)
	}
}

func apply(t *testing.T, table map[int64]order, c change) {
	t.Helper()
	if c.Before != nil {
		if have, ok := table[c.Before.ID]; !ok || have != *c.Before {
			t.Fatalf("%+v changes what is not there: %+v", c, have)
		}
		delete(table, c.Before.ID)
	}
	if c.After != nil {
		if _, taken := table[c.After.ID]; taken {
			t.Fatalf("%+v is there already", c)
		}
		table[c.After.ID] = *c.After
	}
}
