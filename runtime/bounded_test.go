package runtime_test

import (
	"context"
	"fmt"
	"math"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsstream "github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/jetstream"
)

// elsewhere is the jetstream sink on a broker of its own: in a daemon, which has
// one broker, all pipelines but those stand still with it. A daemon that starts
// after this has ended before the connection does.
func elsewhere(t *testing.T, broker *testserver.NATSServer) sink.Kind {
	nc, err := nats.Connect(broker.URL(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	k := jetstream.Kind()
	k.Name = "elsewhere"
	open := k.Open
	k.Open = func(config any, env sink.Env) (sink.Sink, error) {
		env.NATS = func(context.Context) (*nats.Conn, error) { return nc, nil }
		return open(config, env)
	}
	return k
}

// fleet is 20 pipelines of one daemon that read the same log through a step.
type fleet struct {
	t      *testing.T
	daemon *runtime.Daemon
	names  []string
	// Of the last pipeline's sink: both return when what they say holds. place says
	// how far it has come.
	stop, resume func()
	place        func() string
}

// startFleet begins to deliver; the last pipeline is the one to be stopped, and
// has the given sink. Fleets of other names may use the same servers.
func startFleet(t *testing.T, name string, db *testserver.DB, broker *testserver.NATSServer, last string, kinds runtime.Kinds) *fleet {
	t.Helper()
	const pipelines = 20
	var yaml strings.Builder
	f := &fleet{t: t}
	fmt.Fprintf(&yaml, "version: 1\npipelines:\n")
	for i := range pipelines {
		pipeline := fmt.Sprintf("%s%02d", name, i)
		to := fmt.Sprintf("jetstream: {stream: %s}", pipeline)
		if i == pipelines-1 {
			to = last
		}
		f.names = append(f.names, pipeline)
		fmt.Fprintf(&yaml, "  %s:\n    source: {mysql: {dsn: %q, tables: [shop.orders]}}\n"+
			"    steps: [{wasm: mask, with: {columns: [email], how: sha256}}]\n    sink: {%s}\n", pipeline, db.DSN(), to)
	}
	// As little as is allowed: what one takes too much the others lack.
	fmt.Fprintf(&yaml, "state: {dir: %s}\nnats: {url: %q}\nmemory: {in_flight: 32MiB, in_flight_min: 512KiB}\n", t.TempDir(), broker.URL())
	o := options(t, parseKinds(t, yaml.String(), kinds))
	o.Kinds = kinds
	f.daemon, _ = started(t, o)
	f.await("all to run", func() bool { return !slices.Contains(f.delivered(), 0) })
	return f
}

// delivered returns how many messages each pipeline has published.
func (f *fleet) delivered() []uint64 {
	n := make([]uint64, len(f.names))
	for i, name := range f.names {
		if p, ok := f.daemon.Pipeline(name); ok {
			n[i] = p.Status().Messages
		}
	}
	return n
}

func (f *fleet) last() pipeline.Status {
	p, _ := f.daemon.Pipeline(f.names[len(f.names)-1])
	return p.Status()
}

func (f *fleet) await(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("waited for %s in vain: %v; %+v", what, f.delivered(), f.last())
		}
	}
}

// fillOrders writes a log of so many rows, without keeping them.
func fillOrders(t *testing.T, db *testserver.DB, rows int) {
	t.Helper()
	const block = 1 << 12
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT, email VARCHAR(100), note VARCHAR(200)) ENGINE=BLACKHOLE",
		"CREATE TABLE shop.seq (n INT PRIMARY KEY)", "INSERT INTO shop.seq VALUES (1)")
	for have := 1; have < block; have *= 2 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.seq SELECT n+%d FROM shop.seq", have))
	}
	statements := make([]string, rows/block)
	for i := range statements {
		statements[i] = "INSERT INTO shop.orders SELECT n, CONCAT(n, '@example.com'), REPEAT('y', 100) FROM shop.seq"
	}
	db.Exec(t, statements...)
}

// How often the sink is stopped and how long the others are then watched;
// CDCD_TEST_LARGE=1 is the long form, which holds rates against each other.
func fleetPhases() (rounds int, each time.Duration, rows int) {
	if os.Getenv("CDCD_TEST_LARGE") != "" {
		return 6, 20 * time.Second, 32 << 20
	}
	return 2, 0, 1 << 20
}

