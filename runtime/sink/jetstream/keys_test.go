package jetstream_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Keys, the headers of a change of key, and a message without a body come
// through a real server as they were given.
func TestKeysAndTombstones(t *testing.T) {
	t.Run("external", func(t *testing.T) { keysAndTombstones(t, connect(t, testserver.NATS(t))) })
	t.Run("embedded", func(t *testing.T) { keysAndTombstones(t, connectInside(t, mode{})) })
}

func keysAndTombstones(t *testing.T, nc *nats.Conn) {
	s := open(t, nc, config())
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial(feed())); err != nil {
		t.Fatal(err)
	}
	const subject, key = "cdc.shop.shop.orders", `{"id":7,"näme":"日本 \"x\"\n\\"}`
	place := func(part uint32) sink.Place { return sink.Place{Tx: "a:1", Part: part, Parts: 3, N: uint64(part)} }
	headers := []byte("__debezium.newkey: {\"id\":8}\nOther: a b\n")
	g := &sink.Group{Base: "p0", End: "p1", Messages: []sink.Message{
		{Subject: subject, Key: []byte(key), KeyHeader: true, Body: []byte("delete"), Headers: headers, Place: place(0)},
		{Subject: subject, Key: []byte(key), KeyHeader: true, Headers: headers, Place: place(1)},
		{Subject: subject, Key: []byte("not sent"), Body: []byte("create"), Place: place(2), TxLast: true},
	}}
	if err := s.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := j.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ body, key, newkey, other, pos string }{
		{"delete", key, `{"id":8}`, "a b", "a:1#0.0/3#0"}, {"", key, `{"id":8}`, "a b", "a:1#0.1/3#1"}, {"create", "", "", "", "a:1#0.2/3#2"},
	} {
		m, err := st.GetMsg(t.Context(), uint64(i+2)) // behind the marker
		if err != nil {
			t.Fatal(err)
		}
		h := m.Header
		if string(m.Data) != want.body || h.Get("Cdc-Key") != want.key || h.Get("Cdc-Pos") != want.pos {
			t.Errorf("message %d: %q, %v", i, m.Data, h)
		}
		if len(h["__debezium.newkey"]) > 0 != (want.newkey != "") || want.newkey != "" && h["__debezium.newkey"][0] != want.newkey || h.Get("Other") != want.other {
			t.Errorf("message %d: %v", i, h)
		}
	}
}
