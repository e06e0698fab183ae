package jetstream_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// A connection that is lost many times a second leaves batches behind that are
// not ended, and the server takes so many at a time: delivery goes on all the same.
func TestAtomicConnectionLostOften(t *testing.T) {
	for _, m := range modes[2:] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ns := m.server(t, testserver.JetStreamConfig("limits { batch { max_inflight_per_stream: 3 } }"))
			nc, reader := connect(t, ns), connect(t, ns)
			s := m.open(t, nc, config())
			if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
				t.Fatal(err)
			}
			r := &sinktest.Run{Feed: feed(), Seed: 1}
			const lasts = 10 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			done := begin(ctx, r, s)
			cuts := 0
			var counts []int
			for began, next := time.Now(), time.Duration(0); time.Since(began) < lasts; cuts++ {
				rtt, err := reader.RTT()
				if err != nil {
					t.Fatal(err)
				}
				asked := time.Now()
				if _, err := reader.Request("$JS.API.STREAM.INFO."+streamName, nil, 20*time.Second); err != nil {
					t.Fatal(err)
				}
				// On a busy machine, or disk, a connection lives longer: long enough for a batch.
				time.Sleep(time.Duration(30+rand.IntN(120))*time.Millisecond + 20*rtt + 4*time.Since(asked))
				if err := nc.ForceReconnect(); err != nil {
					t.Fatal(err)
				}
				if time.Since(began) > next {
					counts, next = append(counts, len(stored(t, reader))), next+2*time.Second
				}
			}
			bodies := stored(t, reader)
			if err := feed().Check(bodies); err != nil {
				t.Error(err)
			}
			for i := 3; i < len(counts); i++ {
				if counts[i] == counts[i-3] {
					t.Errorf("nothing was delivered for 6 s, behind %d messages", counts[i])
				}
			}
			t.Logf("%d cuts; messages every 2 s: %v; at the end: %v", cuts, counts, <-done)
		})
	}
}
