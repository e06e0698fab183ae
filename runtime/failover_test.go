package runtime_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

func shopYAML(t *testing.T, hosts string, ns *testserver.NATSServer) string {
	return fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: "mysql://root@%s", tables: [shop.orders], start: earliest, heartbeat_interval: 200ms}}
    steps: [{wasm: mask, with: {columns: [email], how: redact}}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, hosts, t.TempDir(), ns.URL())
}

// A server that dies, its replica that takes over, a network that cuts and a
// daemon that is killed meanwhile: what the stream says is what the tables of
// the new server hold, each transaction whole and once.
func TestFailover(t *testing.T) {
	both := map[string]func(testing.TB, ...testserver.Option) *testserver.DB{"mysql": testserver.MySQL, "mariadb": testserver.MariaDB}
	for name, server := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly it waits
			var args []testserver.Option
			if name == "mariadb" {
				args = append(args, testserver.Args("--log-slave-updates=ON", "--gtid-strict-mode=ON"))
			}
			a, b, ns := server(t, args...), server(t, args...), testserver.NATS(t)
			b.Replicate(t, a)
			a.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))")
			b.CatchUp(t, a)
			way := testserver.NewProxy(t, a.Addr())
			yaml := shopYAML(t, way.Addr()+","+b.Addr(), ns)
			path := childFiles(t, yaml)
			run(t, yaml, pipeline.CaughtUp) // the code cache is warm from here on
			rng, written := rand.New(rand.NewPCG(3, 4)), 0
			primary, cuts := a, -1
			write := func(until uint64) {
				nc := ns.Conn(t)
				before, patience := lastSeq(t, nc), time.Now().Add(20*time.Second)
				for lastSeq(t, nc) < before+until && time.Now().Before(patience) {
					written = writeSome(t, primary, rng, written)
					if now := way.Cuts(); now != cuts { // the last one has happened
						cuts = now
						way.CutIn(int64(1 + rng.IntN(100_000)))
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
			for round := range 4 {
				child := startChild(t, path)
				write(20)
				if round == 2 { // large transactions are likely under way
					b.CatchUp(t, a)
					a.Kill()
					way.Down(true)
					b.Promote(t)
					primary = b
					write(20)
				}
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = child.Wait() // it was killed
			}
			run(t, yaml, pipeline.CaughtUp)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			compare(t, b, readFrom(ctx, t, ns.Conn(t)))
			if way.Cuts() < 3 {
				t.Errorf("%d cuts", way.Cuts())
			}
		})
	}
}

// A pipeline whose servers lack what was delivered is not ready, and says why.
func TestBehindIsNotReady(t *testing.T) {
	a, b, ns := testserver.MySQL(t), testserver.MySQL(t), testserver.NATS(t)
	b.Replicate(t, a)
	a.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))")
	b.CatchUp(t, a)
	b.Exec(t, "STOP REPLICA SQL_THREAD")
	way := testserver.NewProxy(t, a.Addr())
	d, _ := started(t, options(t, parse(t, shopYAML(t, way.Addr()+","+b.Addr(), ns))))
	await := func(what string, ok func(telemetry.Status) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(d.Status()[0]); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, d.Status()[0])
			}
		}
	}
	a.Exec(t, "INSERT INTO shop.orders VALUES (1, 1, 'a')")
	await("a row", func(s telemetry.Status) bool { return s.RowsOut == 1 && s.Ready && s.Source.RetentionSeconds != nil })
	way.Down(true)
	await("source_behind", func(s telemetry.Status) bool {
		return !s.Ready && s.Code == "source_behind" && s.Source.State == "source_behind" && strings.Contains(s.Reason, "lacks") && !s.Source.Connected
	})
	b.Exec(t, "START REPLICA SQL_THREAD")
	await("the other server", func(s telemetry.Status) bool { return s.Ready && s.Source.Server == b.Addr() && s.Source.Connected })
}

// What a server has deleted before it was read halts the pipeline and stays on
// record, also for the next process.
func TestGapStaysOnRecord(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		t.Parallel() // mostly it waits
		ns := testserver.NATS(t)
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT, email VARCHAR(100))",
			"INSERT INTO shop.orders VALUES (1, 1, 'a')")
		yaml := shopYAML(t, db.Addr(), ns)
		run(t, yaml, pipeline.CaughtUp)
		db.Exec(t, "INSERT INTO shop.orders VALUES (2, 1, 'a')", "FLUSH BINARY LOGS", "INSERT INTO shop.orders VALUES (3, 1, 'a')", "FLUSH BINARY LOGS")
		for deadline := time.Now().Add(time.Minute); len(db.Query(t, "SHOW BINARY LOGS")) > 1; time.Sleep(20 * time.Millisecond) {
			last := db.Query(t, "SHOW BINARY LOGS")
			db.Exec(t, "PURGE BINARY LOGS TO '"+last[len(last)-1][0]+"'") // MariaDB keeps what its own recovery may need
			if time.Now().After(deadline) {
				t.Fatal("the server keeps its logs")
			}
		}
		for range 2 {
			d, err := runtime.New(options(t, parse(t, yaml)))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err = d.Run(ctx)
			cancel()
			if !fault.HasCode(err, "position_purged") {
				t.Fatalf("position_purged was due: %v", err)
			}
			s := d.Status()[0]
			if s.State != string(pipeline.StateHalted) || s.Code != "position_purged" || s.Ready || len(s.Gaps) != 1 ||
				s.Gaps[0].Cause != "position_purged" || s.Gaps[0].From == "" || s.Gaps[0].To == "" || s.Gaps[0].Time.IsZero() {
				t.Fatalf("%+v", s)
			}
		}
	})
}
