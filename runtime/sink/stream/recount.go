package stream

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// recountSlack is how many control messages are thought to lie between a
// transaction's messages: markers, definitions. More cost another look.
const recountSlack = 256

// Recount implements sink.Recounter: it reads the headers of the transaction's
// messages, from the first to the last. A stream that is shared with others can't
// tell, as messages come twice there; nor can one that keeps the latest alone.
func (s *Sink) Recount(ctx context.Context, at sink.Anchor, f func(subject string)) (all bool, err error) {
	if s.spec.Shared || s.spec.Latest || at.Messages <= at.At.N {
		return false, nil
	}
	end, count, err := s.chain.Standing(ctx)
	if err != nil {
		return false, err
	}
	c := recounting{tx: at.At.Tx, first: at.Messages - at.At.N, last: at.Messages, f: f}
	back := count - c.first + 1 // by the chain at least so many messages are behind the first one
	for slack := uint64(recountSlack); ; slack *= 8 {
		from := end - min(back+slack, end-1)
		c.next = c.first
		err := s.Read(ctx, from, true, c.message)
		if found := c.next - c.first; err != nil || found > 0 || from == 1 {
			return found == at.At.N+1, err
		}
	}
}

// recounting is which data messages are counted, by their Cdc-Seq, and which is
// the next one.
type recounting struct {
	tx                string
	first, last, next uint64
	f                 func(subject string)
}

// message takes in a message of the stream, until it was the last one or another
// than the next: reading began behind the first, or the stream lacks some.
func (c *recounting) message(m jetstream.Msg, meta *jetstream.MsgMetadata) (more bool, err error) {
	h := m.Headers()
	if h.Get(chain.HeaderEpoch.String()) == "" {
		return meta.NumPending > 0, nil // somebody else's
	}
	seq, err := strconv.ParseUint(h.Get(chain.HeaderSeq.String()), 10, 64)
	if err != nil {
		return false, fmt.Errorf("%v of message %d: %w", chain.HeaderSeq, meta.Sequence.Stream, err)
	}
	if h.Get(chain.HeaderKind.String()) == "" && seq >= c.first {
		place, err := sink.ParsePlace(h.Get(chain.HeaderPos.String()))
		if err != nil || place.Tx != c.tx || seq != c.next {
			return false, nil
		}
		c.f(m.Subject())
		c.next++
	}
	return meta.NumPending > 0 && c.next <= c.last, nil
}
