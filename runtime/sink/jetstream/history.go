package jetstream

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// historyBytesMax bounds what one pull of control messages brings.
const historyBytesMax = 4 << 20

// History implements sink.Historian: it goes through the control messages that
// the stream has by now.
func (s *Sink) History(ctx context.Context, token string, f func(body []byte) error) error {
	seq, err := chain.SequenceOf(token)
	if err != nil {
		return err
	}
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return s.setupFault(err)
	}
	// The stream may have lost its tail: the sequence is then beyond its end, and
	// there is nothing behind it.
	consumer, err := js.OrderedConsumer(ctx, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.tpl.Control(s.env.Pipeline)}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq + 1, MaxResetAttempts: 3})
	if err != nil {
		return s.setupFault(err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return s.setupFault(err)
	}
	if info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(1024, historyBytesMax))
	if err != nil {
		return s.setupFault(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return s.setupFault(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return s.setupFault(err)
		}
		if m.Headers().Get(chain.HeaderKind.String()) == sink.KindHistory.String() {
			if err := f(m.Data()); err != nil {
				return err
			}
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}
