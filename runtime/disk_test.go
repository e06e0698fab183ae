package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// A disk that others fill up, under load, stops the pipeline with a reason, and
// it goes on by itself within seconds of there being room: nothing is lost or
// doubled, and nobody restarted anything.
func TestDiskFullHealsByItself(t *testing.T) {
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))")
	dir, disk := t.TempDir(), testserver.SmallDisk(t, 192<<20)
	if err := os.Symlink(disk, filepath.Join(dir, "nats")); err != nil { // the streams alone are on the small disk
		t.Fatal(err)
	}
	o := options(t, parse(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders], start: earliest}}
    steps: [{wasm: mask, with: {columns: [email], how: redact}}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {embedded: {listen: ""}}
`, db.DSN(), dir)))
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	d, _ := started(t, o)
	rng, written := rand.New(rand.NewPCG(3, 3)), 0
	await := func(what string, within time.Duration, ok func() bool) time.Duration {
		t.Helper()
		begin := time.Now()
		for !ok() {
			if time.Since(begin) > within {
				t.Fatalf("not %s within %v: %+v", what, within, d.Status()[0])
			}
			written = writeSome(t, db, rng, written)
			time.Sleep(20 * time.Millisecond)
		}
		return time.Since(begin)
	}
	rows := func() uint64 { return d.Status()[0].Sink.Messages }
	await("delivering", time.Minute, func() bool { return rows() > 2000 })
	for round := range 2 {
		free := testserver.FillDisk(t, disk, 0)
		said := await("halted with a reason", time.Minute, func() bool {
			s := d.Status()[0]
			return s.State == string(pipeline.StateRetrying) && s.Code == sink.CodeStreamFull && strings.Contains(s.Reason, "disk of state.dir")
		})
		for range 100 * round { // the longer it lasts, the longer its pauses
			written = writeSome(t, db, rng, written)
			time.Sleep(20 * time.Millisecond)
		}
		nc, err := d.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := rows()
		free()
		// Half a second for the server, and at most two that a full pipeline pauses;
		// the rest is for a machine that has much else to do.
		resumed := await("delivering again", time.Minute, func() bool {
			return d.Status()[0].State == string(pipeline.StateStreaming) && rows() > before+100
		})
		t.Logf("round %d: said after %v, resumed %v after there was room, at message %d", round, said, resumed, lastSeq(t, nc))
	}
	db.Exec(t, "INSERT INTO shop.orders VALUES (1000000000, 1, 'the last')")
	nc, err := d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		m, err := st.GetLastMsgForSubject(t.Context(), "cdc.shop.shop.orders")
		if err == nil && strings.Contains(string(m.Data), "1000000000") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not caught up: %v, %+v", err, d.Status()[0])
		}
	}
	read, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	compare(t, db, readFrom(read, t, nc))
}
