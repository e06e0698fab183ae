package nats_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/natsd/natsdtest"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/nats"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

func open(t *testing.T, nc *natsio.Conn) sink.Sink {
	t.Helper()
	s := nats.Open(nats.Config{}, sink.Env{Pipeline: "shop", NATS: func(context.Context) (*natsio.Conn, error) { return nc, nil }})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func feed() *sinktest.Feed {
	return &sinktest.Feed{Subject: "cdc.shop.shop.orders", Control: "cdc.shop._cdcd", BodyBytes: 64}
}

func initial(context.Context) (sdk.Position, error) { return "p0", nil }

// listener is a subscriber that does what the guide says: it drops what it has
// seen by Cdc-Seq, and would notice a gap.
type listener struct {
	t      *testing.T
	nc     *natsio.Conn
	sub    *natsio.Subscription
	mu     sync.Mutex
	bodies []string
	wrong  string
	came   int // messages, those that came again included
}

func listen(t *testing.T, nc *natsio.Conn) *listener {
	t.Helper()
	l := &listener{t: t, nc: nc}
	sub, err := nc.Subscribe("cdc.shop.>", l.take)
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
	}
	if err != nil {
		t.Fatal(err)
	}
	l.sub = sub
	return l
}

func (l *listener) take(m *natsio.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.came++; m.Header.Get("Cdc-Kind") != "" {
		return
	}
	seq, err := strconv.Atoi(m.Header.Get("Cdc-Seq"))
	switch {
	case err != nil || seq > len(l.bodies)+1:
		l.wrong = fmt.Sprintf("Cdc-Seq %q behind %d: %v", m.Header.Get("Cdc-Seq"), len(l.bodies), err)
	case seq == len(l.bodies)+1:
		l.bodies = append(l.bodies, string(m.Data))
	}
}

// read returns what has come, once nothing more comes.
func (l *listener) read() []string {
	l.t.Helper()
	if err := l.nc.Flush(); err != nil {
		l.t.Fatal(err)
	}
	for before := -1; ; time.Sleep(200 * time.Millisecond) {
		l.mu.Lock()
		now, bodies, wrong := l.came, l.bodies, l.wrong
		l.mu.Unlock()
		if wrong != "" {
			l.t.Fatal(wrong)
		}
		waiting, _, err := l.sub.Pending()
		if err != nil {
			l.t.Fatal(err)
		}
		if now == before && waiting == 0 {
			return bodies
		}
		before = now
	}
}

// place is subjects with somebody who listens all the time.
type place struct {
	nc *natsio.Conn
	l  *listener
}

func (p place) Open(t *testing.T) sink.Sink  { return open(t, p.nc) }
func (p place) Bodies(t *testing.T) []string { p.l.t = t; return p.l.read() }

func TestSuite(t *testing.T) {
	sinktest.Suite(t, feed(), func(t *testing.T) sinktest.Place {
		ns := testserver.NATS(t)
		return place{natsdtest.Connect(t, natsd.Config{URL: ns.URL()}), listen(t, ns.Conn(t))}
	})
}

