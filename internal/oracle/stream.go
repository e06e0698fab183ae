package oracle

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Read hands f every message that the stream holds when Read begins, from the
// first on, control messages included, and returns how many there were.
func Read(ctx context.Context, conn *nats.Conn, stream string, f func(Message)) (messages int, err error) {
	return ReadFrom(ctx, conn, stream, 1, f)
}

// ReadFrom is Read from the message with the sequence first on.
func ReadFrom(ctx context.Context, conn *nats.Conn, stream string, first uint64, f func(Message)) (messages int, err error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", stream, err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 || first > state.LastSeq {
		return 0, nil
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, first)})
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", stream, err)
	}
	iterator, err := consumer.Messages()
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer iterator.Stop()
	for {
		m, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return messages, fmt.Errorf("read stream %s behind message %d of %d: %w", stream, messages, state.Msgs, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return messages, fmt.Errorf("read stream %s: %w", stream, err)
		}
		f(Message{Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Subject: m.Subject(), Header: m.Headers(), Body: m.Data()})
		messages++
		if meta.Sequence.Stream >= state.LastSeq {
			return messages, nil
		}
	}
}
