package kv_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/kv"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

func start(context.Context) (sdk.Position, error) { return "p0", nil }

// deliver publishes one group and waits for it.
func deliver(t *testing.T, s *kv.Sink, messages ...sink.Message) sink.Confirmed {
	t.Helper()
	if err := s.Publish(t.Context(), &sink.Group{Base: "p0", End: "p1", Messages: messages}); err != nil {
		t.Fatal(err)
	}
	confirmed, err := s.Wait(t.Context())
	if err != nil || len(confirmed) != 1 {
		t.Fatal(confirmed, err)
	}
	return confirmed[0]
}

// Whoever reads keys meets rows only; records of definitions stay all the same,
// and the pipeline gets them back.
func TestControlMessagesAreNoKeys(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, start); err != nil {
		t.Fatal(err)
	}
	other := func(kind sink.MessageKind, body string) sink.Message {
		return sink.Message{Kind: kind, Subject: control, Body: []byte(body)}
	}
	deliver(t, s, other(sink.KindHistory, "one"), other(sink.KindHistory, "two"), other(sink.KindSchema, "a"), other(sink.KindSchema, "b"),
		put("t1", 0, "shop.orders.1", "x"), other(sink.KindHeartbeat, "h"), put("t1", 1, "shop.orders.2", "x"), put("t1", 2, "shop.orders.1", ""))
	keys, err := view(t, nc).Keys(t.Context())
	if err != nil || !slices.Equal(keys, []string{"shop.orders.2"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	if _, err := view(t, nc).Get(t.Context(), "shop.orders.1"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("a key whose row is gone: %v", err)
	}
	var records []string
	if err := s.History(t.Context(), "", func(body []byte) error { records = append(records, string(body)); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, records); diff != "" {
		t.Errorf("records:\n%s", diff)
	}
}

// The last message says where to resume, whatever became of those before it,
// and without the local state.
func TestAnchorIsOneMessage(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	for range 3 {
		s := open(t, nc, config())
		if _, err := s.Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Fatal(err)
		}
		for range 3000 / 50 { // one row, changed more often than a stream's messages carry a base
			var same []sink.Message
			for i := range uint64(50) {
				same = append(same, put("t7", i, "shop.orders.1", "x"))
			}
			deliver(t, s, same...)
		}
		a, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, nil)
		if err != nil || a.Base != "p0" || a.At.String() != "t7#49.0/1#49" || a.Fingerprint != "f1" {
			t.Fatalf("anchor %+v, %v", a, err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := js.Stream(t.Context(), "KV_"+bucket); err != nil || st.CachedInfo().State.Msgs > 3 {
			t.Fatalf("%+v, %v: want the row and control messages", st.CachedInfo().State, err)
		}
	}
}

// A second writer takes over, and the first is told.
func TestFenced(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, start); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, put("t1", 0, "shop.orders.1", "x"))
	if _, err := open(t, connect(t, ns), config()).Claim(t.Context(), sink.Hint{}, start); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), &sink.Group{Base: "p1", End: "p2", Messages: []sink.Message{put("t2", 0, "shop.orders.1", "y")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context()); !sink.IsFenced(err) {
		t.Errorf("%v, want fenced", err)
	}
	if e, err := view(t, nc).Get(t.Context(), "shop.orders.1"); err != nil || string(e.Value()) != "x" {
		t.Errorf("the fenced writer's value came through: %v, %v", e, err)
	}
}

