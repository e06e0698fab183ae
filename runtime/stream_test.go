package runtime_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// readStream starts the embedded server that a daemon left behind and returns
// the data messages of the stream SHOP, in order.
func readStream(t *testing.T, stateDir string) []*nats.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := natsd.Start(ctx, natsd.Config{Dir: stateDir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	nc, err := n.Connect(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	return readFrom(ctx, t, nc)
}

func readFrom(ctx context.Context, t *testing.T, nc *nats.Conn) []*nats.Msg {
	t.Helper()
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(ctx, "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.OrderedConsumer(ctx, js.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var out []*nats.Msg
	for n := uint64(0); n < info.State.Msgs; {
		batch, err := c.FetchNoWait(5000)
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			n++
			if m.Headers().Get("Cdc-Kind") == "" {
				out = append(out, &nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
			}
		}
		if batch.Error() != nil {
			t.Fatal(batch.Error())
		}
	}
	return out
}

// lastSeq returns how far the stream SHOP reaches.
func lastSeq(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}
