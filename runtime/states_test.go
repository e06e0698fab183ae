package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/state"
)

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// A broker that comes back without messages that it had confirmed, while the
// pipeline runs: that is stream_rollback, and the pipeline sends them again.
func TestStreamRollback(t *testing.T) {
	db, ns := testserver.MySQL(t), testserver.NATS(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))")
	written := 0
	write := func(n int) {
		for range n {
			written++
			db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 1, 'a@example.com')", written))
		}
	}
	o := options(t, parse(t, shopYAML(t, db.Addr(), ns)))
	var log lockedLog
	o.Log, o.Stay = slog.New(slog.NewTextHandler(&log, nil)), true
	daemon, _ := started(t, o)
	delivered := func() (ids []int) {
		for _, m := range readFrom(t.Context(), t, ns.Conn(t)) {
			var change struct{ After struct{ ID int } }
			if err := json.Unmarshal(m.Data, &change); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, change.After.ID)
		}
		return ids
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited for %s in vain: %+v", what, daemon.Status())
			}
		}
	}
	all := func() bool { p := daemon.Status()[0]; return p.State == "streaming" && p.RowsOut >= uint64(written) }

	write(50)
	await("50 rows", all)
	old := t.TempDir()
	ns.Stop()
	if err := os.CopyFS(old, os.DirFS(ns.StoreDir())); err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(); err != nil {
		t.Fatal(err)
	}
	write(30)
	await("80 messages", func() bool { return len(delivered()) == 80 })
	await("their checkpoint", func() bool { return time.Since(daemon.Status()[0].CheckpointAt) > time.Second })
	ns.Kill()
	if err := os.RemoveAll(ns.StoreDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(ns.StoreDir(), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(); err != nil {
		t.Fatal(err)
	}
	write(20)
	await("the rollback to be named", func() bool { return log.has("stream_rollback") })
	await("all 100 messages", func() bool { return len(delivered()) >= written })
	for i, id := range delivered() {
		if id != i+1 {
			t.Fatalf("message %d is row %d", i, id)
		}
	}
}

// interrupted is a pipeline whose delivery stands inside a transaction of 1,500
// rows, of which some were delivered.
type interrupted struct {
	t     *testing.T
	db    *testserver.DB
	ns    *testserver.NATSServer
	dir   string
	first int // rows delivered
}

const interruptedRows = 1500

func (i *interrupted) options(limit int, tables, how, subject string) runtime.Options {
	return options(i.t, parse(i.t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [%s], rate_limit: {rows_per_second: %d}}}
    steps: [{wasm: mask, with: {columns: [email], how: %s}}]
    sink: {jetstream: {stream: SHOP, subject: %q}}
state: {dir: %s}
nats: {url: %q}
`, i.db.DSN(), tables, limit, how, subject, i.dir, i.ns.URL())))
}

const plainSubject = "cdc.{pipeline}.{db}.{table}"

// same are the options that delivery began with, but for the limit.
func (i *interrupted) same() runtime.Options {
	return i.options(0, "shop.orders", "redact", plainSubject)
}

func interrupt(t *testing.T, db *testserver.DB) *interrupted {
	t.Helper()
	i := &interrupted{t: t, db: db, ns: testserver.NATS(t), dir: t.TempDir()}
	daemon, err := runtime.New(i.options(100, "shop.orders", "redact", plainSubject))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx) }()
	for ctx.Err() == nil && daemon.Status()[0].RowsOut == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	i.first = len(readFrom(t.Context(), t, i.ns.Conn(t)))
	if i.first == 0 || i.first >= interruptedRows {
		t.Fatalf("%d rows were delivered: not inside the transaction", i.first)
	}
	return i
}

// catchUp runs a configuration to the end of the log.
func (i *interrupted) catchUp(o runtime.Options) error {
	i.t.Helper()
	o.Until = pipeline.CaughtUp
	d, err := runtime.New(o)
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), time.Minute)
	defer cancel()
	return d.Run(ctx)
}

// emails returns what the messages have in that column, in order.
func (i *interrupted) emails() (all []string) {
	i.t.Helper()
	for _, m := range readFrom(i.t.Context(), i.t, i.ns.Conn(i.t)) {
		var change struct{ After struct{ Email string } }
		if err := json.Unmarshal(m.Data, &change); err != nil {
			i.t.Fatal(err)
		}
		all = append(all, change.After.Email)
	}
	return all
}

// forget takes what a transaction is finished with out of the state, as an older
// version or a state that was lost leaves it.
func (i *interrupted) forget() {
	i.t.Helper()
	s, err := state.Open(i.dir, state.Options{})
	if err != nil {
		i.t.Fatal(err)
	}
	p, err := s.Pipeline("shop")
	if err != nil {
		i.t.Fatal(err)
	}
	st, ok, err := p.LoadSteps()
	if err != nil || !ok || len(st.Config) == 0 {
		i.t.Fatalf("nothing was kept: %+v, %v", st, err)
	}
	st.Config = nil
	if err := errors.Join(p.RecordSteps(st), s.Close()); err != nil {
		i.t.Fatal(err)
	}
}

// A configuration that is changed while delivery stands inside a transaction:
// that one is finished with what it was begun with, which state has kept, and
// what follows it is delivered with the new one. Where it was not kept, or can't
// be used, the pipeline halts and nothing is written; with the old one it goes on.
func TestConfigChangedInsideATransaction(t *testing.T) {
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, email VARCHAR(100))",
		"CREATE TABLE shop.other (id INT PRIMARY KEY, email VARCHAR(100))")
	values := make([]string, interruptedRows)
	for i := range values {
		values[i] = fmt.Sprintf("(%d, 'a@example.com')", i)
	}
	db.Exec(t, "INSERT INTO shop.orders VALUES "+strings.Join(values, ", "), "INSERT INTO shop.orders VALUES (-1, 'b@example.com')",
		"INSERT INTO shop.other VALUES (-2, 'c@example.com')")
	own, err := mask()
	if err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(*interrupted) runtime.Options{
		"tables": func(i *interrupted) runtime.Options { return i.options(0, `"shop.*"`, "redact", plainSubject) },
		"step":   func(i *interrupted) runtime.Options { return i.options(0, "shop.orders", "sha256", plainSubject) },
		"module": func(i *interrupted) runtime.Options {
			o := i.same()
			o.Module = func(config.Module) ([]byte, error) { return append(bytes.Clone(own), 0, 2, 1, 'x'), nil } // a custom section more
			return o
		},
	}
	for what, change := range changes {
		t.Run(what, func(t *testing.T) {
			i := interrupt(t, db)
			if err := i.catchUp(change(i)); err != nil {
				t.Fatal(err)
			}
			got, want := i.emails(), map[string]int{"tables": 2, "step": 1, "module": 1}[what]
			if len(got) != interruptedRows+want {
				t.Fatalf("%d messages", len(got))
			}
			for n, email := range got[:interruptedRows] {
				if email != got[0] {
					t.Fatalf("message %d of the transaction has %q, the first %q", n, email, got[0])
				}
			}
			if behind := got[interruptedRows]; (behind != got[0]) != (what == "step") {
				t.Errorf("behind it: %q", behind)
			}
		})
	}
	t.Run("not kept", func(t *testing.T) {
		i := interrupt(t, db)
		i.forget()
		for what, change := range changes {
			if f := fault.Of(i.catchUp(change(i))); f.Code != pipeline.CodeConfigChanged || f.Hint == "" {
				t.Errorf("%s: %v", what, f)
			}
		}
		if n := len(i.emails()); n != i.first {
			t.Errorf("%d messages where %d were", n, i.first)
		}
		if err := i.catchUp(i.same()); err != nil {
			t.Fatal(err)
		}
		if n := len(i.emails()); n != interruptedRows+1 {
			t.Errorf("%d messages", n)
		}
	})
}
