package jetstream_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

func claiming() *jetstream.Config {
	cfg := config()
	cfg.TooLarge = "claim_check"
	return cfg
}

// wide is a group of one message of so many bytes.
func wide(tx string, size int) *sink.Group {
	body := bytes.Repeat([]byte("x"), size)
	return &sink.Group{Base: "p0", End: "p1", Bytes: size, Messages: []sink.Message{{Subject: "cdc.shop.shop.orders", Body: body,
		Place: sink.Place{Tx: tx, Parts: 1}, TxRows: 1, TxLast: true, SubjectLast: true}}}
}

func deliver(t *testing.T, s sink.Sink, g *sink.Group) {
	t.Helper()
	if err := s.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func claimOf(t *testing.T, s sink.Sink) sink.Anchor {
	t.Helper()
	a, err := s.Claim(t.Context(), sink.Hint{}, func(context.Context) (sdk.Position, error) { return "p0", nil })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bucket returns the object store and how many messages its stream has.
func bucket(t *testing.T, nc *nats.Conn) (natsjs.ObjectStore, *natsjs.StreamInfo) {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.ObjectStore(t.Context(), "SHOP_CLAIMS")
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "OBJ_SHOP_CLAIMS")
	if err != nil {
		t.Fatal(err)
	}
	return store, st.CachedInfo()
}

func lastOn(t *testing.T, nc *nats.Conn, subject string) *natsjs.RawStreamMsg {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), config().Stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A body that the server does not take lies in the object store before the
// message that refers to it, whole, once, and any client of NATS can read it.
func TestClaimCheck(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 64KB"))
	nc := connect(t, ns)
	s := open(t, nc, claiming())
	claimOf(t, s)
	deliver(t, s, wide("t:1", 1000))
	if _, info := bucket(t, nc); info.State.Msgs != 0 {
		t.Errorf("a small row left %d messages in the object store", info.State.Msgs)
	}
	const size = 300_000
	deliver(t, s, wide("t:2", size))
	m := lastOn(t, nc, "cdc.shop.shop.orders")
	b, name, ok := strings.Cut(m.Header.Get("Cdc-Claim"), "/")
	if !ok || b != "SHOP_CLAIMS" || m.Header.Get("Cdc-Claim-Bytes") != fmt.Sprint(size) || !bytes.HasPrefix(m.Data, []byte(`{"claim":{"bucket":"SHOP_CLAIMS",`)) {
		t.Fatalf("%v %.100s", m.Header, m.Data)
	}
	store, info := bucket(t, nc)
	body, err := store.GetBytes(t.Context(), name)
	if err != nil || len(body) != size || strings.Trim(string(body), "x") != "" {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	o, err := store.GetInfo(t.Context(), name)
	if err != nil || o.Digest != m.Header.Get("Cdc-Claim-Digest") || uint64(o.Chunks)+1 != info.State.Msgs {
		t.Errorf("%+v in %d messages, %v", o, info.State.Msgs, err)
	}
	if want := 7*24*time.Hour + 24*time.Hour; info.Config.MaxAge != want || info.Config.Discard != natsjs.DiscardNew {
		t.Errorf("the object store keeps objects for %v, %v", info.Config.MaxAge, info.Config.Discard)
	}
}

// The same row again, after a crash before its message was stored, is the same
// object: as it is while it is fresh, written anew when it is not.
func TestClaimAgain(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 64KB"))
	nc := connect(t, ns)
	messages := func(s sink.Sink) uint64 {
		claimOf(t, s)
		deliver(t, s, wide("t:2", 300_000))
		_, info := bucket(t, nc)
		return info.State.Msgs
	}
	first := messages(open(t, nc, claiming()))
	last := lastOn(t, nc, "cdc.shop.shop.orders").Header.Get("Cdc-Claim")
	_, before := bucket(t, nc)
	if again := messages(open(t, nc, claiming())); again != first {
		t.Errorf("%d messages in the object store, and %d the second time", first, again)
	}
	if _, after := bucket(t, nc); after.State.LastSeq != before.State.LastSeq {
		t.Error("a fresh object was written again")
	}
	late, err := jetstream.Open(*claiming(), sink.Env{Pipeline: "shop", Now: func() time.Time { return time.Now().Add(2 * time.Hour) },
		NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close(t.Context())
	if again := messages(late); again != first {
		t.Errorf("%d messages in the object store, and %d hours later", first, again)
	}
	if _, after := bucket(t, nc); after.State.LastSeq == before.State.LastSeq {
		t.Error("an object that expires before its message was used again")
	}
	if name := lastOn(t, nc, "cdc.shop.shop.orders").Header.Get("Cdc-Claim"); name != last {
		t.Errorf("%s has become %s", last, name)
	}
}

func TestClaimFaults(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 64KB"))
	nc := connect(t, ns)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateObjectStore(t.Context(), natsjs.ObjectStoreConfig{Bucket: "SHOP_CLAIMS"}); err != nil {
		t.Fatal(err)
	}
	s := open(t, nc, claiming())
	_, err = s.Claim(t.Context(), sink.Hint{}, func(context.Context) (sdk.Position, error) { return "p0", nil })
	wantFault(t, err, stream.CodeStreamConfig, fault.Environment)
	if err := js.DeleteObjectStore(t.Context(), "SHOP_CLAIMS"); err != nil {
		t.Fatal(err)
	}
	cfg := claiming()
	cfg.Claims.MaxBytes = 1 << 20
	s = open(t, nc, cfg)
	claimOf(t, s)
	err = s.Publish(t.Context(), wide("t:1", 2<<20))
	wantFault(t, err, sink.CodeStreamFull, fault.Retryable)
	cfg.Claims.MaxBytes = 16 << 20 // there is room now, and nothing of the row was published
	s = open(t, nc, cfg)
	if a := claimOf(t, s); a.Messages != 0 {
		t.Errorf("%+v", a)
	}
	deliver(t, s, wide("t:1", 2<<20))
	ns.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	wantFault(t, s.Publish(ctx, wide("t:2", 1<<20)), sink.CodeSinkUnreachable, fault.Retryable)
}

// Large and small messages in one stream keep their order and their chain, in
// both kinds of runs, wherever the writer dies.
func TestClaimSuite(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 64KB"))
	nc := connect(t, ns)
	for _, atomic := range []bool{false, true} {
		cfg := claiming()
		cfg.Atomic = atomic
		cfg.Stream = fmt.Sprintf("SHOP%v", atomic)
		f := &sinktest.Feed{Subject: "cdc.shop.shop.orders", Control: "cdc.shop._cdcd", BodyBytes: 66_000}
		if atomic {
			js, err := natsjs.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteStream(t.Context(), "SHOPfalse"); err != nil {
				t.Fatal(err)
			}
		}
		r := &sinktest.Run{Feed: f}
		for i := range 4 {
			r = &sinktest.Run{Feed: f, Hint: r.Hint, Seed: uint64(i), Groups: 4}
			s := open(t, nc, cfg)
			if err := r.Do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		js, err := natsjs.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		store, err := js.ObjectStore(t.Context(), cfg.Stream+"_CLAIMS")
		if err != nil {
			t.Fatal(err)
		}
		objects, err := store.List(t.Context())
		if err != nil || uint64(len(objects)) != r.Hint.Messages {
			t.Errorf("%d objects of %d rows, %v", len(objects), r.Hint.Messages, err)
		}
	}
}

func TestClaimConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*jetstream.Config)
		path   string
	}{
		"claims":              {func(c *jetstream.Config) { c.TooLarge, c.Claims.MaxBytes = "claim_check", 1 }, ""},
		"dead letters":        {func(c *jetstream.Config) { c.TooLarge = "dead_letter" }, ""},
		"unknown":             {func(c *jetstream.Config) { c.TooLarge = "drop" }, "on_too_large"},
		"no claims, a limit":  {func(c *jetstream.Config) { c.Claims.MaxBytes = 1 }, "claims"},
		"no name of a bucket": {func(c *jetstream.Config) { c.TooLarge, c.Stream = "claim_check", "Läden" }, "stream"},
	} {
		cfg := config()
		tt.change(cfg)
		faults := cfg.Validate()
		if tt.path == "" && len(faults) > 0 || tt.path != "" && (len(faults) != 1 || faults[0].Path != tt.path || faults[0].Hint == "") {
			t.Errorf("%s: %v, want one at %q", name, faults, tt.path)
		}
	}
	if b := config().ClaimsBucket(); b != "" {
		t.Errorf("by default large bodies go to %q", b)
	}
}
