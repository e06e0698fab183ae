package consume

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// Who reads to the end comes to one, also where the stream has lost it.
func TestEndIsGone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		purge []jetstream.StreamPurgeOpt
		until uint64 // another end than the stream has
		want  error
	}{
		{"everything is gone", nil, 0, ErrExpired},
		{"all but what came later is gone", []jetstream.StreamPurgeOpt{jetstream.WithPurgeKeep(1)}, 0, ErrExpired},
		{"the tail is gone", nil, 100, ErrMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nc := testserver.NATS(t).Conn(t)
			w := newWriter(t, nc)
			w.tx("a:1", "x", "y")
			r, err := Open(t.Context(), nc, Config{Stream: "SHOP", UntilCaughtUp: true, Narrow: true, Subjects: []string{"cdc.shop.shop.x"}})
			if err != nil {
				t.Fatal(err)
			}
			st, err := w.js.Stream(t.Context(), "SHOP")
			if err != nil {
				t.Fatal(err)
			}
			consumer, err := st.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{FilterSubjects: r.config.Subjects})
			if err != nil {
				t.Fatal(err)
			}
			messages, err := consumer.Messages()
			if err != nil {
				t.Fatal(err)
			}
			defer messages.Stop()
			if _, err := messages.Next(jetstream.NextContext(t.Context())); err != nil {
				t.Fatal(err)
			}
			w.tx("a:2", "y")
			if err := st.Purge(t.Context(), tt.purge...); err != nil {
				t.Fatal(err)
			}
			r.until = max(r.until, tt.until)
			ctx, cancel := context.WithTimeout(t.Context(), 3*answerTimeout)
			defer cancel()
			if _, err := r.next(ctx, messages); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// A server that ended with a question on its way never answers it.
func TestUnanswered(t *testing.T) {
	nc := testserver.NATS(t, testserver.NATSPlain()).Conn(t)
	for subject, answer := range map[string]string{
		"$JS.API.STREAM.INFO.SHOP":  `{"config":{"name":"SHOP"},"state":{"messages":5,"first_seq":1,"last_seq":5}}`,
		"$JS.API.CONSUMER.CREATE.>": `{"stream_name":"SHOP","name":"c","config":{},"num_pending":5}`,
		"$JS.API.CONSUMER.INFO.>":   "",
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
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
	r, err := Open(t.Context(), nc, Config{Stream: "SHOP", UntilCaughtUp: true, Narrow: true, Subjects: []string{"cdc.shop.shop.x"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*answerTimeout)
	defer cancel()
	var lost *lostError
	if err := r.read(ctx, nil); !errors.As(err, &lost) {
		t.Errorf("%v, want another try", err)
	}
}
