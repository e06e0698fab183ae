package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

func TestServerKilledUnderLoad(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	f := feed()
	r := &sinktest.Run{Feed: f}
	s := open(t, nc, config())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Do(ctx, s) }()
	kills := 20
	if testing.Short() {
		kills = 4
	}
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
	bodies := stored(t, nc)
	if err := f.Check(bodies); err != nil {
		t.Fatal(err)
	}
	if len(bodies) < r.Confirmed || r.Confirmed < kills*100 {
		t.Fatalf("%d stored, %d confirmed", len(bodies), r.Confirmed)
	}
	t.Logf("%d kills, %d messages: none lost, doubled or out of order; %d confirmed", kills, len(bodies), r.Confirmed)
}

// Daemons die as well: each run ends at any moment, and the next claims anew,
// with the checkpoint of the one before or with none.
func TestWriterKilledUnderLoad(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	f := feed()
	rng := rand.New(rand.NewPCG(7, 7))
	var hint sink.Hint
	for i := range 40 {
		r := &sinktest.Run{Feed: f, Seed: uint64(i)}
		if i%3 != 0 {
			r.Hint = hint
		}
		s := open(t, nc, config())
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(60))*time.Millisecond+20*time.Millisecond)
		if err := r.Do(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		hint = r.Hint
		s.Close(t.Context())
	}
	bodies := stored(t, nc)
	if err := f.Check(bodies); err != nil {
		t.Fatal(err)
	}
	t.Logf("40 lives, %d messages", len(bodies))
}

func TestTwoWritersFenceEachOther(t *testing.T) {
	ns := testserver.NATS(t)
	f := feed()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
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
	wg.Wait()
	nc := connect(t, ns)
	bodies := stored(t, nc)
	if err := f.Check(bodies); err != nil {
		t.Fatal(err)
	}
	if fences < 10 || len(bodies) < 1000 {
		t.Errorf("too little happened: %d fences, %d messages", fences, len(bodies))
	}
	t.Logf("%d times fenced, %d messages, none wrong", fences, len(bodies))
}

func TestConnectionCut(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	f := feed()
	r := &sinktest.Run{Feed: f, Groups: 250}
	s := open(t, nc, config())
	done := make(chan error, 1)
	go func() { done <- r.Do(t.Context(), s) }()
	for cuts := 0; ; cuts++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			bodies := stored(t, nc)
			if err := errors.Join(f.Check(bodies)); err != nil || len(bodies) != r.Confirmed {
				t.Fatalf("%d stored, %d confirmed: %v", len(bodies), r.Confirmed, err)
			}
			if cuts == 0 {
				t.Fatal("done before the first cut")
			}
			t.Logf("%d cuts, %d messages", cuts, len(bodies))
			return
		case <-time.After(30 * time.Millisecond):
			if err := nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// manage returns the stream for tests that harm it.
func manage(t *testing.T, nc *nats.Conn) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := j.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	return j, st
}

// harmed runs the sink a little, harms the stream while it runs, and returns
// what the sink says then, and what it says when it is claimed again.
func harmed(t *testing.T, harm func(*nats.Conn)) (running, claiming error, again *sinktest.Run) {
	t.Helper()
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	r := &sinktest.Run{Feed: feed()}
	s := open(t, nc, config())
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Do(ctx, s) }()
	time.Sleep(100 * time.Millisecond)
	harm(nc)
	running = <-done
	s.Close(ctx)
	again = &sinktest.Run{Feed: feed(), Hint: r.Hint, Groups: 50}
	claiming = again.Do(t.Context(), open(t, nc, config()))
	if claiming == nil {
		if err := again.Feed.Check(stored(t, nc)); err != nil {
			t.Error(err)
		}
	}
	return running, claiming, again
}

func wantFault(t *testing.T, err error, code string, class fault.Class) {
	t.Helper()
	f := fault.Of(err)
	if f.Code != code || f.Class != class || f.Hint == "" || f.Path == "" {
		t.Errorf("got %v (%v, hint %q), want %s of class %v", err, f.Class, f.Hint, code, class)
	}
}

