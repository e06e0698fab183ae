package jetstream_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

// watchBoundaries reads the stream's end over and over until the test ends, and
// fails it when that is inside a transaction. It has a connection of its own,
// which comes back when the server does. It reads as the server isolates reads:
// a consumer may be given a batch's first message while the last is being stored.
func watchBoundaries(t *testing.T, ns *testserver.NATSServer) {
	t.Helper()
	nc := ns.Conn(t, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	looks, inside := 0, ""
	wg.Go(func() {
		for ctx.Err() == nil {
			if m := lastMessage(nc); m != nil {
				if looks++; m.Get("Cdc-Tx-Last") == "" && m.Get("Cdc-Pos") != "-" {
					inside = m.Get("Cdc-Pos")
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if inside != "" || looks < 20 {
			t.Errorf("in %d looks a reader saw part of a transaction: %q", looks, inside)
		}
		t.Logf("%d looks at the stream's end", looks)
	})
}

// lastMessage returns the headers of the stream's last message; nil when there
// is no answer.
func lastMessage(nc *nats.Conn) nats.Header {
	m, err := nc.Request("$JS.API.STREAM.MSG.GET."+streamName, []byte(`{"last_by_subj":">"}`), time.Second)
	if err != nil {
		time.Sleep(10 * time.Millisecond) // the server is down
		return nil
	}
	var answer struct {
		Message struct {
			Headers []byte `json:"hdrs"`
		} `json:"message"`
	}
	if json.Unmarshal(m.Data, &answer) != nil || len(answer.Message.Headers) == 0 {
		return nil
	}
	h, err := nats.DecodeHeadersMsg(answer.Message.Headers)
	if err != nil {
		return nil
	}
	return h
}

// A transaction that is larger than a batch comes in pieces; each of them, and
// smaller ones around it, is complete.
func TestLargerThanABatch(t *testing.T) {
	ns := testserver.NATS(t, testserver.JetStreamConfig("limits: { batch: { max_msgs: 10 } }"))
	nc := connect(t, ns)
	m := mode{atomic: true}
	s := m.open(t, nc, config())
	a, err := s.Claim(t.Context(), sink.Hint{}, initial(feed()))
	if err != nil || a.Found {
		t.Fatal(a, err)
	}
	row := func(tx string, n int, last bool) sink.Message {
		return sink.Message{Subject: "cdc.shop.shop.orders", Body: []byte(tx), TxLast: last,
			Place: sink.Place{Tx: tx, Row: uint64(n), Parts: 1, N: uint64(n)}}
	}
	g := &sink.Group{Base: "p0", End: "p1"}
	for i := range 4 {
		g.Messages = append(g.Messages, row("small", i, i == 3))
	}
	for i := range 33 {
		g.Messages = append(g.Messages, row("large", i, i == 32))
	}
	for i := range 8 {
		g.Messages = append(g.Messages, row("medium", i, i == 7))
	}
	if err := s.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	done, err := s.Wait(t.Context())
	if err != nil || len(done) != 1 || done[0].Group != g {
		t.Fatal(done, err)
	}
	_, st := manage(t, nc)
	var batches, sizes []string
	for seq := uint64(2); seq <= 46; seq++ {
		msg, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if id := msg.Header.Get("Nats-Batch-Id"); len(batches) == 0 || batches[len(batches)-1] != id {
			batches = append(batches, id)
			sizes = append(sizes, string(msg.Data))
		}
	}
	if got := strings.Join(sizes, " "); got != "small large large large large medium" {
		t.Errorf("batches began with %s", got)
	}
}

// A stream that takes no atomic batches is refused, with the command that mends
// it, unless cdcd made it: then it is changed.
func TestAtomicNeedsTheStreamsConsent(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc.shop.>"}, Discard: jetstream.DiscardNew, AllowBatchPublish: true}
	for _, m := range modes[1:] {
		if _, err := j.CreateOrUpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		_, err = m.open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed()))
		wantFault(t, err, stream.CodeStreamConfig, fault.Environment)
		if err == nil || !strings.Contains(fault.Of(err).Hint, "nats stream edit SHOP --allow-batch") {
			t.Errorf("the hint is not the command: %v", fault.Of(err).Hint)
		}
	}
	cfg.Metadata = map[string]string{"cdcd.pipeline": pipeline}
	if _, err := j.CreateOrUpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	r := &sinktest.Run{Feed: feed(), Groups: 20}
	if err := r.Do(t.Context(), modes[2].open(t, nc, config())); err != nil {
		t.Fatal(err)
	}
	if _, st := manage(t, nc); !st.CachedInfo().Config.AllowAtomicPublish {
		t.Error("the stream was not changed")
	}
}
