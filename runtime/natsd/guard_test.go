package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// lines keeps the log's lines at warning and above.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "")
}

func startGuarded(t *testing.T, cfg Config) *NATS {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { testserver.NoLeaks(t, ignore) })
	cfg.Dir = t.TempDir()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// ownAddress is one that nobody takes while no server has it: neither another test
// nor, as one that the system chooses, an outgoing connection.
func ownAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
}

func awaitRestarts(t *testing.T, n *NATS, want uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); n.Health().Restarts < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not started again: %+v", n.Health())
		}
	}
}

// A server that ends, or turns JetStream off, is started again where it was;
// connections from inside and from outside meet it.
func TestDeadServerStartsAgain(t *testing.T) {
	n := startGuarded(t, Config{Listen: ownAddress(t)})
	inside, err := n.Connect(t.Context(), "inside")
	if err != nil {
		t.Fatal(err)
	}
	outside, err := nats.Connect(n.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	js, err := jetstream.New(inside)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	url := n.ClientURL()
	for i, die := range []func(){
		func() { n.running().Shutdown() },
		func() {
			if err := n.running().ShutdownJetStream(); err != nil {
				t.Error(err)
			}
		},
	} {
		if _, err := js.Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
		die()
		awaitRestarts(t, n, uint64(i+1))
		if got := n.ClientURL(); got != url {
			t.Errorf("listens on %s, before on %s", got, url)
		}
		for _, nc := range []*nats.Conn{inside, outside} {
			for deadline := time.Now().Add(time.Minute); nc.FlushTimeout(time.Second) != nil; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a connection did not come back")
				}
			}
		}
	}
	st, err := js.Stream(t.Context(), "S")
	if err != nil || st.CachedInfo().State.Msgs != 2 {
		t.Errorf("the stream afterwards: %v", err)
	}
}

// What a server still says that was given up, because of its address or for another
// in its place, ails nobody.
func TestLateLinesOfAServer(t *testing.T) {
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Listen: ownAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	gone := n.trouble
	if err := n.startAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case gone <- errors.New("too late"):
	default:
		t.Fatal("the first server has said something")
	}
	select {
	case err := <-n.trouble:
		t.Errorf("the second server ails: %v", err)
	default:
	}
}

// A server that gives no answer is started again after the third silence, and
// not after one.
func TestSilentServerStartsAgain(t *testing.T) {
	n, err := Start(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	g := newGuard(n)
	defer g.close()
	answer := errors.New("silence")
	g.ask = func(context.Context, *nats.Conn) error { return answer }
	step := func() uint64 {
		g.probed = time.Time{}
		g.look(t.Context())
		return n.Health().Restarts
	}
	for i, want := range []uint64{0, 0, 1, 0, 0} {
		if i == 3 {
			answer = nil // one answer in between begins the count anew
			step()
			answer = errors.New("silence")
			want = 1
		} else if i > 3 {
			want = 1
		}
		if got := step(); got != want {
			t.Fatalf("silence %d: %d restarts, want %d", i+1, got, want)
		}
	}
}

// A server that can't start again is tried again, and says why meanwhile.
func TestStartAgainIsTriedAgain(t *testing.T) {
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Listen: ownAddress(t)})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(n)
	defer func() {
		g.close()
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s := n.running()
	s.Shutdown()
	s.WaitForShutdown()
	taken, err := net.Listen("tcp", n.listen)
	if err != nil {
		t.Fatal(err)
	}
	g.look(t.Context())
	if h := n.Health(); h.Reason == "" || h.Since.IsZero() || h.Restarts != 0 {
		t.Errorf("not started again: %+v", h)
	}
	if _, err := n.Connect(t.Context(), "meanwhile"); err == nil {
		t.Error("connected to a server that is not there")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if g.look(t.Context()); n.Health().Restarts != 0 {
		t.Error("tried again without a pause")
	}
	g.next = time.Time{}
	g.look(t.Context())
	if h := n.Health(); h.Reason != "" || h.Restarts != 1 {
		t.Errorf("runs again: %+v", h)
	}
}

// A stop in order, under load and with clients from outside, says nothing at
// warning or above, and keeps every message that was acknowledged.
func TestStopsInOrder(t *testing.T) {
	defer testserver.NoLeaks(t, goleak.IgnoreCurrent())
	dir, log := t.TempDir(), &lines{}
	cfg := Config{Dir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := nats.Connect(n.ClientURL(), nats.NoReconnect(), nats.Timeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	js, err := jetstream.New(outside)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	acked := make(chan uint64)
	warm := make(chan struct{})
	go func() {
		var last uint64
		for {
			ack, err := js.Publish(context.Background(), "s", []byte("x"), jetstream.WithRetryAttempts(0))
			if err != nil {
				acked <- last
				return
			}
			if last = ack.Sequence; last == 200 {
				close(warm)
			}
		}
	}()
	<-warm
	before := log.String() // such as that the machine was too busy to read on
	begin := time.Now()
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	took, last := time.Since(begin), <-acked
	if text := strings.TrimPrefix(log.String(), before); text != "" {
		t.Errorf("said while it stopped:\n%s", text)
	}
	if n, err = Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	nc, err := n.Connect(t.Context(), "again")
	if err != nil {
		t.Fatal(err)
	}
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "S")
	if err != nil || st.CachedInfo().State.LastSeq < last {
		t.Errorf("%d were acknowledged: %v", last, err)
	}
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v with %d messages", took, last)
}
