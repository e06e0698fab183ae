package jetstream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// inEachMode runs a test in each mode, on a server of its own. Where groups become
// visible at once, somebody looks all the time whether they do.
func inEachMode(t *testing.T, test func(*testing.T, mode, *testserver.NATSServer, *nats.Conn)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // mostly it waits
			ns := m.server(t)
			if m.atomic {
				watchBoundaries(t, ns)
			}
			test(t, m, ns, connect(t, ns))
		})
	}
}

func TestServerKilledUnderLoad(t *testing.T) {
	inEachMode(t, serverKilled)
}

func serverKilled(t *testing.T, m mode, ns *testserver.NATSServer, nc *nats.Conn) {
	f := feed()
	r := &sinktest.Run{Feed: f}
	s := m.open(t, nc, config())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := begin(ctx, r, s)
	kills := 8
	rng := rand.New(rand.NewPCG(42, 42))
	for range kills {
		select {
		case <-time.After(time.Duration(100+rng.IntN(300)) * time.Millisecond):
		case err := <-done:
			t.Fatalf("the sink gave up: %v", err)
		}
		ns.Kill()
		ns.Restart(t)
	}
	time.Sleep(200 * time.Millisecond) // of load behind the last kill
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	bodies := delivered(t, nc, f)
	if len(bodies) < r.Confirmed || r.Confirmed < kills*20 {
		t.Fatalf("%d stored, %d confirmed", len(bodies), r.Confirmed)
	}
	t.Logf("%d kills, %d messages: none lost, doubled or out of order; %d confirmed", kills, len(bodies), r.Confirmed)
}

// Daemons die as well: each run ends at any moment, and the next claims anew,
// with the checkpoint of the one before or with none.
func TestWriterKilledUnderLoad(t *testing.T) {
	inEachMode(t, writerKilled)
}

func writerKilled(t *testing.T, m mode, _ *testserver.NATSServer, nc *nats.Conn) {
	f := feed()
	rng := rand.New(rand.NewPCG(7, 7))
	var hint sink.Hint
	through := 0
	// On a busy machine the first ones end before anything is confirmed, and then
	// there are more, which are longer.
	for i := 0; i < 30 || through == 0 && i < 100; i++ {
		r := &sinktest.Run{Feed: f, Seed: uint64(i)}
		if i%3 != 0 {
			r.Hint = hint
		}
		s := m.open(t, nc, config())
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(60)+40*max(1, i-29))*time.Millisecond)
		if err := r.Do(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		hint, through = r.Hint, through+r.Confirmed
		s.Close(t.Context())
	}
	bodies := delivered(t, nc, f)
	if len(bodies) == 0 {
		t.Error("nothing got through")
	}
	t.Logf("30 lives, %d messages", len(bodies))
}

func TestTwoWritersFenceEachOther(t *testing.T) {
	ns := testserver.NATS(t)
	f := feed()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	claims, fences := 0, 0
	for w := range 4 {
		nc := connect(t, ns)
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 5))
			freeze := rand.New(rand.NewPCG(uint64(w), 6)) // another goroutine's
			r := &sinktest.Run{Feed: f, Seed: uint64(w), Pause: func() {
				if freeze.IntN(60) == 0 {
					time.Sleep(time.Duration(freeze.IntN(60)) * time.Millisecond)
				}
			}}
			for ctx.Err() == nil {
				s := open(t, nc, config())
				err := r.Do(ctx, s)
				s.Close(ctx)
				if ctx.Err() == nil && !sink.IsFenced(err) {
					t.Error(err)
					return
				}
				mu.Lock()
				if r.Anchor.Epoch > 0 {
					claims++
				}
				fences++
				mu.Unlock()
				select {
				case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	nc := connect(t, ns)
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return fences >= 10
	}
	for begun := time.Now(); ctx.Err() == nil && (time.Since(begun) < 4*time.Second || !enough()); {
		time.Sleep(50 * time.Millisecond)
	}
	if ctx.Err() == nil {
		awaitMessages(t, nc, 2000)
	}
	cancel()
	wg.Wait()
	bodies := delivered(t, nc, f)
	if fences < 10 || len(bodies) < 1000 {
		t.Errorf("too little happened: %d fences, %d messages", fences, len(bodies))
	}
	t.Logf("%d times fenced, %d messages, none wrong", fences, len(bodies))
}

func TestConnectionCut(t *testing.T) {
	t.Run("external", func(t *testing.T) { connectionCut(t, modes[0], connect(t, testserver.NATS(t)), 30*time.Millisecond) })
	t.Run("embedded", func(t *testing.T) { connectionCut(t, modes[0], connectInside(t, modes[0]), 30*time.Millisecond) })
	// An atomic run that is cut is sent again as a whole, so it needs more time.
	t.Run("embedded, fsync", func(t *testing.T) { connectionCut(t, modes[1], connectInside(t, modes[1]), 150*time.Millisecond) })
}

func connectionCut(t *testing.T, m mode, nc *nats.Conn, every time.Duration) {
	f := feed()
	r := &sinktest.Run{Feed: f, Groups: 250}
	s := m.open(t, nc, config())
	done := begin(t.Context(), r, s)
	awaitMessages(t, nc, 1)  // a claim that is cut is another test's affair
	took := time.Duration(0) // by the last connection to come about
	for cuts := 0; ; cuts++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			bodies := delivered(t, nc, f)
			if len(bodies) != r.Confirmed {
				t.Fatalf("%d stored, %d confirmed", len(bodies), r.Confirmed)
			}
			if cuts == 0 {
				t.Fatal("done before the first cut")
			}
			t.Logf("%d cuts, %d messages", cuts, len(bodies))
			return
		case <-time.After(every + 3*took): // on a busy machine a connection lives longer
			began := time.Now()
			if err := nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			awaitConnected(t, nc)
			took = time.Since(began)
		}
	}
}