// What somebody else did to the bucket is noticed.
func TestStrangers(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(t *testing.T, js jetstream.JetStream, b jetstream.KeyValue)
		code string
	}{
		"a put": {func(t *testing.T, _ jetstream.JetStream, b jetstream.KeyValue) {
			if _, err := b.Put(t.Context(), "shop.orders.1", []byte("mine")); err != nil {
				t.Fatal(err)
			}
		}, sink.CodeForeignMessage},
		"a purge": {func(t *testing.T, js jetstream.JetStream, _ jetstream.KeyValue) {
			st, err := js.Stream(t.Context(), "KV_"+bucket)
			if err == nil {
				err = st.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}, sink.CodeAnchorGone},
	} {
		t.Run(name, func(t *testing.T) {
			nc := connect(t, testserver.NATS(t))
			s := open(t, nc, config())
			if _, err := s.Claim(t.Context(), sink.Hint{}, start); err != nil {
				t.Fatal(err)
			}
			last := put("t1", 0, "shop.orders.1", "x")
			last.TxLast = true
			done := deliver(t, s, last)
			if _, err := s.Audit(t.Context()); err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			tt.do(t, js, view(t, nc))
			if h, err := s.Audit(t.Context()); err != nil || (tt.code == sink.CodeAnchorGone) != (len(h.Alarms) == 1 && h.Alarms[0].Code == sink.CodeStreamPurged) {
				t.Errorf("audit: %+v, %v", h, err)
			}
			hint := sink.Hint{Token: done.Token, Position: "p1", Exact: true, Messages: 1}
			if tt.code == sink.CodeAnchorGone {
				if _, err = open(t, nc, config()).Claim(t.Context(), hint, nil); !fault.HasCode(err, tt.code) {
					t.Errorf("a new claim: %v, want %s although the checkpoint names the message", err, tt.code)
				}
				return
			}
			if err := s.Publish(t.Context(), &sink.Group{Base: "p1", End: "p2", Messages: []sink.Message{put("t2", 0, "shop.orders.2", "y")}}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Wait(t.Context()); !fault.HasCode(err, tt.code) {
				t.Errorf("the writer says %v, want %s", err, tt.code)
			}
		})
	}
}

func TestUnsafeBucketsAreRefused(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	// As `nats kv add shop` makes it.
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	claim := func() error {
		_, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, start)
		return err
	}
	err = claim()
	if !fault.HasCode(err, stream.CodeStreamConfig) {
		t.Fatalf("%v, want %s", err, stream.CodeStreamConfig)
	}
	for _, way := range []string{"nats stream edit KV_shop --subjects '$KV.shop.>,cdc._kv.orders.>'", "nats stream edit KV_shop --allow-batched"} {
		if !strings.Contains(err.Error()+hints(err), way) {
			t.Errorf("%v: does not say %s", err, way)
		}
	}
	results := kv.Kind().Examine(t.Context(), config(), env(nc))
	if checkup.Worst(results) != checkup.Failed {
		t.Errorf("doctor finds nothing: %+v", results)
	}
	// What the hints say is enough.
	st, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects, cfg.AllowBatchPublish = []string{"$KV.shop.>", "cdc._kv.orders.>"}, true
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := claim(); err != nil {
		t.Error(err)
	}
	// And a stream that keeps every message is no bucket.
	if err := js.DeleteStream(t.Context(), "KV_"+bucket); err != nil {
		t.Fatal(err)
	}
	cfg.MaxMsgsPerSubject = -1
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := claim(); !fault.HasCode(err, stream.CodeStreamConfig) {
		t.Errorf("%v, want %s", err, stream.CodeStreamConfig)
	}
}

func hints(err error) (all string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fault.Of(err).Hint
	}
	for _, e := range joined.Unwrap() {
		all += fault.Of(e).Hint + "\n"
	}
	return all
}

// The bucket follows the configuration, and values that expire do so.
func TestOptions(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	cfg := config()
	for range 2 {
		if _, err := open(t, nc, cfg).Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Fatal(err)
		}
		status, err := view(t, nc).Status(t.Context())
		if err != nil || status.History() != cfg.History || status.TTL() != cfg.TTL.Std() {
			t.Errorf("%+v, %v; configured %+v", status, err, cfg)
		}
		cfg.History, cfg.TTL, cfg.MaxBytes = 7, unit.Duration(time.Hour), 1<<30
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*kv.Config){
		"bucket": func(c *kv.Config) { c.Bucket = "a.b" }, "history": func(c *kv.Config) { c.History = 65 },
		"format": func(c *kv.Config) { c.Format.Kind = "cloudevents" }, "ttl": func(c *kv.Config) { c.TTL = unit.Duration(time.Second) },
		"replicas": func(c *kv.Config) { c.Replicas = 2 }, "on_too_large": func(c *kv.Config) { c.TooLarge = "claim_check" }, "dead_letters": func(c *kv.Config) { c.DeadLetters.MaxBytes = 1 },
	} {
		cfg := config()
		if faults := cfg.Validate(); len(faults) > 0 {
			t.Fatal(faults)
		}
		change(cfg)
		if faults := cfg.Validate(); len(faults) != 1 || faults[0].Path != name || faults[0].Hint == "" || faults[0].Code != "sink_kv" {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
