package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// fillLog writes the log that a limited reader meets: single rows, one
// transaction of ten thousand, and then so much that no buffer takes it.
func fillLog(t *testing.T, db *testserver.DB, singles, blocks int) {
	t.Helper()
	_ = db.Try("INSTALL SONAME 'ha_blackhole'") // MariaDB's; MySQL has it. What is logged counts, not what is kept
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=BLACKHOLE",
		"CREATE TABLE shop.seq (n INT PRIMARY KEY)", "INSERT INTO shop.seq VALUES (1)")
	const block = 1 << 17
	for have := 1; have < block; have *= 2 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.seq SELECT n+%d FROM shop.seq", have))
	}
	db.Exec(t, map[string]string{testserver.FlavorMySQL: "RESET BINARY LOGS AND GTIDS", testserver.FlavorMariaDB: "RESET MASTER"}[db.Flavor])
	for i := range singles {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, 'single')", -i))
	}
	db.Exec(t, "INSERT INTO shop.orders SELECT n, 'one of ten thousand' FROM shop.seq WHERE n <= 10000")
	for range blocks {
		db.Exec(t, "INSERT INTO shop.orders SELECT n, REPEAT('y', 100) FROM shop.seq")
	}
}

// dumpThreads returns the server's connections that send the log: id and state.
func dumpThreads(t *testing.T, db *testserver.DB) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, row := range db.Query(t, "SHOW PROCESSLIST") {
		if strings.HasPrefix(row[4], "Binlog Dump") {
			found[row[0]] = row[6]
		}
	}
	return found
}

// look is a pipeline's status, and between which times it was so.
type look struct {
	telemetry.Status
	from, to time.Time
}

func (p *process) look(pipeline string) (l look) {
	p.t.Helper()
	l.from = time.Now()
	s, ok := p.status(pipeline)
	if l.Status, l.to = s, time.Now(); !ok {
		p.t.Fatalf("%s does not answer", pipeline)
	}
	return l
}

// since returns how many seconds lie between two looks, at least and at most: who
// looks may have to wait for a processor.
func (l look) since(then look) (least, most float64) {
	return l.from.Sub(then.to).Seconds(), l.to.Sub(then.from).Seconds()
}

// A slow reader of a full log: one row a second with millions waiting, inside
// and outside of transactions. Memory stays flat, the server is held back by TCP
// and not by a queue of ours, the connections live on beyond the server's own
// patience, the rate is the one asked for, and a stop is prompt.
// CDCD_TEST_LARGE=1 watches for minutes.
func TestRateLimitAgainstAFullLog(t *testing.T) {
	const singles = 12
	watched := 17 * time.Second
	if os.Getenv("CDCD_TEST_LARGE") != "" {
		watched = 5 * time.Minute
	}
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		t.Parallel() // mostly it watches
		fillLog(t, db, singles, 16)
		ns := testserver.NATS(t)
		pipeline := func(name, limit string) string {
			return fmt.Sprintf("  %s:\n    source: {mysql: {dsn: %q, tables: [shop.orders], rate_limit: {%s}}}\n    sink: {jetstream: {stream: %s}}\n",
				name, db.DSN(), limit, name)
		}
		p := begin(t, "version: 1\npipelines:\n"+pipeline("one", "rows_per_second: 1")+pipeline("thousand", "rows_per_second: 1000")+
			pipeline("bytes", "bytes_per_second: 64KiB")+fmt.Sprintf("nats: {url: %q}\n", ns.URL()))
		names := []string{"one", "thousand", "bytes"}
		for _, name := range names {
			p.await(name, "the first row", func(s telemetry.Status) bool { return s.RowsOut > 0 })
		}
		began, threads, first := time.Now(), dumpThreads(t, db), map[string]look{}
		for _, name := range names {
			first[name] = p.look(name)
		}
		rate := func(name string, limit, part, share float64, of func(look) uint64) {
			t.Helper()
			now := p.look(name)
			least, most := now.since(first[name])
			if got := float64(of(now) - of(first[name])); got > limit*most+part || got < share*limit*least-part {
				t.Errorf("%s: %.0f in %.1f to %.1f s", name, got, least, most)
			}
		}
		rows := func(l look) uint64 { return l.RowsOut }
		bytes := func(l look) uint64 { return l.Source.Bytes }
		time.Sleep(3 * time.Second)
		rate("one", 1, 2.1, 0.8, rows)
		rate("thousand", 1000, 1513, 0.8, rows)
		time.Sleep(time.Until(began.Add(singles/2*time.Second + 200*time.Millisecond)))
		rate("one", 1, 3, 1, rows)

		// The server is blocked: what it has sent waits in the kernel, on both sides.
		waiting, unsent := queues(t, db.Port())
		if len(waiting) < 3 || len(unsent) < 3 {
			t.Errorf("bytes that wait to be read: %v; to be sent: %v", waiting, unsent)
		}
		settled, early, read := time.Now(), p.rss(), p.proc("io", "rchar") // all that fills has filled
		time.Sleep(time.Until(began.Add(watched)))
		if diff := len(threads); diff != 3 || fmt.Sprint(keys(threads)) != fmt.Sprint(keys(dumpThreads(t, db))) {
			t.Errorf("connections were %v and are %v", threads, dumpThreads(t, db))
		}
		for _, name := range names {
			s := p.look(name)
			if s.State != "streaming" || !s.Source.Connected || s.Source.Reconnects != 0 || s.Restarts != 0 {
				t.Errorf("%+v", s)
			}
			if s.BudgetBytes > 2*mib {
				t.Errorf("%s holds %d bytes", name, s.BudgetBytes)
			}
			t.Logf("%s: %d rows out, %d bytes of log in %v", name, s.RowsOut-first[name].RowsOut, s.Source.Bytes, s.to.Sub(began).Round(time.Millisecond))
		}
		rate("thousand", 1000, 1513, 0.9, rows)
		rate("bytes", 64<<10, 128<<10, 0.8, bytes)
		// What all three have read from sockets: 64 KiB a second, a thousand rows a
		// second, and what one look each at the broker and at the status takes.
		grown, read := p.rss()-early, p.proc("io", "rchar")-read
		if most := int64((time.Since(settled).Seconds() + 1) * (64<<10 + 1000*150 + 256<<10)); read > most {
			t.Errorf("%d bytes were read, of at most %d", read, most)
		}
		t.Logf("memory grew by %d KiB to %d MiB, %d at most; %d KiB read; %v wait to be read, %v to be sent", grown>>10, p.rss()/mib, p.peak()/mib, read>>10, waiting, unsent)
		if grown > 8*mib || p.peak() > 160*mib {
			t.Errorf("memory grew by %d bytes, to %d at most", grown, p.peak())
		}
		if took := p.stop(); took > 10*time.Second {
			t.Errorf("the stop took %v", took)
		}
	}, testserver.Args("--net-write-timeout=5", "--net-read-timeout=5"))
}