// A server that is killed under load costs no row that somebody was there for,
// or shows it as a gap in Cdc-Seq; nothing is confirmed that was not flushed.
func TestServerKilled(t *testing.T) {
	ns := testserver.NATS(t)
	nc := natsdtest.Connect(t, natsd.Config{URL: ns.URL()})
	f := feed()
	r := sinktest.Run{Feed: f}
	for range 5 {
		s := open(t, nc)
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		go func() { done <- once(ctx, s, &r) }()
		time.Sleep(100 * time.Millisecond)
		ns.Kill()
		err := <-done
		cancel()
		if !fault.HasCode(err, sink.CodeSinkUnreachable) {
			t.Fatalf("the server was killed, and the sink says: %v", err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		ns.Restart(t)
		for end := time.Now().Add(time.Minute); !nc.IsConnected(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no connection to the server that is back")
			}
		}
	}
	l := listen(t, ns.Conn(t))
	r.Groups, r.Confirmed = 50, 0
	before := int(r.Hint.Messages)
	l.bodies = make([]string, before) // this one came late, and starts counting where it comes in
	s := open(t, nc)
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := len(l.read()) - before; got != r.Confirmed || got == 0 {
		t.Errorf("%d messages came, %d confirmed", got, r.Confirmed)
	}
}

// once publishes until something is wrong, which it returns at once.
func once(ctx context.Context, s sink.Sink, r *sinktest.Run) error {
	a, err := s.Claim(ctx, r.Hint, initial)
	if err != nil {
		return err
	}
	c, err := r.Feed.From(a)
	if err != nil {
		return err
	}
	for {
		g := c.Next(20, false)
		if err := s.Publish(ctx, g); err != nil {
			return err
		}
		confirmed, err := s.Wait(ctx)
		if err != nil {
			return err
		}
		for _, k := range confirmed {
			r.Hint = sink.Hint{Token: k.Token, Position: k.Group.End, Exact: true, Messages: c.Messages()}
		}
	}
}

// A message that the server refuses halts the pipeline; one that is too large
// is told before anything of its group is sent.
func TestRefused(t *testing.T) {
	ns := testserver.NATS(t, testserver.NATSConfig(`max_payload: 64KB
authorization { users: [ {user: u, password: p, permissions: {publish: ["$JS.API.>", "cdc.shop.shop.good"], subscribe: ">"}} ] }`))
	nc := natsdtest.Connect(t, natsd.Config{URL: ns.URL(), Login: natsd.Login{User: "u", Password: unit.NewSecret("p")}})
	for name, tt := range map[string]struct {
		subject string
		bytes   int
		code    string
	}{
		"allowed": {"cdc.shop.shop.good", 10, ""},
		"denied":  {"cdc.shop.shop.bad", 10, nats.CodeRefused},
		"large":   {"cdc.shop.shop.good", 65 << 10, sink.CodeMessageTooLarge},
	} {
		s := open(t, nc)
		if _, err := s.Claim(t.Context(), sink.Hint{}, initial); err != nil {
			t.Fatalf("%s: %v", name, err) // also behind one that was denied
		}
		g := &sink.Group{Base: "p0", End: "p1", Messages: []sink.Message{{Subject: tt.subject, Body: make([]byte, tt.bytes), Place: sink.Place{Tx: "t", Parts: 1}}}}
		if err := s.Publish(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		_, err := s.Wait(t.Context())
		if f := fault.Of(err); err == nil && tt.code != "" || err != nil && f.Code != tt.code {
			t.Errorf("%s: %v, want %q", name, err, tt.code)
		}
	}
}

// Nobody gets this sink by accident.
func TestDeliveryMustBeWritten(t *testing.T) {
	for delivery, want := range map[string]bool{"": false, sink.ExactlyOnce: false, sink.AtLeastOnce: false, sink.AtMostOnce: true} {
		cfg := nats.Kind().NewConfig().(*nats.Config)
		if cfg.Delivery != "" {
			t.Fatal("there is a default")
		}
		cfg.Delivery = delivery
		faults := cfg.Validate()
		if ok := len(faults) == 0; ok != want {
			t.Errorf("%q: %v", delivery, faults)
		}
		if !want && (faults[0].Code != nats.CodeDelivery || !strings.Contains(faults[0].Hint, "jetstream")) {
			t.Errorf("%q: %v", delivery, faults[0])
		}
	}
	cfg := nats.Kind().NewConfig().(*nats.Config)
	cfg.Delivery, cfg.Subject, cfg.TooLarge = sink.AtMostOnce, "x.{nonsense}", "claim_check"
	if faults := cfg.Validate(); len(faults) != 2 || faults[0].Path != "on_too_large" || faults[1].Path != "subject" {
		t.Error(faults)
	}
}
