package oracle

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// What a broker stores and gives back is judged as what was published.
func TestReadWholeStream(t *testing.T) {
	conn := testserver.NATS(t).Conn(t)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"cdc.p.>"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := Read(ctx, conn, "S", func(Message) { t.Error("a message of an empty stream") }); n != 0 || err != nil {
		t.Fatalf("an empty stream gave %d messages, %v", n, err)
	}
	p := stream()
	for _, m := range p.messages {
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Body}); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()

	read := func() Report {
		c := NewChecker(Spec{Pipeline: "p"})
		if n, err := Read(ctx, conn, "S", c.Message); err != nil || n != c.Report().Messages {
			t.Fatalf("%d messages, %v", n, err)
		}
		c.Compare(p.database())
		return c.Report()
	}
	if r := read(); r.Wrong() || r.Messages != len(p.messages) {
		t.Fatalf("%d of %d messages: %+v", r.Messages, len(p.messages), r)
	}
	s, err := js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(ctx, 100); err != nil {
		t.Fatal(err)
	}
	if r := read(); r.Lost != 1 {
		t.Errorf("a message was deleted: %+v %q", r.Counts, r.Findings)
	}
}
