package chain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// promptLog is a broker that answers within Send: the answer to the message
// that ends a run comes before Send returns.
type promptLog struct {
	seq     uint64
	created time.Time
	records map[uint64]*Record
	notify  func(Ack)
	puts    int
	missing uint64 // messages from the middle
}

func (l *promptLog) store(m *Outgoing) {
	l.seq++
	r := &Record{Seq: l.seq, Headers: map[string]string{}}
	for i, v := range m.Values {
		if v != "" {
			r.Headers[Header(i).String()] = string([]byte(v))
		}
	}
	l.records[l.seq] = r
}

func (l *promptLog) State(context.Context) (State, error) {
	return State{Created: l.created, FirstSeq: 1, LastSeq: l.seq, Messages: l.seq - l.missing}, nil
}

func (l *promptLog) Get(_ context.Context, seq uint64) (*Record, error) {
	if r := l.records[seq]; r != nil {
		return r, nil
	}
	return nil, ErrNoMessage
}

func (l *promptLog) Put(_ context.Context, m *Outgoing) error { l.puts++; l.store(m); return nil }

func (l *promptLog) Send(m *Outgoing) error {
	l.store(m)
	l.notify(Ack{Run: m.Run, Count: m.Number, Ended: m.Last})
	return nil
}

func (l *promptLog) Flush() error { return nil }

func (l *promptLog) End(run, sent uint64, _ bool) error {
	l.notify(Ack{Run: run, Count: sent, Ended: true})
	return nil
}

func (l *promptLog) Notify(f func(Ack))   { l.notify = f }
func (l *promptLog) MessageBytesMax() int { return 1 << 20 }
func (l *promptLog) AtomicMax() int       { return 1000 }

func claimed(t *testing.T) (*Chain, *promptLog) {
	t.Helper()
	log := &promptLog{created: time.Unix(1, 0), records: map[uint64]*Record{}}
	c := New(Config{Pipeline: "p", Stream: "S", Control: "c._cdcd", Fingerprint: "f", Now: time.Now}, log)
	if _, err := c.Claim(t.Context(), sink.Hint{}, func(context.Context) (sdk.Position, error) { return "begin", nil }); err != nil {
		t.Fatal(err)
	}
	return c, log
}

func publishOne(t *testing.T, c *Chain, number uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	g := &sink.Group{Number: number, Base: "begin", End: "end", Messages: []sink.Message{{Subject: "c.t", Body: []byte("x"), Place: sink.Place{Tx: "t", N: number, Parts: 1}}}}
	if err := c.Publish(ctx, g); err != nil {
		t.Fatalf("group %d: %v", number, err)
	}
	if got, err := c.Wait(ctx); err != nil || len(got) != 1 || got[0].Group != g {
		t.Fatalf("group %d: Wait = %v, %v", number, got, err)
	}
}

// An answer that comes before Send returns is an end in order, not a fault.
func TestPromptAnswer(t *testing.T) {
	c, log := claimed(t)
	markers := log.puts
	for n := range uint64(50) {
		publishOne(t, c, n)
	}
	if log.puts != markers {
		t.Errorf("%d markers were written although nothing went wrong", log.puts-markers)
	}
}

// A fault that comes while no group waits is mended by the next Publish: nobody
// calls Wait then.
func TestPublishMendsWhileIdle(t *testing.T) {
	c, log := claimed(t)
	publishOne(t, c, 0)
	c.fail(errors.New("the connection was lost"))
	markers := log.puts
	publishOne(t, c, 1)
	if log.puts != markers+1 {
		t.Errorf("%d markers, want one: the stream was read again", log.puts-markers)
	}
}

// A stream may lose messages from its middle and take new ones without a word.
func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log := claimed(t)
		publishOne(t, c, 1)
		log.missing = 3
		publishOne(t, c, 2) // not every message is worth a look
		time.Sleep(auditEvery)
		g := &sink.Group{Number: 3, Base: "begin", End: "end", Messages: []sink.Message{{Subject: "c.t", Place: sink.Place{Tx: "t", N: 3, Parts: 1}}}}
		if err := c.Publish(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		_, err := c.Wait(t.Context())
		if f := fault.Of(err); f.Code != sink.CodeStreamGaps || f.Class != fault.Environment {
			t.Fatalf("3 messages are missing: %v", err)
		}
		c.cfg.GapsAccepted = 3
		if _, err := c.Claim(t.Context(), sink.Hint{}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(auditEvery)
		publishOne(t, c, 4)
	})
}