func keys(m map[string]string) (ids []string) {
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// TestLargeTransactionIntoASlowSink: one transaction that is many times larger
// than what cdcd may take, into a broker that answers slowly. With
// CDCD_TEST_LARGE=1 (make test-large) it is of more than 4 GiB, into the default
// budget; the short form has a small one, which it fills in the first half, so
// that memory has settled before the second.
func TestLargeTransactionIntoASlowSink(t *testing.T) {
	rows, width, budget, most := 60_000, 3500, 16, int64(144) // 200 MiB
	if os.Getenv("CDCD_TEST_LARGE") != "" {
		rows, width, budget, most = 1_000_000, 4500, 128, 256
	}
	db := testserver.MySQL(t, testserver.Args("--max-binlog-size=1073741824", "--binlog-cache-size=1048576"))
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, note MEDIUMTEXT) CHARSET latin1 ENGINE=BLACKHOLE",
		"CREATE TABLE shop.seq (n INT PRIMARY KEY)", "INSERT INTO shop.seq VALUES (1)")
	for have := 1; have < rows; have *= 2 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.seq SELECT n+%d FROM shop.seq WHERE n+%d <= %d", have, have, rows))
	}
	db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders SELECT n, REPEAT('y', %d) FROM shop.seq ORDER BY n", width))
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 8MB"))
	slow := testserver.NewProxy(t, ns.Addr())
	slow.Slice(256, 25*time.Millisecond) // of acknowledgements
	p := begin(t, fmt.Sprintf(`version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders]}}
    sink: {jetstream: {stream: SHOP}}
nats: {url: "nats://%s"}
memory: {in_flight: %dMiB}
`, db.DSN(), slow.Addr(), budget))
	var halves [2]int64 // most memory in the first and the second half
	var held int64
	began := time.Now()
	p.await("shop", "the beginning", func(s telemetry.Status) bool { return s.RowsOut > 0 })
	for done := uint64(0); done < uint64(rows); time.Sleep(50 * time.Millisecond) {
		s, ok := p.status("shop")
		if !ok || s.State != "streaming" || s.Source.Reconnects+s.Restarts > 0 || time.Since(began) > time.Hour {
			t.Fatalf("%+v", s)
		}
		done, held = s.RowsOut, max(held, s.BudgetBytes)
		half := &halves[min(1, done*2/uint64(rows))]
		*half = max(*half, p.rss())
	}
	took := time.Since(began)
	peak := p.peak()
	t.Logf("%d MiB in %v; memory at most %d MiB, in the first half %d, in the second %d; %d MiB in flight", rows*width/mib,
		took.Round(time.Millisecond), peak/mib, halves[0]/mib, halves[1]/mib, held/mib)
	if peak > most*mib || halves[1] > halves[0]+16*mib {
		t.Errorf("memory is not bounded by %d MiB, or not flat", most)
	}
	if held < mib || held > int64(budget)*mib*5/4 {
		t.Errorf("%d bytes in flight: the sink was not slow, or the budget is none", held)
	}
	// All of it has come, and once.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	js, err := jetstream.New(ns.Conn(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	for {
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter("cdc.shop.shop.orders"))
		if err != nil {
			t.Fatal(err)
		}
		if n := info.State.Subjects["cdc.shop.shop.orders"]; n == uint64(rows) {
			break
		} else if n > uint64(rows) {
			t.Fatalf("%d messages for %d rows", n, rows)
		}
	}
}
