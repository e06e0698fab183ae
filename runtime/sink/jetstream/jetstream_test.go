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
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
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
	n, err := natsd.Start(t.Context(), natsd.Config{URL: ns.URL()})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	// The first request starts a goroutine that is the connection's, not the sink's.
	if _, err := nc.Request("$JS.API.INFO", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return nc
}

func open(t testing.TB, nc *nats.Conn, cfg *js.Config) *js.Sink {
	t.Helper()
	s, err := js.Open(*cfg, sink.Env{Pipeline: pipeline, Fingerprint: "f1",
		NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func initial(f *sinktest.Feed) func(context.Context) (sdk.Position, error) {
	return func(context.Context) (sdk.Position, error) { return f.Initial(), nil }
}

// stored reads all data bodies of the stream, and checks that Cdc-Seq is dense.
func stored(t testing.TB, nc *nats.Conn) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := j.Stream(ctx, streamName)
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for n := uint64(0); n < info.State.Msgs; {
		batch, err := c.FetchNoWait(5000)
		if err != nil {
			t.Fatal(err)
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
			t.Fatal(batch.Error())
		}
	}
	return bodies
}

func TestPublishesAndConfirms(t *testing.T) {
	ns := testserver.NATS(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
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
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
type place struct{ nc *nats.Conn }

func (p place) Open(t *testing.T) sink.Sink  { return open(t, p.nc, config()) }
func (p place) Bodies(t *testing.T) []string { return stored(t, p.nc) }

func TestSuite(t *testing.T) {
	sinktest.Suite(t, feed(), func(t *testing.T) sinktest.Place { return place{connect(t, testserver.NATS(t))} })
}