func TestStreamDeleted(t *testing.T) {
	running, claiming, _ := harmed(t, func(nc *nats.Conn) {
		j, _ := manage(t, nc)
		if err := j.DeleteStream(t.Context(), streamName); err != nil {
			t.Error(err)
		}
	})
	wantFault(t, running, sink.CodeStreamGone, fault.Environment)
	wantFault(t, claiming, sink.CodeStreamGone, fault.Environment)
}

func TestStreamDeletedAndMadeAgain(t *testing.T) {
	running, claiming, _ := harmed(t, func(nc *nats.Conn) {
		j, st := manage(t, nc)
		cfg := st.CachedInfo().Config
		if err := j.DeleteStream(t.Context(), streamName); err != nil {
			t.Error(err)
		}
		if _, err := j.CreateStream(t.Context(), cfg); err != nil {
			t.Error(err)
		}
	})
	if !fault.HasCode(running, sink.CodeStreamGone) { // it may look between the two
		wantFault(t, running, sink.CodeStreamRecreated, fault.Environment)
	}
	wantFault(t, claiming, sink.CodeStreamRecreated, fault.Environment)
}

func TestForeignMessage(t *testing.T) {
	running, claiming, again := harmed(t, func(nc *nats.Conn) {
		if err := nc.Publish("cdc.shop.shop.orders", []byte("from somebody else")); err != nil {
			t.Error(err)
		}
	})
	wantFault(t, running, sink.CodeForeignMessage, fault.Fatal)
	if claiming != nil || again.Confirmed == 0 { // resuming steps over it
		t.Errorf("did not resume: %v", claiming)
	}
}

func TestOurStreamCannotBeHarmed(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	r := &sinktest.Run{Feed: feed(), Groups: 20}
	if err := r.Do(t.Context(), open(t, nc, config())); err != nil {
		t.Fatal(err)
	}
	_, st := manage(t, nc)
	if err := st.DeleteMsg(t.Context(), 5); err == nil {
		t.Error("a message could be deleted")
	}
	if err := st.Purge(t.Context()); err == nil {
		t.Error("the stream could be purged")
	}
}

// deletable gives a stream that somebody made without deny_delete and
// deny_purge, after a run that ended with the returned hint.
func deletable(t *testing.T) (*nats.Conn, jetstream.Stream, sink.Hint) {
	t.Helper()
	nc := connect(t, testserver.NATS(t))
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := j.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc.shop.>"},
		Discard: jetstream.DiscardNew, AllowBatchPublish: true})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, nc, config())
	a, err := s.Claim(t.Context(), sink.Hint{}, initial(feed()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := feed().From(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), c.Next(20, false)); err != nil {
		t.Fatal(err)
	}
	done, err := s.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return nc, st, sink.Hint{Token: done[0].Token, Position: done[0].Group.End, Exact: true}
}

func TestInteriorDeletion(t *testing.T) {
	nc, st, hint := deletable(t)
	if err := st.DeleteMsg(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, nc, config()).Claim(t.Context(), hint, initial(feed()))
	wantFault(t, err, sink.CodeStreamGaps, fault.Environment)
	cfg := config()
	cfg.GapsAccepted = 1
	if a, err := open(t, nc, cfg).Claim(t.Context(), hint, initial(feed())); err != nil || a.Base != hint.Position {
		t.Errorf("with the gap accepted: %+v, %v", a, err)
	}
}

func TestPurgedStream(t *testing.T) {
	nc, st, hint := deletable(t)
	if err := st.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed()))
	wantFault(t, err, sink.CodeAnchorGone, fault.Environment)
	inside := hint
	inside.Exact = false
	_, err = open(t, nc, config()).Claim(t.Context(), inside, initial(feed()))
	wantFault(t, err, sink.CodeAnchorGone, fault.Environment)
	a, err := open(t, nc, config()).Claim(t.Context(), hint, initial(feed()))
	if err != nil || a.Base != hint.Position || a.At.Tx != "" || !a.Found {
		t.Errorf("the checkpoint names the last message, which was purged: %+v, %v", a, err)
	}
}

