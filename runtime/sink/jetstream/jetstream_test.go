package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/natsd/natsdtest"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	streamName = "SHOP"
	pipeline   = "shop"
)

func feed() *sinktest.Feed {
	return &sinktest.Feed{Subject: "cdc.shop.shop.orders", Control: "cdc.shop._cdcd", BodyBytes: 64}
}

func config() *js.Config {
	cfg := js.Kind().NewConfig().(*js.Config)
	cfg.Stream = streamName
	return cfg
}

// connect gives a connection to the server as the daemon would have it.
func connect(t testing.TB, ns *testserver.NATSServer) *nats.Conn {
	t.Helper()
	return connectURL(t, ns.URL())
}

func connectURL(t testing.TB, url string) *nats.Conn {
	t.Helper()
	return natsdtest.Connect(t, natsd.Config{URL: url})
}

// connectInside starts an embedded server, and connects to it.
func connectInside(t testing.TB, m mode) *nats.Conn {
	t.Helper()
	return natsdtest.Connect(t, natsd.Config{Dir: t.TempDir(), Fsync: m.fsync})
}

// mode is a way in which messages are published.
type mode struct {
	name          string
	fsync, atomic bool
}

var modes = []mode{{name: "plain"}, {name: "fsync", fsync: true}, {name: "atomic", atomic: true}, {name: "fsync and atomic", fsync: true, atomic: true}}

// server starts a NATS server as the mode has it.
func (m mode) server(t testing.TB, opts ...testserver.NATSOption) *testserver.NATSServer {
	t.Helper()
	if m.fsync {
		opts = append(opts, testserver.JetStreamConfig("sync_interval: always"))
	}
	return testserver.NATS(t, opts...)
}

// open opens a sink of the mode.
func (m mode) open(t testing.TB, nc *nats.Conn, cfg *js.Config) *stream.Sink {
	t.Helper()
	cfg.Atomic = m.atomic
	s, err := js.Open(*cfg, sink.Env{Pipeline: pipeline, Fingerprint: "f1", SyncAlways: m.fsync,
		NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func open(t testing.TB, nc *nats.Conn, cfg *js.Config) *stream.Sink {
	t.Helper()
	return mode{}.open(t, nc, cfg)
}

func initial(f *sinktest.Feed) func(context.Context) (sdk.Position, error) {
	return func(context.Context) (sdk.Position, error) { return f.Initial(), nil }
}

// stored reads all data bodies of the stream, and checks that Cdc-Seq is dense. A
// broker that was killed a moment ago is asked until it answers.
func stored(t testing.TB, nc *nats.Conn) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		bodies, err := readStored(ctx, t, nc)
		if err == nil {
			return bodies
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// delivered returns all data bodies of the stream, which are those of a feed.
func delivered(t testing.TB, nc *nats.Conn, f *sinktest.Feed) []string {
	t.Helper()
	bodies := stored(t, nc)
	if err := f.Check(bodies); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// begin lets r publish beside the test, until it is through or ctx ends.
func begin(ctx context.Context, r *sinktest.Run, s sink.Sink) (done <-chan error) {
	ended := make(chan error, 1)
	go func() { ended <- r.Do(ctx, s) }()
	return ended
}

func readStored(ctx context.Context, t testing.TB, nc *nats.Conn) (bodies []string, err error) {
	t.Helper()
	j, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ask, cancel := context.WithTimeout(ctx, 5*time.Second) // a broker that is just elected does not answer each question
	defer cancel()
	st, err := j.Stream(ask, streamName)
	if err != nil {
		return nil, err
	}
	c, err := st.OrderedConsumer(ask, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	for n := uint64(0); n < st.CachedInfo().State.Msgs; {
		batch, err := c.FetchNoWait(5000)
		if err != nil {
			return nil, err
		}
		for m := range batch.Messages() {
			n++
			if m.Headers().Get("Cdc-Epoch") == "" {
				continue // a test wrote it
			}
			if m.Headers().Get("Cdc-Kind") == "" {
				bodies = append(bodies, string(m.Data()))
			}
			if got := m.Headers().Get("Cdc-Seq"); got != fmt.Sprint(len(bodies)) {
				t.Fatalf("message %d has Cdc-Seq %s behind %d data messages: %v", n, got, len(bodies), m.Headers())
			}
		}
		if batch.Error() != nil {
			return nil, batch.Error()
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d messages: %w", n, st.CachedInfo().State.Msgs, ctx.Err())
		}
	}
	return bodies, nil
}

func TestPublishesAndConfirms(t *testing.T) {
	ns := testserver.NATS(t)
	defer testserver.NoLeaks(t, goleak.IgnoreCurrent())
	t.Run("run", func(t *testing.T) {
		nc := connect(t, ns)
		f := feed()
		s := open(t, nc, config())
		a, err := s.Claim(t.Context(), sink.Hint{}, initial(f))
		if err != nil || a.Found || a.Base != "p0" {
			t.Fatalf("claim: %+v, %v", a, err)
		}
		c, err := f.From(a)
		if err != nil {
			t.Fatal(err)
		}
		const groups = 400
		published := make(chan error, 1)
		go func() {
			for i := range groups {
				g := c.Empty
				if i%11 != 0 {
					g = func() *sink.Group { return c.Next(1+i%20, i%7 == 0) }
				}
				if err := s.Publish(t.Context(), g()); err != nil {
					published <- err
					return
				}
			}
			published <- nil
		}()
		var last sink.Confirmed
		for n := uint64(0); n < groups; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			confirmed, err := s.Wait(ctx)
			cancel()
			if err != nil {
				t.Fatal(errors.Join(err, <-published))
			}
			for _, c := range confirmed {
				if c.Group.Number != n {
					t.Fatalf("group %d confirmed, want %d", c.Group.Number, n)
				}
				n++
				last = c
			}
		}
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		if err := f.Check(stored(t, nc)); err != nil {
			t.Fatal(err)
		}
		again, err := open(t, nc, config()).Claim(t.Context(),
			sink.Hint{Token: last.Token, Position: last.Group.End, Exact: true}, initial(f))
		if err != nil || !again.Found || again.Base != last.Group.End || again.At.Tx != "" || again.Fingerprint != "f1" || again.Epoch <= a.Epoch {
			t.Fatalf("claim with an exact hint: %+v, %v; last %+v", again, err, last)
		}
	})
}

// place is a stream that outlives the sinks on it.
type place struct {
	nc *nats.Conn
	m  mode
}

func (p place) Open(t *testing.T) sink.Sink  { return p.m.open(t, p.nc, config()) }
func (p place) Bodies(t *testing.T) []string { return stored(t, p.nc) }

// hosted is a place in a server of this process.
type hosted struct{ place }

func (hosted) Hosted() {}

func TestSuite(t *testing.T) {
	for _, m := range modes[:3] {
		t.Run(m.name, func(t *testing.T) {
			sinktest.Suite(t, feed(), func(t *testing.T) sinktest.Place { return place{connect(t, m.server(t)), m} })
		})
		if m.atomic { // as fsync, but for where runs end
			continue
		}
		t.Run(m.name+", embedded", func(t *testing.T) {
			defer testserver.NoLeaks(t, goleak.IgnoreCurrent()) // the servers have ended with their tests
			sinktest.Suite(t, feed(), func(t *testing.T) sinktest.Place { return hosted{place{connectInside(t, m), m}} })
		})
	}
}
