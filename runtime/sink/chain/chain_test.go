package chain_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

// instant is a broker whose answers come before Send has returned.
type instant struct {
	*line
	reads     int
	session   uint64
	beforePut func() // what happens while a marker is on its way; nil for nothing
}

func newInstant() *instant {
	return &instant{line: &line{b: newBroker(1, faults{}), writer: "w"}}
}

func (l *instant) Send(m *chain.Outgoing) error {
	if m.Number == 1 && m.Session != l.session {
		return chain.ErrSession
	}
	out := *m
	for i, v := range out.Values {
		out.Values[i] = strings.Clone(v) // views end with the call
	}
	l.b.take(packet{out: out, writer: l.writer, answer: func(a chain.Ack, _ error) { l.notify(a) }})
	return nil
}

func (l *instant) Flush() error { return nil }

func (l *instant) End(run, sent uint64, atomic bool) error {
	l.b.take(packet{out: chain.Outgoing{Run: run, Number: sent + 1, Atomic: atomic}, end: true, writer: l.writer,
		answer: func(a chain.Ack, _ error) { l.notify(a) }})
	return nil
}

func (l *instant) Put(_ context.Context, m *chain.Outgoing) error {
	if f := l.beforePut; f != nil {
		l.beforePut = nil
		f()
	}
	if m.Session != l.session {
		return chain.ErrSession
	}
	var failed error
	l.b.take(packet{out: *m, answer: func(_ chain.Ack, err error) { failed = err }})
	return failed
}

func (l *instant) State(ctx context.Context) (chain.State, error) {
	l.reads++
	n := uint64(len(l.b.log))
	return chain.State{Session: l.session, Created: l.b.created, FirstSeq: 1, LastSeq: n, Messages: n}, nil
}

func config() chain.Config {
	return chain.Config{Pipeline: "p", Stream: "S", Control: "cdc.p._cdcd", Fingerprint: "f", Now: time.Now}
}

func start(context.Context) (sdk.Position, error) { return "p0", nil }

// claimed is a broker, and a writer that has its empty stream.
func claimed(t *testing.T) (*instant, *chain.Chain) {
	t.Helper()
	l := newInstant()
	c := chain.New(config(), l)
	t.Cleanup(func() { c.Close(context.Background()) })
	if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
		t.Fatal(err)
	}
	return l, c
}

