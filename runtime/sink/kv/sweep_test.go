package kv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/kv"
	"github.com/cdcd-io/cdcd/sdk"
)

const rowsBefore = 2300 // more than a sweep deletes at a time

// history is a small log: rows of two tables, then a transaction that empties one
// of them, and one behind it.
type history struct{ groups []*sink.Group }

func newHistory() *history {
	h := &history{}
	var first []sink.Message
	for i := range rowsBefore {
		first = append(first, put("t1", uint64(i), fmt.Sprintf("shop.orders.%d", i), "1"))
	}
	first = append(first, put("t1", rowsBefore, "shop.ordersmore.1", "1"), put("t1", rowsBefore+1, "shop.orders.3", ""))
	first[len(first)-1].TxLast = true
	h.add("p0", "p1", first...)
	empty := put("t2", 0, "shop.orders.>", `{"op":"t"}`)
	empty.TxLast = true
	again := put("t3", 0, "shop.orders.7", "2")
	more := put("t3", 1, "shop.ordersmore.>", `{"op":"t"}`)
	last := put("t3", 2, "shop.ordersmore.9", "2")
	last.TxLast = true
	h.add("p1", "p3", empty, again, more, last)
	end := put("t4", 0, "shop.orders.8", "2")
	end.TxLast = true
	h.add("p3", "p4", end)
	return h
}

// put is a message for a key; an empty body takes it away.
func put(tx string, row uint64, key, body string) sink.Message {
	return sink.Message{Subject: prefix + key, Body: []byte(body), Place: sink.Place{Tx: tx, Row: row, Parts: 1, N: row}}
}

func (h *history) add(base, end sdk.Position, messages ...sink.Message) {
	g := &sink.Group{Number: uint64(len(h.groups)), Base: base, End: end, Messages: messages}
	for _, m := range messages {
		g.Bytes += len(m.Subject) + len(m.Body)
	}
	h.groups = append(h.groups, g)
}

// behind returns the groups that follow an anchor.
func (h *history) behind(t *testing.T, a sink.Anchor) (rest []*sink.Group) {
	t.Helper()
	from := map[string]int{"p0": 0, "p1": 1, "p3": 2, "p4": 3}[string(a.Base)]
	for _, g := range h.groups[from:] {
		g := *g
		g.Messages = append([]sink.Message(nil), g.Messages...)
		for i := range g.Messages {
			if g.Messages[i].Place == a.At {
				g.Messages = g.Messages[i+1:]
				break
			}
		}
		if len(g.Messages) > 0 {
			rest = append(rest, &g)
		}
	}
	return rest
}

// write writes what is behind the sink's anchor until ctx ends or all of it is
// confirmed.
func (h *history) write(ctx context.Context, t *testing.T, s *kv.Sink) error {
	a, err := s.Claim(ctx, sink.Hint{}, func(context.Context) (sdk.Position, error) { return "p0", nil })
	if err != nil {
		return err
	}
	groups := h.behind(t, a)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	published := make(chan error, 1)
	go func() {
		for _, g := range groups {
			if err := s.Publish(ctx, g); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	for n := 0; n < len(groups); {
		var confirmed []sink.Confirmed
		if confirmed, err = s.Wait(ctx); err != nil {
			cancel(err)
			break
		}
		for _, c := range confirmed {
			if c.Group != groups[n] || c.Token == "" {
				t.Errorf("confirmed %p as %q, want group %d", c.Group, c.Token, n)
			}
			n++
		}
	}
	return errors.Join(err, <-published)
}

func (h *history) check(t *testing.T, nc *nats.Conn) {
	t.Helper()
	got := map[string]string{}
	for key, e := range entries(t, nc) {
		got[key] = string(e.Value())
	}
	want := map[string]string{"shop.orders.7": "2", "shop.orders.8": "2", "shop.ordersmore.9": "2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the bucket:\n%s", diff)
	}
}

// A truncation takes away every key of its table and no other's, in its place in
// the order, seen by watchers; and is counted as one message.
func TestTruncation(t *testing.T) {
	ns := testserver.NATS(t)
	defer testserver.NoLeaks(t, goleak.IgnoreCurrent())
	t.Run("whole", func(t *testing.T) {
		nc := connect(t, ns)
		h := newHistory()
		s := open(t, nc, config())
		if err := h.write(t.Context(), t, s); err != nil {
			t.Fatal(err)
		}
		h.check(t, nc)
		a, err := s.Claim(t.Context(), sink.Hint{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := rowsBefore + 2 + 4 + 1
		if a.At.String() != "t4#0.0/1#0" || !a.Complete || a.Messages != uint64(want) {
			t.Errorf("anchor %+v, want the last message and %d messages", a, want)
		}
	})
}

// A writer that ends at any moment of a truncation is followed by one that
// finishes it.
func TestTruncationInterrupted(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	inside := 0
	for i := range 12 {
		h := newHistory()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := js.DeleteStream(t.Context(), "KV_"+bucket); err != nil {
				t.Fatal(err)
			}
		}
		ended := false
		for life := 0; !ended; life++ {
			s := open(t, nc, config())
			ctx, cancel := context.WithCancel(t.Context())
			if life < 4 {
				go interruptAfterDeletes(ctx, t, nc, 150*(i+1)+700*life, cancel)
			}
			err := h.write(ctx, t, s)
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			ended = err == nil
			if n := len(entries(t, nc)); !ended && n > 3 && n < rowsBefore {
				inside++
			}
			s.Close(context.Background())
		}
		h.check(t, nc)
	}
	if inside == 0 {
		t.Error("no writer ended inside a truncation: the test shows nothing")
	}
}

// interruptAfterDeletes calls stop once so many deletes were seen.
func interruptAfterDeletes(ctx context.Context, t *testing.T, nc *nats.Conn, n int, stop func()) {
	seen := make(chan struct{}, 1<<16)
	sub, err := nc.Subscribe(prefix+">", func(m *nats.Msg) {
		if m.Header.Get("KV-Operation") == "DEL" {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	for range n {
		select {
		case <-seen:
		case <-ctx.Done():
			return
		}
	}
	stop()
}

// The table can be emptied while the server is killed.
func TestTruncationWithKills(t *testing.T) {
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	for range 4 {
		h := newHistory()
		s := open(t, nc, config())
		done := make(chan error, 1)
		go func() {
			for {
				err := h.write(t.Context(), t, s)
				if err == nil || !retryable(err) {
					done <- err
					return
				}
			}
		}()
		time.Sleep(60 * time.Millisecond)
		ns.Kill()
		ns.Restart(t)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); nc.FlushTimeout(time.Second) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatal("the server that was killed does not answer")
			}
		}
		h.check(t, nc)
		s.Close(context.Background())
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), "KV_"+bucket); err != nil {
			t.Fatal(err)
		}
	}
}

func retryable(err error) bool { return strings.Contains(err.Error(), sink.CodeSinkUnreachable) }
