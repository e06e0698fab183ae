package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

func TestExamine(t *testing.T) {
	nc := testserver.NATS(t).Conn(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Kind().NewConfig().(*Config)
	cfg.Stream = "SHOP"
	now := time.Now
	look := func() map[string]string {
		levels := map[string]string{}
		for _, r := range Kind().Examine(t.Context(), cfg, sink.Env{Pipeline: "shop", Now: func() time.Time { return now() },
			NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }}) {
			levels[r.Check] = r.Level.String()
			if r.Level != checkup.OK && (r.Found == "" || r.Why == "" || len(r.Fix) == 0) {
				t.Errorf("says too little: %+v", r)
			}
		}
		return levels
	}
	if diff := cmp.Diff(map[string]string{"stream": "ok"}, look()); diff != "" {
		t.Errorf("no stream yet:\n%s", diff)
	}
	if _, err := js.Stream(t.Context(), "SHOP"); err == nil {
		t.Error("looking made the stream")
	}

	tpl, err := subject.Parse(cfg.Subject)
	if err != nil {
		t.Fatal(err)
	}
	good := cfg.wanted(tpl, "shop")
	bad := good
	bad.DenyDelete, bad.DenyPurge, bad.Discard, bad.MaxBytes = false, false, jetstream.DiscardOld, 1<<20
	if _, err := js.CreateStream(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "cdc.shop.shop.orders", make([]byte, 512<<10)); err != nil {
		t.Fatal(err)
	}
	now = func() time.Time { return time.Now().Add(time.Hour) }
	want := map[string]string{"stream": "failed", "stream_protection": "warning", "stream_replicas": "ok", "stream_room": "warning"}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("a stream with bad settings:\n%s", diff)
	}
	if err := js.DeleteStream(t.Context(), "SHOP"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"stream": "ok", "stream_protection": "ok", "stream_replicas": "ok"}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("a stream as cdcd makes it:\n%s", diff)
	}
}
