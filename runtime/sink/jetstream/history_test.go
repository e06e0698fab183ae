package jetstream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

// historyPatience is how long reading may take when no answer comes.
const historyPatience = time.Minute

// readHistory reads it, and fails the test where that takes too long.
func readHistory(t *testing.T, s *stream.Sink, f func([]byte) error) error {
	t.Helper()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- s.History(ctx, "", f) }()
	select {
	case err := <-done:
		return err
	case <-time.After(historyPatience):
		cancel()
		t.Errorf("no end after %v: %v", historyPatience, <-done)
		return nil
	}
}

// awaitConnected waits until the connection is there again: without one a try of
// reading fails at once, and tells nothing.
func awaitConnected(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for deadline := time.Now().Add(historyPatience); !nc.IsConnected(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no connection after %v", historyPatience)
		}
	}
}

func publishHistory(t *testing.T, nc *nats.Conn, n, size int) {
	t.Helper()
	for i := range n {
		m := &nats.Msg{Subject: "cdc.shop._cdcd", Header: nats.Header{"Cdc-Kind": {"history"}}, Data: fmt.Appendf(nil, "%0*d", size, i)}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		st, err := j.Stream(t.Context(), streamName)
		if err != nil {
			t.Fatal(err)
		}
		if st.CachedInfo().State.Msgs > uint64(n) { // there is a marker
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the stream has %d messages", st.CachedInfo().State.Msgs)
		}
	}
}

// A broker that answers some requests and never the next one, as one that is
// killed between them: wherever it falls silent, the pipeline gets to know.
func TestHistoryUnanswered(t *testing.T) {
	created := `{"type":"io.nats.jetstream.api.v1.consumer_create_response","stream_name":"CDC","name":"c","config":{},"num_pending":5}`
	for _, tt := range []struct{ name, create string }{
		{"nothing is answered", ""},
		{"the consumer is made", created},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := testserver.NATS(t, testserver.NATSPlain())
			broker := ns.Conn(t)
			for subject, answer := range map[string]string{
				"$JS.API.INFO":                `{}`,
				"$JS.API.CONSUMER.CREATE.>":   tt.create,
				"$JS.API.CONSUMER.INFO.>":     "",
				"$JS.API.CONSUMER.MSG.NEXT.>": "",
			} {
				if _, err := broker.Subscribe(subject, func(m *nats.Msg) {
					if answer == "" {
						return
					}
					if err := m.Respond([]byte(answer)); err != nil {
						t.Error(err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := broker.FlushTimeout(5 * time.Second); err != nil {
				t.Fatal(err)
			}
			err := readHistory(t, open(t, connect(t, ns), config()), func([]byte) error { return nil })
			wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
		})
	}
}

// Messages that were on their way are lost with the connection, and the server
// takes them for delivered: they are asked for again, and history with a hole is never
// taken for whole.
func TestHistoryConnectionLost(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	const many = 3000
	publishHistory(t, nc, many, 4000)
	whole := 0
	for try, began := 0, time.Now(); try < 10 || whole == 0 && time.Since(began) < time.Minute; try++ {
		awaitConnected(t, nc)
		got := 0
		err := readHistory(t, s, func(body []byte) error {
			if n, err := strconv.Atoi(string(body)); err != nil || n != got {
				return fmt.Errorf("message %d came as number %d (%v)", n, got, err)
			}
			if got++; got == 1 {
				return nc.ForceReconnect()
			}
			return nil
		})
		switch {
		case err != nil:
			wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
		case got != many:
			t.Fatalf("%d of %d messages, and no error", got, many)
		default:
			whole++
		}
	}
	if whole == 0 {
		t.Error("what was lost was never asked for again")
	}
}

// The broker is killed while history is read, at a random moment, and comes
// back: reading ends, and another try has all of it.
func TestHistoryBrokerKilled(t *testing.T) {
	ns := testserver.NATS(t, testserver.JetStreamConfig("sync_interval: always"))
	nc := connect(t, ns)
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	const many = 6000
	publishHistory(t, nc, many, 200)
	cut := 0
	for round := range 3 {
		awaitConnected(t, nc)
		got, kill := 0, rand.IntN(many)
		switch round {
		case 0:
			kill = 0
		case 1: // before the last messages are on their way, so that it is met
			kill = 1 + rand.IntN(many-3000)
		}
		restarted := make(chan struct{})
		go func() {
			defer close(restarted)
			if kill == 0 { // before the first message: while the consumer is made
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
				ns.Kill()
				if err := ns.Start(); err != nil {
					t.Error(err)
				}
			}
		}()
		err := readHistory(t, s, func([]byte) error {
			if got++; got == kill {
				ns.Kill()
				return ns.Start()
			}
			return nil
		})
		<-restarted
		if err != nil {
			cut++
			wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
		} else if got != many {
			t.Errorf("round %d: %d of %d messages, and no error", round, got, many)
		}
		t.Logf("round %d: killed at %d, got %d: %v", round, kill, got, err)
	}
	if cut == 0 {
		t.Error("no kill was met")
	}
	got := 0
	for try := 0; ; try++ {
		awaitConnected(t, nc)
		got = 0
		err := readHistory(t, s, func([]byte) error { got++; return nil })
		if err == nil {
			break
		}
		if try == 5 {
			t.Fatal(err)
		}
	}
	if got != many {
		t.Errorf("%d of %d messages", got, many)
	}
}

// The broker is killed, its files are damaged, and it starts again: reading ends,
// with what is left or with a fault.
func TestHistoryBlocksDamaged(t *testing.T) {
	for round := range 2 {
		ns := testserver.NATS(t)
		nc := connect(t, ns)
		s := open(t, nc, config())
		if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
			t.Fatal(err)
		}
		const many = 20_000 // several blocks
		publishHistory(t, nc, many, 1000)
		at, started := 0, make(chan error, 1)
		err := readHistory(t, s, func([]byte) error {
			if at++; at != 100 {
				return nil
			}
			ns.Kill()
			damageBlocks(t, ns.StoreDir())
			started <- ns.Start()
			return nil
		})
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d messages, then %v", round, at, err)
		if err != nil {
			wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
		}
		awaitConnected(t, nc)
		at = 0
		err = readHistory(t, s, func([]byte) error { at++; return nil })
		t.Logf("round %d, again: %d messages, %v", round, at, err)
		if err == nil && at == 0 {
			t.Error("nothing was read")
		}
		if err != nil {
			wantFault(t, err, sink.CodeSinkUnreachable, fault.Retryable)
		}
	}
}

// damageBlocks flips bits in the stream's blocks, and has the broker read them
// all again.
func damageBlocks(t *testing.T, dir string) {
	t.Helper()
	flipped := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Name() == "index.db" && rand.IntN(2) == 0 {
			return os.Remove(path)
		}
		if !strings.HasSuffix(path, ".blk") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		for range 3 {
			b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
			flipped++
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || flipped == 0 {
		t.Errorf("damage: %d bits, %v", flipped, err)
	}
}
