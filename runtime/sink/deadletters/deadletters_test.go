package deadletters_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/deadletters"
)

func letters(from, n int) (list []deadletters.Letter) {
	for i := range n {
		list = append(list, deadletters.Letter{ID: fmt.Sprintf("mask/t:%d#0", from+i), Step: "mask", DB: "my shop", Table: "a.b",
			Body: fmt.Appendf(nil, `{"n":%d,"content":{}}`, from+i), Short: fmt.Appendf(nil, `{"n":%d}`, from+i)})
	}
	return list
}

// Each is there once, also when it is published again; the stream has bounds, takes
// new ones from a changed configuration, and never refuses.
func TestPublish(t *testing.T) {
	ns := testserver.NATS(t)
	nc := ns.Conn(t)
	connect := func(context.Context) (*nats.Conn, error) { return nc, nil }
	want := sink.DeadLetterStream{Name: "SHOP_DLQ", MaxAge: time.Hour, MaxBytes: 1 << 20, Replicas: 1}
	p := deadletters.New("shop", want, connect)
	for range 2 {
		if n, err := p.Publish(t.Context(), letters(0, 10)); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "SHOP_DLQ")
	if err != nil {
		t.Fatal(err)
	}
	if i := s.CachedInfo(); i.State.Msgs != 10 || i.Config.Discard != jetstream.DiscardOld || i.Config.MaxAge != time.Hour || i.Config.MaxBytes != 1<<20 {
		t.Errorf("%+v", i)
	}
	m, err := s.GetMsg(t.Context(), 3)
	if err != nil || m.Subject != "cdcd_dlq.shop.mask.my%20shop.a%2Eb" || m.Header.Get("Cdc-Dead-Letter") != "mask/t:2#0" || string(m.Data) != `{"n":2,"content":{}}` {
		t.Errorf("%+v %v", m, err)
	}

	want.MaxBytes = 2 << 20
	p = deadletters.New("shop", want, connect)
	large := letters(100, 1)
	large[0].Body = bytes.Repeat([]byte("x"), 2<<20) // over max_payload
	if n, err := p.Publish(t.Context(), large); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if m, err := s.GetLastMsgForSubject(t.Context(), "cdcd_dlq.shop.>"); err != nil || string(m.Data) != `{"n":100}` {
		t.Errorf("%+v %v", m, err)
	}
	for i := range 5 { // 5 MiB in all: the oldest go
		full := letters(200+i*4, 4)
		for j := range full {
			full[j].Body = bytes.Repeat([]byte("y"), 256<<10)
		}
		if n, err := p.Publish(t.Context(), full); n != 4 || err != nil {
			t.Fatal(n, err)
		}
	}
	if i, err := s.Info(t.Context()); err != nil || i.Config.MaxBytes != 2<<20 || i.State.FirstSeq == 1 || i.State.Bytes > 2<<20 {
		t.Errorf("%+v %v", i, err)
	}
}

func TestStreamsOfOthersAreLeftAlone(t *testing.T) {
	ns := testserver.NATS(t)
	nc := ns.Conn(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]jetstream.StreamConfig{
		"name":     {Name: "A_DLQ", Subjects: []string{"else"}},
		"subjects": {Name: "B", Subjects: []string{"cdcd_dlq.>"}},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		p := deadletters.New("shop", sink.DeadLetterStream{Name: "A_DLQ", MaxAge: time.Hour, MaxBytes: 1 << 20, Replicas: 1},
			func(context.Context) (*nats.Conn, error) { return nc, nil })
		n, err := p.Publish(t.Context(), letters(0, 1))
		if f := fault.Of(err); n != 0 || f.Code != deadletters.CodeStream || f.Class != fault.Environment || f.Hint == "" {
			t.Errorf("%s: %d %v", name, n, err)
		}
		if err := js.DeleteStream(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServerGone(t *testing.T) {
	ns := testserver.NATS(t)
	nc := ns.Conn(t, nats.MaxReconnects(-1))
	p := deadletters.New("shop", sink.DeadLetterStream{Name: "SHOP_DLQ", MaxAge: time.Hour, MaxBytes: 1 << 20, Replicas: 1},
		func(context.Context) (*nats.Conn, error) { return nc, nil })
	if n, err := p.Publish(t.Context(), letters(0, 2)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	ns.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if n, err := p.Publish(ctx, letters(2, 2)); n != 0 || fault.Of(err).Class != fault.Retryable {
		t.Fatal(n, err)
	}
	ns.Restart(t)
	deadline := time.Now().Add(time.Minute)
	for {
		n, err := p.Publish(t.Context(), letters(2, 2))
		if err == nil && n == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(n, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// What the user may not do is said at once, with what it needs.
func TestDenied(t *testing.T) {
	user := func(permissions string) testserver.NATSOption {
		return testserver.NATSConfig("authorization { users: [{user: cdcd, password: p, " + permissions + "}] }")
	}
	full := deadletters.Rights("shop", "SHOP_DLQ")
	for _, missing := range full.Publish {
		ns := testserver.NATS(t, user(full.String()))
		nc := ns.Conn(t, nats.UserInfo("cdcd", "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		p := deadletters.New("shop", sink.DeadLetterStream{Name: "SHOP_DLQ", MaxAge: time.Hour, MaxBytes: 1 << 20, Replicas: 1},
			func(context.Context) (*nats.Conn, error) { return nc, nil })
		less := full
		less.Publish = slices.DeleteFunc(slices.Clone(full.Publish), func(s string) bool { return s == missing })
		ns.Reload(t, user(less.String()))
		began := time.Now()
		n, err := p.Publish(t.Context(), letters(0, 3))
		f := fault.Of(err)
		took := time.Since(began) // what is not told is overdue after ten seconds
		if n != 0 || f.Code != sink.CodeDenied || f.Path != "SHOP_DLQ" || !strings.Contains(f.Hint, full.String()) || took > 9*time.Second {
			t.Errorf("without %s: %d published, %v, hint %s, after %v", missing, n, err, f.Hint, took)
		}
		ns.Reload(t, user(full.String()))
		if n, err := p.Publish(t.Context(), letters(0, 3)); n != 3 || err != nil {
			t.Errorf("with %s: %d published, %v", missing, n, err)
		}
	}
}