// One stopped sink among 20 pipelines of one daemon: its source stops, what it
// holds is bounded, and each of the others goes on. That is counted in what they
// deliver, not in time. The long form also asks for nine tenths of what they would
// deliver: which is what a second daemon like it does at the same time, so that
// whatever else the machine does concerns both.
func TestStoppedSinkAmongTwenty(t *testing.T) {
	_, each, rows := fleetPhases()
	db := testserver.MySQL(t)
	fillOrders(t, db, rows)
	watch := func(t *testing.T, start func(name string) *fleet) {
		if f := start("a"); each == 0 {
			f.goOn()
		} else {
			f.contest(start("b"))
		}
	}
	t.Run("its broker stands still", func(t *testing.T) {
		broker := testserver.NATS(t)
		watch(t, func(name string) *fleet {
			other := testserver.NATS(t)
			all := kinds
			all.Sinks = append([]sink.Kind{elsewhere(t, other)}, kinds.Sinks...)
			f := startFleet(t, name, db, broker, "elsewhere: {stream: LAST}", all)
			f.stop, f.resume, f.place = other.Pause, other.Resume, func() string { return f.last().LogPos }
			return f
		})
	})
	t.Run("its stream is full", func(t *testing.T) {
		broker := testserver.NATS(t)
		watch(t, func(name string) *fleet {
			f := startFleet(t, name, db, broker, "jetstream: {stream: LAST_"+name+"}", kinds)
			f.fill(broker, "LAST_"+name)
			return f
		})
	})
}

// fill has the last pipeline stopped by a limit of its stream.
func (f *fleet) fill(broker *testserver.NATSServer, stream string) {
	js, err := natsstream.New(broker.Conn(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	info := func() *natsstream.StreamInfo {
		s, err := js.Stream(f.t.Context(), stream)
		if err != nil {
			f.t.Fatal(err)
		}
		return s.CachedInfo()
	}
	room := func(full bool) {
		now := info()
		c := now.Config
		c.Metadata = nil // or cdcd, who made it, gives it the limits of the configuration back
		if c.MaxBytes = -1; full {
			c.MaxBytes = int64(now.State.Bytes)
		}
		if _, err := js.UpdateStream(f.t.Context(), c); err != nil {
			f.t.Fatal(err)
		}
	}
	f.stop = func() {
		room(true)
		f.await("the full stream to be noticed", func() bool { s := f.last(); return s.Fault != nil && s.Fault.Code == sink.CodeStreamFull })
	}
	f.resume = func() { room(false) }
	f.place = func() string { return fmt.Sprint(info().State.LastSeq) }
}

// goOn stops the last pipeline again and again.
func (f *fleet) goOn() {
	rounds, _, _ := fleetPhases()
	for range rounds {
		f.stopped(func() { f.advance(5000) })
	}
}

// advance waits until each of the others has delivered so many more.
func (f *fleet) advance(messages uint64) {
	f.t.Helper()
	before := f.delivered()
	f.await(fmt.Sprintf("%d messages of each beside the stopped one", messages), func() bool { return slices.Min(f.since(before)) >= messages })
}

// stopped stops the last pipeline for as long as meanwhile takes.
func (f *fleet) stopped(meanwhile func()) {
	f.t.Helper()
	f.stop()
	stood := ""
	f.await("the last to stand still", func() bool {
		stood = f.place()
		f.advance(500) // whatever was under way has arrived by then
		return f.place() == stood
	})
	meanwhile()
	held := f.last().BudgetBytes
	if now := f.place(); now != stood {
		f.t.Errorf("the stopped one went on from %s to %s", stood, now)
	}
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	f.t.Logf("the stopped one held %d KiB; heap %d MiB", held>>10, m.HeapAlloc>>20)
	if held > 16<<20+512<<10 {
		f.t.Errorf("the stopped one held %d bytes of 32 MiB", held)
	}
	f.resume()
	f.await("the last to go on", func() bool { return f.place() != stood })
}

// contest stops the last pipeline of either fleet in turns, and holds what the
// others of that fleet deliver against what those of the other fleet do meanwhile.
func (f *fleet) contest(other *fleet) {
	f.t.Helper()
	rounds, each, _ := fleetPhases()
	beside := func(f, other *fleet) (ratio float64) {
		f.stopped(func() {
			mine, theirs := f.delivered(), other.delivered()
			time.Sleep(each)
			mine, theirs = f.since(mine), other.since(theirs)
			ratio = float64(total(mine)) / float64(total(theirs))
			if least := slices.Min(mine); least*uint64(len(mine))*5 < total(mine) { // one is starved, whatever the others do
				f.t.Errorf("one of the others delivered %d of %d messages", least, total(mine))
			}
		})
		return ratio
	}
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = math.Sqrt(beside(f, other) * beside(other, f)) // what is uneven between the fleets is so both times
	}
	slices.Sort(ratios)
	f.t.Logf("of the others' rate there was left %.2f", ratios)
	if median := ratios[rounds/2]; median < 0.9 {
		f.t.Errorf("the others have %.2f of their rate", median)
	}
}

// since returns what all but the last have delivered since then.
func (f *fleet) since(then []uint64) []uint64 {
	now := f.delivered()
	for i := range now {
		now[i] -= then[i]
	}
	return now[:len(now)-1]
}

func total(list []uint64) (sum uint64) {
	for _, n := range list {
		sum += n
	}
	return sum
}
