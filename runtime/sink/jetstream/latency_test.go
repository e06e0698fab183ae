package jetstream_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

// far gives a claimed sink that is so far from its server, one way, and its connection.
func far(t testing.TB, m mode, latency time.Duration) (*stream.Sink, *nats.Conn) {
	t.Helper()
	ns := m.server(t)
	proxy := testserver.NewProxy(t, ns.Addr())
	proxy.Distance(latency)
	n, err := natsd.Start(t.Context(), natsd.Config{URL: "nats://" + proxy.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(context.Background()) })
	nc, err := n.Connect(t.Context(), "far")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.Atomic = m.atomic
	s, err := js.Open(*cfg, sink.Env{Pipeline: pipeline, SyncAlways: m.fsync, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	return s, nc
}

// rate publishes for some time and returns messages a second.
func rate(t testing.TB, s *stream.Sink, duration time.Duration) float64 {
	t.Helper()
	const size = 128
	g := benchGroup(size)
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	go func() {
		for {
			one := *g
			if s.Publish(ctx, &one) != nil {
				return
			}
		}
	}()
	n, start := 0, time.Now()
	for {
		c, err := s.Wait(ctx)
		if ctx.Err() != nil {
			return float64(n) / time.Since(start).Seconds()
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(c) * size
	}
}

// quiet publishes one message at a time and returns the median and the 99th
// percentile of the time until it is confirmed, and the median of a bare question
// and its answer, which take turns with them.
func quiet(t testing.TB, s *stream.Sink, nc *nats.Conn, messages int) (p50, p99, bare time.Duration) {
	t.Helper()
	g := benchGroup(1)
	var took, asked []time.Duration
	for range messages {
		rtt, err := nc.RTT()
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, rtt)
		one := *g
		begin := time.Now()
		if err := s.Publish(t.Context(), &one); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	slices.Sort(asked)
	return took[len(took)/2], took[len(took)*99/100], asked[len(asked)/2]
}

// A long way to the broker costs latency, and hardly any throughput. What is
// demanded is a share of what this machine does with a short way at the time.
func TestFarFromTheBroker(t *testing.T) {
	var nearBy *stream.Sink
	near, share := 0.0, 3.0
	if raceDetector() { // which makes the sender the bottleneck near by, and the answers' handler far away
		share = 10
	}
	for _, latency := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		for _, m := range modes[:2] {
			s, nc := far(t, m, latency)
			if nearBy == nil {
				nearBy = s
			}
			for try := 1; ; try++ {
				if try > 1 { // the machine may have more to do by now
					near = rate(t, nearBy, 2*time.Second)
				}
				got := rate(t, s, 2*time.Second)
				p50, p99, bare := quiet(t, s, nc, 40)
				t.Logf("%v one way, %s: %.0f messages/s; one message %v, 99%% within %v; a bare question %v", latency, m.name, got, p50, p99, bare)
				near = max(near, got)
				busy := max(0, bare-2*latency) // what the machine adds to a way there and back
				if m.name != "plain" || got >= min(near/share, 60_000) && p50 <= 2*latency+20*time.Millisecond+4*busy {
					break
				}
				if try == 5 { // the machine has other work, which a regression outlasts
					t.Errorf("%v one way: %.0f messages/s, and %.0f near by; one message takes %v", latency, got, near, p50)
					break
				}
			}
		}
	}
}

// A window that takes longer to be confirmed than the ack timeout is no fault
// while some of it is.
func TestSlowBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	// The broker is stopped nine tenths of the time; when it runs it gets to do
	// something, however busy the machine is.
	probe := connect(t, ns)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			ns.Pause()
			time.Sleep(450 * time.Millisecond)
			ns.Resume()
			if _, err := probe.RTT(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	got := rate(t, s, 7*time.Second)
	cancel()
	<-stopped
	_, st := manage(t, nc)
	last, err := st.GetLastMsgForSubject(t.Context(), "cdc.shop._cdcd")
	if err != nil || last.Sequence != 1 {
		t.Errorf("the stream was read again without need: the last marker is message %d, %v", last.Sequence, err)
	}
	t.Logf("%.0f messages/s", got)
}

// A window that is full in bytes may have too few messages for the broker to
// answer by itself: it is asked.
func TestLargeMessagesAreAnsweredInTime(t *testing.T) {
	for _, m := range modes[:2] {
		nc := connect(t, m.server(t, testserver.NATSConfig("max_payload: 8MB", "max_pending: 64MB")))
		s := m.open(t, nc, config())
		if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
			t.Fatal(err)
		}
		const groups = 40
		body := make([]byte, 3<<20)
		go func() {
			for i := range uint64(groups) {
				g := &sink.Group{Number: i, Base: "p0", End: "p1", Bytes: len(body), Messages: []sink.Message{{
					Subject: "cdc.shop.shop.orders", Body: body, TxLast: true, Place: sink.Place{Tx: "t", Row: i, Parts: 1, N: i}}}}
				if err := s.Publish(t.Context(), g); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for n := 0; n < groups; {
			c, err := s.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(c)
		}
		_, st := manage(t, nc)
		if n := st.CachedInfo().State.Msgs; n != groups+1 {
			t.Errorf("%s: %d messages in the stream, want one marker and %d", m.name, n, groups)
		}
	}
}