// fed is a broker that has 300 groups of a feed.
func fed(t *testing.T) *instant {
	t.Helper()
	l := newInstant()
	c := chain.New(config(), l)
	defer c.Close(t.Context())
	r := &sinktest.Run{Feed: &sinktest.Feed{Subject: "cdc.p.d.t", Control: "cdc.p._cdcd"}, Groups: 300}
	if err := r.Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnswersMayComeBeforeSendReturns(t *testing.T) {
	l := fed(t)
	if l.reads != 1 {
		t.Errorf("the stream was read %d times without need", l.reads-1)
	}
}

func TestHeadersOfAConnectorCannotTouchTheProtocol(t *testing.T) {
	l, c := claimed(t)
	for _, lines := range []string{"Nats-Rollup: all\n", "nats-expected-last-sequence: 0\n", "CDC-Seq: 1\n", "no colon\n", ": x\n", "a b: x\n"} {
		g := &sink.Group{Base: "p0", Messages: []sink.Message{{Subject: "s", Headers: []byte("Fine: yes\n" + lines)}}}
		if err := c.Publish(t.Context(), g); !fault.HasCode(err, sink.CodeHeaderReserved) || fault.Of(err).Class != fault.Poison {
			t.Errorf("%q: %v", lines, err)
		}
	}
	if n := len(l.b.log); n != 1 {
		t.Errorf("%d messages were sent beside the marker", n-1)
	}
}

// A message that asks for it carries its group's base, and those behind it name
// it: rows of a table went out since the one before.
func TestRebase(t *testing.T) {
	l, c := claimed(t)
	for n, g := range []*sink.Group{
		{Base: "p1", Messages: []sink.Message{{Subject: "s", Place: sink.Place{Tx: "a", Parts: 1}}}},
		{Base: "p2", Messages: []sink.Message{{Subject: "s", Place: sink.Place{Tx: "b", Parts: 1}, Rebase: true}, {Subject: "s", Place: sink.Place{Tx: "c", Parts: 1}}}},
	} {
		if g.Number, g.End, g.Done = uint64(n+1), g.Base, func() {}; c.Publish(t.Context(), g) != nil {
			t.Fatal("not published")
		}
	}
	var got []string
	for _, m := range l.b.log {
		got = append(got, m.heads["Cdc-Base"]+m.heads["Cdc-Base-Seq"])
	}
	if want := "p0 1 p2 3"; strings.Join(got, " ") != want {
		t.Errorf("bases %v, want %s", got, want)
	}
}

// The message key goes out as Cdc-Key where it is asked for, and only what a
// header can carry.
func TestKeyHeader(t *testing.T) {
	l, c := claimed(t)
	for _, key := range []string{"a\nb", "a\r", " a", "a ", "\x00"} {
		g := &sink.Group{Base: "p0", Messages: []sink.Message{{Subject: "s", Key: []byte(key), KeyHeader: true}}}
		if err := c.Publish(t.Context(), g); !fault.HasCode(err, sink.CodeHeaderReserved) || fault.Of(err).Class != fault.Poison {
			t.Errorf("%q: %v", key, err)
		}
	}
	g := &sink.Group{Base: "p0", Messages: []sink.Message{{Subject: "s", Key: []byte(`{"id":"ü"}`), KeyHeader: true}, {Subject: "s", Key: []byte("a\nb")}}}
	if err := c.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if len(l.b.log) != 3 || l.b.log[1].heads["Cdc-Key"] != `{"id":"ü"}` || l.b.log[2].heads["Cdc-Key"] != "" {
		t.Errorf("%+v", l.b.log)
	}
	big := &sink.Group{Base: "p0", Messages: []sink.Message{{Subject: "s", Key: []byte(strings.Repeat("k", l.MessageBytesMax())), KeyHeader: true}}}
	if err := c.Publish(t.Context(), big); !fault.HasCode(err, sink.CodeMessageTooLarge) {
		t.Errorf("a key as large as a message: %v", err)
	}
}

func TestEveryThousandthMessageHasItsBase(t *testing.T) {
	l := fed(t)
	gap := 0
	for i, m := range l.b.log {
		base, seq := m.heads["Cdc-Base"], m.heads["Cdc-Base-Seq"]
		if (base == "") == (seq == "") {
			t.Fatalf("message %d has the base %q and the base's sequence %q", i+1, base, seq)
		}
		if gap++; base != "" {
			gap = 0
		}
		if gap >= 1000 {
			t.Fatalf("message %d: none of the 1,000 before it has a base", i+1)
		}
		if (m.heads["Cdc-Fingerprint"] != "") != (base != "") || m.heads["Cdc-Epoch"] == "" {
			t.Fatalf("message %d: %v", i+1, m.heads)
		}
		if (m.heads["Cdc-Kind"] == "") != strings.HasSuffix(m.subject, ".t") {
			t.Fatalf("message %d goes to %s: %v", i+1, m.subject, m.heads)
		}
	}
}

func TestBadTokens(t *testing.T) {
	for _, token := range []string{"x", "1:2:3", "1:2:3:x", "1:2:3:4:5:6", "1:-2:3:4"} {
		c := chain.New(config(), newInstant())
		_, err := c.Claim(t.Context(), sink.Hint{Token: token, Position: "p", Exact: true}, start)
		if !fault.HasCode(err, "bad_token") {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// The broker compares lengths, and a stream that lost its tail reaches the same
// length again with other messages. A marker that was decided on before must not
// get behind them: the broker's restart ended the connection that it was for.
func TestSequencesAreReused(t *testing.T) {
	clock := time.UnixMilli(1_000_000)
	cfg := config()
	cfg.Now = func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	group := func(tx string, n uint64) *sink.Group {
		g := &sink.Group{Base: "p0", End: "p1"}
		for i := range n {
			g.Messages = append(g.Messages, sink.Message{Subject: "cdc.p.d.t", Body: []byte(tx),
				Place: sink.Place{Tx: tx, Row: i, Parts: 1, N: i}})
		}
		return g
	}
	write := func(c *chain.Chain, g *sink.Group) {
		t.Helper()
		if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := newInstant()
	write(chain.New(cfg, l), group("old", 10))
	length := len(l.b.log)

	late := newInstant()
	late.b = l.b
	late.beforePut = func() { // it has read the anchor: the last of "old"
		l.b.log, l.b.runs = l.b.log[:length-5], map[string]*brokerRun{}
		other := newInstant()
		other.b, other.writer = l.b, "other"
		write(chain.New(cfg, other), group("new", 4)) // a marker and four: the old length
		late.session++
	}
	a, err := chain.New(cfg, late).Claim(t.Context(), sink.Hint{}, start)
	if err != nil {
		t.Fatal(err)
	}
	before, marker := l.b.log[length-1], l.b.log[length]
	if a.At.Tx != "new" || before.body != "new" || marker.heads["Cdc-Epoch"] <= before.heads["Cdc-Epoch"] {
		t.Fatalf("anchor %+v, message before the marker %+v, marker %+v", a, before, marker)
	}
}

// The same for the first message of a run, of a writer that stood idle.
func TestIdleWriterMeetsReusedSequences(t *testing.T) {
	l, c := claimed(t)
	other := newInstant()
	other.b, other.writer = l.b, "other"
	conf := config()
	conf.Now = func() time.Time { return time.Now().Add(time.Hour) } // a later epoch
	l.b.log = nil
	if _, err := chain.New(conf, other).Claim(t.Context(), sink.Hint{}, start); err != nil {
		t.Fatal(err)
	}
	l.session++
	g := &sink.Group{Base: "p0", End: "p1", Messages: []sink.Message{{Subject: "cdc.p.d.t", Place: sink.Place{Tx: "t", Parts: 1}}}}
	if err := c.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(t.Context()); !sink.IsFenced(err) {
		t.Errorf("the idle writer went on: %v", err)
	}
	if len(l.b.log) != 1 {
		t.Errorf("%d messages behind the other writer's marker", len(l.b.log)-1)
	}
}

// The anchor says whether its transaction is complete, and which configuration
// it was begun with, however often other configurations have asked since.
func TestAnchorOfAnotherConfiguration(t *testing.T) {
	claim := func(l *instant, fingerprint string, hint sink.Hint, send ...sink.Message) sink.Anchor {
		t.Helper()
		conf := config()
		conf.Fingerprint = fingerprint
		c := chain.New(conf, l)
		defer c.Close(t.Context())
		a, err := c.Claim(t.Context(), hint, start)
		if err != nil {
			t.Fatal(err)
		}
		if len(send) > 0 {
			if err := c.Publish(t.Context(), &sink.Group{Base: "p1", End: "p2", Messages: send}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	row := func(last bool) sink.Message {
		return sink.Message{Subject: "cdc.p.d.t", Place: sink.Place{Tx: "t", Parts: 1}, TxLast: last}
	}
	for _, c := range []struct {
		name     string
		last     sink.Message
		complete bool
		prints   []string // that the claims of "old", "new", "new" and "old" find
	}{
		{"inside a transaction", row(false), false, []string{"old", "old", "old", "old"}},
		{"at its end", row(true), true, []string{"old", "old", "new", "new"}},
		{"at the end of a large one", sink.Message{Kind: sink.KindTxEnd, Subject: "cdc.p._cdcd", Place: sink.Place{Tx: "t", Row: 9, N: 9}, TxLast: true},
			true, []string{"old", "old", "new", "new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newInstant()
			claim(l, "old", sink.Hint{}, c.last)
			for i, fingerprint := range []string{"old", "new", "new", "old"} {
				a := claim(l, fingerprint, sink.Hint{})
				if a.At != c.last.Place || a.Complete != c.complete || a.Fingerprint != c.prints[i] || a.Base != "p0" {
					t.Errorf("claim %d by %s: %+v", i, fingerprint, a)
				}
			}
		})
	}
}

// A writer is told its number before it stands in the stream, and whose the last
// message was.
func TestClaimsAreAnnounced(t *testing.T) {
	l := newInstant()
	c := chain.New(config(), l)
	defer c.Close(t.Context())
	var announced, written []uint64
	hint := sink.Hint{Claiming: func(epoch uint64) error {
		announced = append(announced, epoch)
		written = append(written, uint64(len(l.b.log)))
		return nil
	}}
	first, err := c.Claim(t.Context(), hint, start)
	if err != nil || first.Writer != 0 {
		t.Fatal(first, err)
	}
	second, err := c.Claim(t.Context(), hint, start)
	if err != nil || second.Writer != first.Epoch || second.Epoch <= first.Epoch {
		t.Fatal(second, err)
	}
	if len(announced) != 2 || announced[0] != first.Epoch || announced[1] != second.Epoch || written[0] != 0 || written[1] != 1 {
		t.Error(announced, written)
	}
	hint.Claiming = func(uint64) error { return errors.New("the disk is full") }
	if _, err := c.Claim(t.Context(), hint, start); err == nil || len(l.b.log) != 2 {
		t.Errorf("claimed without saying so: %d messages, %v", len(l.b.log), err)
	}
}
