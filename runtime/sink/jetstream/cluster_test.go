package jetstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// patient fails the test when the sink gives up rather than waits. An election
// that outlasts the patience of one Wait is waited for in the next, with the same
// window.
type patient struct {
	sink.Sink
	t       *testing.T
	last    time.Time
	longest time.Duration // between confirmations
}

func (p *patient) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	done, err := p.Sink.Wait(ctx)
	for fault.HasCode(err, sink.CodeSinkUnreachable) && ctx.Err() == nil && time.Since(p.last) < time.Minute {
		done, err = p.Sink.Wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		p.t.Errorf("the sink did not ride it out: %v", err)
	}
	if !p.last.IsZero() {
		p.longest = max(p.longest, time.Since(p.last))
	}
	p.last = time.Now()
	return done, err
}

// The server that leads the stream is killed under load, again and again: the
// sink waits for the next leader, and nobody has to do anything.
func TestLeaderKilledUnderLoad(t *testing.T) {
	servers := testserver.NATSCluster(t, 3)
	nc, watch := connectAll(t, servers), connectAll(t, servers)
	cfg := config()
	cfg.Replicas = 3
	f := feed()
	r := &sinktest.Run{Feed: f}
	s := &patient{Sink: open(t, nc, cfg), t: t}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := begin(ctx, r, s)
	kills := 3
	if testing.Short() {
		kills = 1
	}
	for range kills {
		select {
		case <-time.After(500 * time.Millisecond):
		case err := <-done:
			t.Fatalf("the sink gave up: %v", err)
		}
		i := leader(t, watch, servers)
		before := lastSeq(t, watch)
		servers[i].Kill()
		for deadline := time.Now().Add(2 * time.Minute); lastSeq(t, watch) < before+200; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("delivery does not go on")
			}
		}
		servers[i].Restart(t)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	watch = servers[leader(t, watch, servers)].Conn(t) // the others may still be catching up
	bodies := delivered(t, watch, f)
	if len(bodies) < r.Confirmed || r.Confirmed < kills*200 {
		t.Fatalf("%d stored, %d confirmed", len(bodies), r.Confirmed)
	}
	t.Logf("%d leaders killed, %d messages: none lost, doubled or out of order; the longest silence was %v", kills, len(bodies), s.longest)
}

// lastSeq returns the stream's last sequence; 0 while nobody tells.
func lastSeq(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := j.Stream(ctx, streamName)
	if err != nil {
		return 0
	}
	return st.CachedInfo().State.LastSeq
}
