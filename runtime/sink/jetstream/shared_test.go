package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

func sharedConfig() *js.Config {
	cfg := config()
	cfg.Delivery = "at_least_once"
	return cfg
}

// share makes a stream that is not cdcd's. window is how long it remembers ids.
func share(t *testing.T, nc *nats.Conn, window time.Duration) {
	t.Helper()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc.>", "other.*"},
		AllowBatchPublish: true, Duplicates: window}); err != nil {
		t.Fatal(err)
	}
}

// firsts reads the stream and returns the body of each data message where it
// came first, and how often one came again. What comes again has its Cdc-Seq.
func firsts(t *testing.T, nc *nats.Conn) (bodies []string, again int) {
	t.Helper()
	_, st := manage(t, nc)
	c, err := st.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{FilterSubjects: []string{"cdc.shop.shop.orders"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	end, err := st.GetLastMsgForSubject(t.Context(), "cdc.shop.shop.orders")
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for last := uint64(0); last < end.Sequence; {
		if time.Now().After(deadline) {
			t.Fatalf("read up to %d of %d", last, end.Sequence)
		}
		batch, err := c.Fetch(5000, jetstream.FetchMaxWait(300*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			last = meta.Sequence.Stream
			body, seq := string(m.Data()), m.Headers().Get("Cdc-Seq")
			switch have, known := seen[body]; {
			case !known:
				seen[body] = seq
				bodies = append(bodies, body)
			case have != seq:
				t.Fatalf("%s has Cdc-Seq %s, and had %s", body, seq, have)
			default:
				again++
			}
		}
	}
	return bodies, again
}

// In a stream that others write to nothing is lost and nothing out of order,
// whoever is killed; what comes twice can be told.
func TestSharedStreamUnderKills(t *testing.T) {
	for name, window := range map[string]time.Duration{"ids remembered": 2 * time.Minute, "ids forgotten": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) { sharedKilled(t, window) })
	}
}

func sharedKilled(t *testing.T, window time.Duration) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	share(t, nc, window)
	foreign, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for foreign.Err() == nil {
			_ = nc.Publish("other.x", []byte("from somebody else")) // fails while the server is down
			time.Sleep(time.Millisecond)
		}
	}()
	f := feed()
	rng := rand.New(rand.NewPCG(3, 3))
	var hint sink.Hint
	confirmed := 0
	for i := range 16 {
		r := &sinktest.Run{Feed: f, Seed: uint64(i), Hint: hint}
		s := open(t, nc, sharedConfig())
		life, started := time.Duration(rng.IntN(200)+100)*time.Millisecond, make(chan error, 1)
		if i%2 == 0 {
			life = 1200 * time.Millisecond
			until := time.Duration(rng.IntN(300)) * time.Millisecond
			go func() {
				time.Sleep(until)
				ns.Kill()
				time.Sleep(350*time.Millisecond - until)
				started <- ns.Start()
			}()
		} else {
			started <- nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), life)
		// One that is killed while the sink sets its stream up does not answer.
		if err := r.Do(ctx, s); !errors.Is(err, context.DeadlineExceeded) && !fault.HasCode(err, sink.CodeSinkUnreachable) {
			t.Fatal(err)
		}
		cancel()
		s.Close(t.Context())
		if err := <-started; err != nil { // which on a busy machine outlasts the life
			t.Fatal(err)
		}
		awaitConnected(t, nc)
		if i%3 != 2 { // otherwise the checkpoint was not written
			hint, confirmed = r.Hint, confirmed+r.Confirmed
		}
	}
	stop()
	bodies, again := firsts(t, nc)
	if err := f.Check(bodies); err != nil {
		t.Fatal(err)
	}
	if len(bodies) < confirmed || confirmed < 100 {
		t.Errorf("%d messages, %d confirmed", len(bodies), confirmed)
	}
	if window < time.Second && again == 0 {
		t.Error("nothing came twice: the test does not reach what it is for")
	}
	t.Logf("%d messages, %d came again", len(bodies), again)
}

func TestSharedStreamsThatAreRefused(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	good := jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc.shop.>", "x"}, AllowBatchPublish: true,
		Retention: jetstream.WorkQueuePolicy, MaxMsgsPerSubject: 5} // its owner's affair
	for i, change := range []func(*jetstream.StreamConfig){
		func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		func(c *jetstream.StreamConfig) { c.Subjects = []string{"cdc.shop.*"} },
		func(c *jetstream.StreamConfig) { c.AllowBatchPublish = false },
		func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"cdcd.pipeline": "other"} },
	} {
		cfg, own := good, sharedConfig()
		change(&cfg)
		cfg.Name = fmt.Sprint(streamName, i) // the server may still remove the one before
		own.Stream = cfg.Name
		if _, err := j.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, nc, own).Claim(t.Context(), sink.Hint{}, initial(feed()))
		if err == nil {
			t.Fatalf("case %d was not refused", i)
		}
		wantFault(t, err, stream.CodeStreamConfig, fault.Environment)
		if err := j.DeleteStream(t.Context(), cfg.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.CreateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, nc, sharedConfig()).Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Errorf("a good stream was refused: %v", err)
	}
	_, err = open(t, nc, config()).Claim(t.Context(), sink.Hint{Token: "shared:-", Position: "p1", Exact: true}, initial(feed()))
	if err == nil {
		t.Error("exactly_once took a shared stream")
	}
}

// A checkpoint inside a transaction says where, and one inside a transaction of
// which nothing was sent does not: it is read from its beginning.
func TestSharedStreamResumes(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	at := sink.Place{Tx: "t3", Row: 1, Parts: 2, N: 1}
	for _, c := range []struct {
		hint sink.Hint
		at   sink.Place
	}{
		{sink.Hint{}, sink.Place{}},
		{sink.Hint{Position: "p3"}, sink.Place{}},
		{sink.Hint{Position: "p3", Token: "shared:" + at.String(), Messages: 9}, at},
		{sink.Hint{Position: "p3", Token: "shared:" + at.String(), Messages: 9, Exact: true}, sink.Place{}},
		{sink.Hint{Position: "p3", Token: "shared:-", Messages: 9}, sink.Place{}},
		{sink.Hint{Position: "p3", Token: "1:2:3:4", Messages: 9, Exact: true}, sink.Place{}}, // it was exactly_once before
	} {
		a, err := open(t, nc, sharedConfig()).Claim(t.Context(), c.hint, initial(feed()))
		want := c.hint.Position
		if want == "" {
			want = "p0"
		}
		if err != nil || a.At != c.at || a.Base != want || a.Messages != c.hint.Messages || a.Found != (c.hint.Token != "") {
			t.Errorf("%+v: %+v, %v", c.hint, a, err)
		}
	}
	for _, token := range []string{"1:2:3:4", "shared:x"} {
		_, err := open(t, nc, sharedConfig()).Claim(t.Context(), sink.Hint{Position: "p3", Token: token}, initial(feed()))
		wantFault(t, err, "bad_token", fault.Fatal)
	}
}
