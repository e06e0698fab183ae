package consume

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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer writes a stream as cdcd does.
type writer struct {
	t       *testing.T
	js      jetstream.JetStream
	counter int
	epoch   int
}

func newWriter(t *testing.T, nc *nats.Conn) *writer {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"cdc.shop.>"}}); err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, js: js}
	w.control("marker", "-", false)
	return w
}

func (w *writer) publish(subject, body string, header map[string]string) {
	w.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for k, v := range header {
		m.Header.Set(k, v)
		m.Header.Set("Cdc-Epoch", fmt.Sprint(w.epoch))
	}
	if _, err := w.js.PublishMsg(w.t.Context(), m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) control(kind, place string, last bool) {
	h := map[string]string{"Cdc-Kind": kind, "Cdc-Pos": place, "Cdc-Seq": fmt.Sprint(w.counter)}
	if last {
		h["Cdc-Tx-Last"] = "1"
	}
	w.publish("cdc.shop._cdcd", `{"op":"m"}`, h)
}

// tx writes a transaction of one row in each table.
func (w *writer) tx(id string, tables ...string) {
	for i, table := range tables {
		w.counter++
		h := map[string]string{"Cdc-Pos": fmt.Sprintf("%s#%d.0/1#%d", id, i, i), "Cdc-Seq": fmt.Sprint(w.counter)}
		if i == len(tables)-1 {
			h["Cdc-Tx-Last"] = "1"
		}
		again := false
		for _, later := range tables[i+1:] {
			again = again || later == table
		}
		if !again {
			h["Cdc-Subject-Last"] = "1"
		}
		w.publish("cdc.shop.shop."+table, fmt.Sprintf(`{"op":"c","after":{"id":%d},"ts_ms":1500}`, w.counter), h)
	}
}

// read reads until the stream's end, and prints the transactions.
func read(t *testing.T, nc *nats.Conn, c Config) (text []string, last Mark, err error) {
	t.Helper()
	c.Stream, c.UntilCaughtUp = "SHOP", true
	last = c.From
	r, err := Open(t.Context(), nc, c)
	if err != nil {
		return nil, last, err
	}
	err = r.Run(t.Context(), func(_ context.Context, tx *Tx) error {
		s := tx.ID
		for _, m := range tx.Messages {
			change, err := Decode[struct{ ID uint64 }](m)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %s%d", strings.TrimPrefix(m.Subject, "cdc.shop.shop."), change.After.ID)
		}
		text, last = append(text, s), tx.Mark
		return nil
	})
	return text, last, err
}

func TestTransactions(t *testing.T) {
	nc := testserver.NATS(t).Conn(t)
	w := newWriter(t, nc)
	w.tx("a:1", "x", "y")
	w.control("heartbeat", "-", false)
	w.tx("a:2", "y")
	w.tx("a:3", "x", "x", "y")
	all := []string{"a:1 x1 y2", "a:2 y3", "a:3 x4 x5 y6"}
	for _, c := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"all", Config{}, all},
		{"some", Config{Subjects: []string{"cdc.shop.*.x", "cdc.shop.shop.none"}}, []string{"a:1 x1", "a:3 x4 x5"}},
		{"narrow", Config{Subjects: []string{"cdc.shop.shop.y"}, Narrow: true}, []string{"a:1 y2", "a:2 y3", "a:3 y6"}},
		{"narrow, nothing there", Config{Subjects: []string{"cdc.shop.shop.none"}, Narrow: true}, nil},
		{"in parts", Config{TxBytesMax: 1}, []string{"a:1 x1", "a:1 y2", "a:2 y3", "a:3 x4", "a:3 x5", "a:3 y6"}},
	} {
		got, mark, err := read(t, nc, c.config)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
		w := c.config
		w.From = mark
		if mark.IsZero() {
			continue
		}
		if again, _, err := read(t, nc, w); len(again) > 0 || err != nil {
			t.Errorf("%s: again from the last mark: %v %v", c.name, again, err)
		}
	}
}