func TestPurgedWhileRunning(t *testing.T) {
	nc, st, hint := deletable(t)
	r := &sinktest.Run{Feed: feed(), Hint: hint}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	go func() {
		time.Sleep(100 * time.Millisecond)
		if err := st.Purge(ctx); err != nil {
			t.Error(err)
		}
	}()
	// What was delivered and deleted since is no reason to stop.
	if err := r.Do(ctx, open(t, nc, config())); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestStreamFullWaitsForRoom(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	cfg := config()
	cfg.MaxBytes = 256 << 10
	s := open(t, nc, cfg)
	f := feed()
	f.BodyBytes = 1000
	r := &sinktest.Run{Feed: f, Groups: 60}
	done := make(chan error, 1)
	go func() { done <- r.Do(t.Context(), s) }()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var have jetstream.StreamConfig
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if st, err := j.Stream(t.Context(), streamName); err == nil {
			have = st.CachedInfo().Config
			if st.CachedInfo().State.Bytes > uint64(cfg.MaxBytes)-4<<10 { // the next message is refused
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the stream does not fill up")
		}
	}
	have.MaxBytes = 256 << 20
	if _, err := j.UpdateStream(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := f.Check(stored(t, nc)); err != nil {
		t.Fatal(err)
	}
}

func TestStreamFullIsAFault(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	cfg := config()
	cfg.MaxBytes = 64 << 10
	s := open(t, nc, cfg)
	f := feed()
	f.BodyBytes = 1000
	a, err := s.Claim(t.Context(), sink.Hint{}, initial(f))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.From(a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for s.Publish(ctx, c.Next(5, false)) == nil {
		}
	})
	for {
		_, err := s.Wait(ctx)
		if err == nil {
			continue
		}
		wantFault(t, err, sink.CodeStreamFull, fault.Retryable)
		return
	}
}

func TestMessageTooLarge(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 64KB"))
	nc := connect(t, ns)
	s := open(t, nc, config())
	f := feed()
	f.BodyBytes = 70_000
	a, err := s.Claim(t.Context(), sink.Hint{}, initial(f))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.From(a)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Publish(t.Context(), c.Next(1, false))
	wantFault(t, err, sink.CodeMessageTooLarge, fault.Poison)
	if !strings.Contains(err.Error(), "t0#0.0/1#0") || !strings.Contains(err.Error(), "70") {
		t.Errorf("the fault names neither place nor size: %v", err)
	}
	f.BodyBytes = 60_000 // the sink is still good
	if c, err = f.From(a); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), c.Next(1, false)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUnsafeStreamsAreRefused(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	good := jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc.shop.>"}, Discard: jetstream.DiscardNew, AllowBatchPublish: true}
	for i, change := range []func(*jetstream.StreamConfig){
		func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		func(c *jetstream.StreamConfig) { c.Subjects = []string{"cdc.>"} },
		func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		func(c *jetstream.StreamConfig) { c.AllowBatchPublish = false },
		func(c *jetstream.StreamConfig) { c.NoAck = true },
		func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"cdcd.pipeline": "other"} },
		func(c *jetstream.StreamConfig) {
			c.Subjects, c.Discard, c.Mirror = nil, jetstream.DiscardOld, &jetstream.StreamSource{Name: "X"}
		},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			cfg := good
			change(&cfg)
			if cfg.NoAck || cfg.Mirror != nil {
				cfg.AllowBatchPublish = false // the server would not have both
			}
			if _, err := j.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			defer j.DeleteStream(context.Background(), streamName)
			_, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed()))
			wantFault(t, err, js.CodeStreamConfig, fault.Environment)
		})
	}
	if _, err := j.CreateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Errorf("a good stream was refused: %v", err)
	}
}
