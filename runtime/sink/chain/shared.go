package chain

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// A stream that others write to as well has no chain: its last message may be
// anybody's, and says nothing about where to resume. What is left of the protocol
// are the runs, which keep messages in order and say how many are stored. The
// checkpoint alone says where to resume, what it does not know of is sent again,
// and each message has an id by which the broker, for as long as it remembers
// ids, and consumers recognise it. There are no markers, and nobody is fenced.
//
// Sequences are then numbers of this writer's own, from 0 with each claim.

// sharedToken is what the token of a checkpoint begins with. The place of the
// last message follows, if that is inside a transaction.
const sharedToken = "shared:"

func (c *Chain) claimShared(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	a := anchor{found: hint.Token != "", base: hint.Position, count: hint.Messages, replays: hint.Replays}
	place := exactPos
	switch at, shared := strings.CutPrefix(hint.Token, sharedToken); {
	case hint.Token == "" && hint.Position == "":
		start, err := initial(ctx)
		if err != nil {
			return sink.Anchor{}, err
		}
		a.base = start
	case hint.Exact || hint.Token == "":
	case at == exactPos: // inside a transaction of which nothing was sent
	default:
		var err error
		if a.place, err = sink.ParsePlace(at); err != nil || !shared {
			return sink.Anchor{}, fault.New(fault.Fatal, "bad_token", c.cfg.Pipeline,
				"restore the checkpoint; after delivery was exactly_once, let the pipeline stop in order before it is changed",
				"the checkpoint is inside a transaction, and its token %q does not say where", hint.Token)
		}
		place = at
	}
	epoch := uint64(c.cfg.Now().UnixMilli())
	if hint.Claiming != nil {
		if err := hint.Claiming(epoch); err != nil {
			return sink.Anchor{}, err
		}
	}
	for retry := c.newRetry(); ; {
		began := c.cfg.Now()
		st, err := c.readState(ctx)
		if err == nil {
			a.state = st
			c.standBehind(a, 0, epoch, c.cfg.Now())
			c.w.baseLeft = 0 // there is no marker that has a base
			c.mu.Lock()
			c.window.far(c.cfg.Now().Sub(began))
			c.sharedAt = place
			c.mu.Unlock()
			return c.claimed(a, epoch, 0), nil
		}
		if err := retry.after(ctx, err); err != nil {
			return sink.Anchor{}, err
		}
	}
}

func (c *Chain) readState(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.AckTimeout, errNoAck)
	defer cancel()
	return c.log.State(ctx)
}

// reanchorShared stands where acknowledgements have come to. What was stored
// behind that without one is stored a second time.
func (c *Chain) reanchorShared(ctx context.Context, _ *retry) error {
	st, err := c.readState(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	acked, count := c.acked, c.w.count
	c.mu.Unlock()
	c.settle(acked)
	c.mu.Lock()
	if n := len(c.queue); n > 0 {
		count = c.queue[n-1].count
	}
	for i := range c.queue {
		if e := &c.queue[i]; e.last > acked {
			count -= dataMessages(e.group.Messages[e.from:e.to])
		}
	}
	c.mu.Unlock()
	// One number is left out, as a marker would: what is behind it is not stored.
	c.standBehind(anchor{state: st, count: count, replays: c.w.replays}, acked+1, c.w.epoch, c.cfg.Now())
	c.w.baseLeft = 0
	return nil
}

// sharedTokenOf names the last message of the group. It is called with mu held.
func (c *Chain) sharedTokenOf(g *sink.Group) string {
	if n := len(g.Messages); n > 0 {
		c.sharedAt = exactPos
		if last := &g.Messages[n-1]; !outside(last) {
			c.sharedAt = last.Place.String()
		}
	}
	return sharedToken + c.sharedAt
}

// messageID makes the id of a data message or a transaction's end out of its
// pipeline and place; others may come twice.
func (c *Chain) messageID(m *sink.Message, dst []byte) []byte {
	if m.Place.Tx == "" || m.Kind != sink.KindData && m.Kind != sink.KindTxEnd {
		return dst
	}
	dst = append(append(dst, c.cfg.Pipeline...), '/')
	dst = append(append(dst, m.Place.Tx...), '#')
	dst = strconv.AppendUint(dst, m.Place.Row, 10)
	return strconv.AppendUint(append(dst, '.'), uint64(m.Place.Part), 10)
}

var errShared = errors.New("the checkpoint is of a stream that is shared with others")