// What a reader must not pass over.
func TestWhatIsWrong(t *testing.T) {
	nc := testserver.NATS(t).Conn(t)
	w := newWriter(t, nc)
	w.tx("a:1", "x")
	w.tx("a:2", "x", "y")
	_, mark, err := read(t, nc, Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.js.Stream(t.Context(), "SHOP")
	if err != nil {
		t.Fatal(err)
	}
	w.counter++ // a row is lost
	w.tx("a:4", "x")
	if got, _, err := read(t, nc, Config{From: mark}); !errors.Is(err, ErrMissing) || len(got) > 0 {
		t.Errorf("behind a gap: %v %v", got, err)
	}
	if err := s.DeleteMsg(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got, _, err := read(t, nc, Config{}); !errors.Is(err, ErrMissing) {
		t.Errorf("with a row deleted: %v %v", got, err)
	}
	narrow := Config{Subjects: []string{"cdc.shop.shop.x"}, Narrow: true, From: Mark{Stream: "SHOP", Created: s.CachedInfo().Created, Sequence: 1}}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, nc, narrow); !errors.Is(err, ErrExpired) {
		t.Errorf("narrow, behind a purge: %v", err)
	}
	w.publish("cdc.shop.shop.x", "{}", nil)
	if _, _, err := read(t, nc, Config{From: Mark{Stream: "SHOP", Created: s.CachedInfo().Created, Sequence: 5, Counter: 4}}); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign message: %v", err)
	}
	if err := w.js.DeleteStream(t.Context(), "SHOP"); err != nil {
		t.Fatal(err)
	}
	two := newWriter(t, nc)
	two.epoch = 2
	two.tx("a:1", "x")
	two.epoch = 1
	two.tx("a:2", "x")
	if got, _, err := read(t, nc, Config{}); !errors.Is(err, ErrTwoWriters) || len(got) != 1 {
		t.Errorf("a writer that was replaced: %v %v", got, err)
	}
	if err := w.js.DeleteStream(t.Context(), "SHOP"); err != nil {
		t.Fatal(err)
	}
	newWriter(t, nc).tx("a:1", "x", "x", "x", "x", "x")
	if _, _, err := read(t, nc, Config{From: mark}); !errors.Is(err, ErrOtherStream) {
		t.Errorf("a stream made anew: %v", err)
	}
	if _, err := Open(t.Context(), nc, Config{Stream: "SHOP", Narrow: true, Subjects: []string{"a.*"}}); err == nil {
		t.Error("narrow with a wildcard is let through")
	}
}

// The broker is killed again and again while a service reads: nothing is
// missed, nothing comes twice.
func TestBrokerKilled(t *testing.T) {
	ns := testserver.NATS(t, testserver.JetStreamConfig("sync_interval: always"))
	nc := ns.Conn(t, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	w := newWriter(t, nc)
	const transactions = 300
	for i := range transactions {
		w.tx(fmt.Sprintf("a:%d", i), "x", "y")
	}
	r, err := Open(t.Context(), nc, Config{Stream: "SHOP", UntilCaughtUp: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = r.Run(t.Context(), func(_ context.Context, tx *Tx) error {
		if want := fmt.Sprintf("a:%d", seen); tx.ID != want || len(tx.Messages) != 2 || !tx.First || !tx.Last {
			return fmt.Errorf("%+v comes instead of %s", tx, want)
		}
		if seen++; seen%100 == 50 {
			ns.Kill()
			ns.Restart(t)
		}
		return nil
	})
	if err != nil || seen != transactions {
		t.Errorf("%d of %d transactions: %v", seen, transactions, err)
	}
}

func TestMarks(t *testing.T) {
	nc := testserver.NATS(t).Conn(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "marks"})
	if err != nil {
		t.Fatal(err)
	}
	one, two := NewMarks(bucket, "billing"), NewMarks(bucket, "billing")
	if m, err := one.Load(t.Context()); err != nil || !m.IsZero() {
		t.Fatalf("nothing kept yet: %+v %v", m, err)
	}
	want := Mark{Stream: "SHOP", Created: time.Now().UTC(), Sequence: 1 << 60, Counter: 7, Open: "a:1"}
	if err := one.Save(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := two.Load(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := two.Save(t.Context(), want); err != nil {
		t.Error(err)
	}
	if err := one.Save(t.Context(), want); !errors.Is(err, ErrFenced) {
		t.Errorf("an instance that is behind: %v", err)
	}
}
