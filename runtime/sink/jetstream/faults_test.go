package jetstream_test

import (
	"context"
	"errors"
	"fmt"
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

// awaitMessages waits until the stream has so many.
func awaitMessages(t *testing.T, nc *nats.Conn, n uint64) {
	t.Helper()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		st, err := j.Stream(t.Context(), streamName)
		if err == nil && st.CachedInfo().State.Msgs >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stream does not get %d messages: %v", n, err)
		}
	}
}

// noted is a sink whose run tells when it has written down what was confirmed.
type noted struct {
	sink.Sink
	any  bool // was handed out
	once sync.Once
	done chan struct{}
}

func (n *noted) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	if n.any { // and who asks again has noted it
		n.once.Do(func() { close(n.done) })
	}
	confirmed, err := n.Sink.Wait(ctx)
	n.any = n.any || len(confirmed) > 0
	return confirmed, err
}

// harmed runs the sink a little, harms the stream while it runs, and returns
// what the sink says then, and what it says when it is claimed again.
func harmed(t *testing.T, harm func(*nats.Conn)) (running, claiming error, again *sinktest.Run) {
	t.Helper()
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	r := &sinktest.Run{Feed: feed()}
	s := &noted{Sink: open(t, nc, config()), done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := begin(ctx, r, s)
	awaitMessages(t, nc, 200)
	select {
	case <-s.done: // some of them are confirmed
	case <-ctx.Done():
		t.Fatal("nothing is confirmed")
	}
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
	c := claimed(t, s, feed(), sink.Hint{})
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
	s := open(t, nc, config())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := begin(ctx, r, s)
	awaitMessages(t, nc, 200)
	if err := st.Purge(t.Context()); err != nil {
		t.Error(err)
	}
	// What was delivered and deleted since is no reason to stop.
	awaitMessages(t, nc, 200)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
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
	done := begin(t.Context(), r, s)
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var have jetstream.StreamConfig
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
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
	delivered(t, nc, f)
}

func TestStreamFullIsAFault(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	cfg := config()
	cfg.MaxBytes = 64 << 10
	s := open(t, nc, cfg)
	f := feed()
	f.BodyBytes = 1000
	c := claimed(t, s, f, sink.Hint{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
			_, err := j.CreateStream(t.Context(), cfg)
			for began := time.Now(); err != nil && time.Since(began) < time.Minute; { // the server still removes the one before
				time.Sleep(20 * time.Millisecond)
				_, err = j.CreateStream(t.Context(), cfg)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer j.DeleteStream(context.Background(), streamName)
			_, err = open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed()))
			wantFault(t, err, stream.CodeStreamConfig, fault.Environment)
		})
	}
	if _, err := j.CreateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, nc, config()).Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Errorf("a good stream was refused: %v", err)
	}
}

// What a server took with it into its death is sent again as soon as it is back,
// not when the last answer is overdue.
func TestServerBackWithoutAnswer(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	s := open(t, nc, config())
	c := claimed(t, s, feed(), sink.Hint{})
	ns.Pause() // it takes nothing in any more, and the connection stands
	if err := s.Publish(t.Context(), c.Next(20, false)); err != nil {
		t.Fatal(err)
	}
	ns.Kill()
	ns.Restart(t)
	awaitConnected(t, nc) // which it tries less and less often
	began := time.Now()
	done, err := s.Wait(t.Context())
	if took := time.Since(began); err != nil || len(done) != 1 || took > 4*time.Second { // the last answer is overdue after five
		t.Errorf("%d groups confirmed after %v: %v", len(done), took, err)
	}
}

// A stream that loses messages from its middle while the pipeline runs is told
// of when it is read again.
func TestInteriorDeletionWhileRunning(t *testing.T) {
	nc, st, hint := deletable(t)
	s := open(t, nc, config())
	c := claimed(t, s, feed(), hint)
	if err := st.DeleteMsg(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	err := s.Publish(t.Context(), c.Next(20, false))
	if err == nil {
		_, err = s.Wait(t.Context())
	}
	wantFault(t, err, sink.CodeStreamGaps, fault.Environment)
}

// A broker that comes back without messages that it had announced must not keep
// a pipeline from starting for ever.
func TestHistoryThatVanishes(t *testing.T) {
	nc, st, _ := deletable(t)
	const many = 4000 // more than one pull brings
	for range many {
		m := &nats.Msg{Subject: "cdc.shop._cdcd", Header: nats.Header{"Cdc-Kind": {"history"}}, Data: make([]byte, 100)}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	awaitMessages(t, nc, many) // all are announced, and none comes behind the purge
	got := 0
	began := time.Now()
	err := open(t, nc, config()).History(t.Context(), "", func([]byte) error {
		if got++; got == 1 {
			return st.Purge(t.Context())
		}
		return nil
	})
	if took := time.Since(began); took > 20*time.Second || got == many {
		t.Fatalf("%d messages in %v", got, took)
	}
	wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
}

// A limit that the server can't promise is named, with what to do about it.
func TestLimitThatCannotBePromised(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	c := config()
	c.MaxBytes = 1 << 60
	_, err := open(t, nc, c).Claim(t.Context(), sink.Hint{}, initial(feed()))
	wantFault(t, err, stream.CodeStreamConfig, fault.Environment)
	if f := fault.Of(err); !strings.Contains(f.Error(), "max_bytes asks for 1048576TiB") || !strings.Contains(f.Hint, "lower max_bytes under sink.jetstream") {
		t.Errorf("%v; %s", f, f.Hint)
	}
}
