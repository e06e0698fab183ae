package kv_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/natsd/natsdtest"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/kv"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

const (
	bucket   = "shop"
	prefix   = "$KV.shop."
	pipeline = "orders"
	control  = "cdc._kv.orders._cdcd"
)

func config() *kv.Config {
	cfg := kv.Kind().NewConfig().(*kv.Config)
	cfg.Bucket = bucket
	return cfg
}

// connect gives a connection to the server as the daemon would have it.
func connect(t testing.TB, ns *testserver.NATSServer) *nats.Conn {
	t.Helper()
	return natsdtest.Connect(t, natsd.Config{URL: ns.URL()})
}

func env(nc *nats.Conn) sink.Env {
	return sink.Env{Pipeline: pipeline, Fingerprint: "f1", Now: time.Now, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }}
}

func open(t testing.TB, nc *nats.Conn, cfg *kv.Config) *kv.Sink {
	t.Helper()
	s, err := kv.Open(*cfg, env(nc))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// keyed gives each message of a feed the key that its place makes, so that none
// takes the place of another and all can be compared.
type keyed struct{ sink.Sink }

func (k keyed) Publish(ctx context.Context, g *sink.Group) error {
	for i := range g.Messages {
		if m := &g.Messages[i]; m.Kind == sink.KindData {
			m.Subject = prefix + "shop.feed." + strings.NewReplacer("#", ".", "/", ".").Replace(m.Place.String())
		}
	}
	return k.Sink.Publish(ctx, g)
}

type place struct {
	nc  *nats.Conn
	cfg *kv.Config
}

func (p place) Open(t *testing.T) sink.Sink { return keyed{open(t, p.nc, p.cfg)} }

func (p place) Bodies(t *testing.T) (bodies []string) {
	var all []jetstream.KeyValueEntry
	for _, e := range entries(t, p.nc) {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b jetstream.KeyValueEntry) int { return cmp.Compare(a.Revision(), b.Revision()) })
	for _, e := range all {
		bodies = append(bodies, string(e.Value()))
	}
	return bodies
}

// entries returns what the bucket has, as its readers see it.
func entries(t testing.TB, nc *nats.Conn) map[string]jetstream.KeyValueEntry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := view(t, nc).WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	all := map[string]jetstream.KeyValueEntry{}
	for e := range w.Updates() {
		if e == nil {
			return all
		}
		all[e.Key()] = e
	}
	t.Fatal(ctx.Err())
	return nil
}

func view(t testing.TB, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	b, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSuite(t *testing.T) {
	for name, change := range map[string]func(*kv.Config){
		"plain": func(*kv.Config) {}, "atomic": func(c *kv.Config) { c.Atomic = true }, "history": func(c *kv.Config) { c.History = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			change(cfg)
			feed := &sinktest.Feed{Subject: "-", Control: control, BodyBytes: 64}
			sinktest.Suite(t, feed, func(t *testing.T) sinktest.Place { return place{connect(t, testserver.NATS(t)), cfg} })
		})
	}
}
