package jetstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

// largeTx publishes a group of messages of a transaction before, and then so many
// of a large one, on three subjects, with control messages between.
func largeTx(t *testing.T, s *stream.Sink, messages, every int) {
	t.Helper()
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	number := uint64(0)
	group := func(ms []sink.Message) *sink.Group {
		number++
		return &sink.Group{Number: number, Base: "p0", End: "p0", Messages: ms, Bytes: 64 * len(ms)}
	}
	before := group([]sink.Message{
		{Subject: "cdc.shop.shop.a", Body: []byte("x"), Place: sink.Place{Tx: "small", Parts: 1}},
		{Subject: "cdc.shop.shop.a", Body: []byte("x"), Place: sink.Place{Tx: "small", Row: 1, Parts: 1, N: 1}, TxLast: true}})
	groups := []*sink.Group{before}
	for at := 0; at < messages; {
		var ms []sink.Message
		for ; at < messages && len(ms) < 500; at++ {
			place := sink.Place{Tx: "large", Row: uint64(at), Parts: 1, N: uint64(at)}
			ms = append(ms, sink.Message{Subject: fmt.Sprint("cdc.shop.shop.", at%3), Body: []byte("x"), Place: place})
			if at%every == 0 {
				ms = append(ms, sink.Message{Kind: sink.KindSchema, Subject: "cdc.shop._cdcd", Body: []byte("{}"), Place: place})
			}
		}
		groups = append(groups, group(ms))
	}
	go func() {
		for _, g := range groups {
			if err := s.Publish(t.Context(), g); err != nil {
				t.Error(err)
			}
		}
	}()
	for n := 0; n < len(groups); {
		done, err := s.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(done)
	}
}

// What the stream has of the transaction that a claim finds it in is counted,
// whatever lies between; also up to an earlier place.
func TestRecount(t *testing.T) {
	const messages = 30_000
	nc := connect(t, testserver.NATS(t))
	largeTx(t, open(t, nc, config()), messages, 20)
	for range 3 { // each claim leaves one more marker
		s := open(t, nc, config())
		a, err := s.Claim(t.Context(), sink.Hint{}, initial(feed()))
		if err != nil || a.At.Tx != "large" || a.At.N != messages-1 || a.Messages != messages+2 {
			t.Fatalf("%+v, %v", a, err)
		}
		for _, less := range []uint64{0, 1, 10_001, messages - 1} {
			at := a
			at.At.N -= less
			at.Messages -= less
			got, want := map[string]int{}, map[string]int{}
			for i := range at.At.N + 1 {
				want[fmt.Sprint("cdc.shop.shop.", i%3)]++
			}
			began := time.Now()
			all, err := s.Recount(t.Context(), at, func(subject string) { got[subject]++ })
			if diff := cmp.Diff(want, got); !all || err != nil || diff != "" {
				t.Errorf("less %d: all %t, %v\n%s", less, all, err, diff)
			}
			t.Logf("%d messages in %v", at.At.N+1, time.Since(began).Round(time.Millisecond))
		}
		// Nothing is left behind that another start would meet.
		if _, st := manage(t, nc); consumers(t, st) > 0 {
			t.Errorf("%d consumers are left", consumers(t, st))
		}
	}
}

func consumers(t *testing.T, st jetstream.Stream) (n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // they are deleted beside
		info, err := st.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n = info.State.Consumers; n == 0 || time.Now().After(deadline) {
			return n
		}
	}
}

// A stream without all of them says so, and so does one that others share.
func TestRecountOfLess(t *testing.T) {
	nc, st, hint := deletable(t)
	_ = hint
	s := open(t, nc, config())
	largeTx(t, s, 1000, 1001)
	info, err := st.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.GapsAccepted = 1
	for _, gone := range []uint64{900, 999} {
		if err := st.Purge(context.WithoutCancel(t.Context()), jetstream.WithPurgeSequence(info.State.LastSeq-gone)); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, nc, cfg)
	a, err := again.Claim(t.Context(), sink.Hint{}, initial(feed()))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := again.Recount(t.Context(), a, func(string) {}); all || err != nil {
		t.Errorf("all %t, %v", all, err)
	}
	cfg.Delivery = "at_least_once"
	if all, err := open(t, nc, cfg).Recount(t.Context(), a, func(string) {}); all || err != nil {
		t.Errorf("shared: all %t, %v", all, err)
	}
}
