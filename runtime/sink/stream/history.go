package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

const (
	// readMessagesMax and readBytesMax bound what one pull of messages brings.
	readMessagesMax = 1024
	readBytesMax    = 4 << 20
	// readPatience is how long any answer and the next message may take. A broker
	// that came back without some of them never sends what it had announced.
	readPatience = 5 * time.Second
	// readForgotten is when the server forgets a consumer that nobody reads from.
	readForgotten = 30 * time.Second
)

// History implements sink.Historian: it goes through the control messages that
// the stream has by now.
func (s *Sink) History(ctx context.Context, token string, f func(body []byte) error) error {
	seq, err := chain.SequenceOf(token)
	if err != nil {
		return err
	}
	// The stream may have lost its tail: the sequence is then beyond its end, and
	// there is nothing behind it.
	return s.Read(ctx, seq+1, false, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if m.Headers().Get(chain.HeaderKind.String()) == sink.KindHistory.String() {
			if err := f(m.Data()); err != nil {
				return false, err
			}
		}
		return meta.NumPending > 0, nil
	}, s.spec.History)
}

// Read calls f with the stream's messages on the subjects from a sequence on, in
// order, until f returns false. It returns at once where there is none, and
// waits for the next one for readPatience. headersOnly leaves the bodies away.
//
// A message that is left out on its way, as a client drops them that is read slowly,
// is asked for again, by another consumer. Nothing else is mended underway: a consumer
// or a connection lost is a fault that may be tried again. What mends by itself,
// as ordered consumers of the client library do, has a patience of its own, or none:
// a request on its way when the broker dies is never answered.
func (s *Sink) Read(ctx context.Context, from uint64, headersOnly bool, f func(jetstream.Msg, *jetstream.MsgMetadata) (more bool, err error), subjects ...string) error {
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return err
	}
	s.log.rights.Over(nc)
	return s.log.ask(ctx, []string{"$JS.API.CONSUMER."}, func(ctx context.Context) error {
		for {
			behind, err := s.read(ctx, nc, from, headersOnly, f, subjects)
			if !errors.Is(err, errHole) || behind == from {
				return err
			}
			from = behind
		}
	})
}

// errHole says that a message was left out.
var errHole = errors.New("a message was left out")

// read reads by one consumer, and returns the sequence behind the last message that f
// was called with; from where there was none. The error is a fault that wraps errHole
// where the next message was left out.
func (s *Sink) read(ctx context.Context, nc *nats.Conn, from uint64, headersOnly bool, f func(jetstream.Msg, *jetstream.MsgMetadata) (more bool, err error), subjects []string) (behind uint64, err error) {
	behind = from
	js, err := jetstream.New(nc)
	if err != nil {
		return behind, s.setupFault(err)
	}
	consumer, err := s.consumer(ctx, js, from, headersOnly, subjects)
	if err != nil {
		return behind, err
	}
	defer func() { // or the server forgets it some time later
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPatience)
		defer cancel()
		_ = js.DeleteConsumer(brief, s.spec.Name, consumer.CachedInfo().Name)
	}()
	if consumer.CachedInfo().NumPending == 0 {
		return behind, nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(readMessagesMax, readBytesMax))
	if err != nil {
		return behind, s.setupFault(err)
	}
	defer messages.Stop()
	number := uint64(0) // of the message among those that the consumer gave
	for more := true; more; {
		m, err := nextWithin(ctx, messages, readPatience)
		if err != nil {
			return behind, s.readFault(ctx, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return behind, s.setupFault(err)
		}
		if number++; meta.Sequence.Consumer != number {
			return behind, unavailable(s.spec.Name, fmt.Errorf("%w: message %d was read as number %d, and %d was next", errHole, meta.Sequence.Stream, meta.Sequence.Consumer, number))
		}
		if more, err = f(m, meta); err != nil {
			return behind, err
		}
		behind = meta.Sequence.Stream + 1
	}
	return behind, nil
}

// consumer makes one that the server forgets by itself.
func (s *Sink) consumer(ctx context.Context, js jetstream.JetStream, from uint64, headersOnly bool, subjects []string) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, HeadersOnly: headersOnly,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: readForgotten}
	if len(subjects) == 1 { // as the server's permissions can tell them apart
		cfg.FilterSubject = subjects[0]
	} else {
		cfg.FilterSubjects = subjects
	}
	one, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	consumer, err := js.CreateConsumer(one, s.spec.Name, cfg)
	if err != nil {
		return nil, s.readFault(ctx, err)
	}
	return consumer, nil
}

func (s *Sink) readFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.setupFault(err)
}

func nextWithin(ctx context.Context, messages jetstream.MessagesContext, d time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}
