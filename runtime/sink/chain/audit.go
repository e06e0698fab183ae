package chain

import (
	"context"
	"fmt"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// auditEvery is how often a stream that takes messages is looked at all the same.
const auditEvery = 30 * time.Second

// audit looks for what no answer to a message tells: a stream may have lost
// messages from its middle, as after a block of its file was found broken, or
// when a replica that lacks them was made the leader. An answer that does not
// come is no finding: messages tell sooner.
func (c *Chain) audit(ctx context.Context) error {
	c.mu.Lock()
	now := c.cfg.Now()
	due := c.dead == nil && !c.cfg.Shared && now.Sub(c.audited) >= auditEvery
	if due {
		c.audited = now
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	st, err := c.log.State(ctx)
	if err != nil {
		return nil
	}
	if err := c.checkGaps(st); err != nil {
		c.die(err)
		return err
	}
	return nil
}

// checkGaps is a fault when more messages are missing from the stream's middle
// than are known about.
func (c *Chain) checkGaps(st State) error {
	gaps := st.gaps()
	if c.cfg.Latest || gaps <= c.cfg.GapsAccepted {
		return nil
	}
	return fault.New(fault.Environment, sink.CodeStreamGaps, c.cfg.Stream,
		fmt.Sprintf("in a cluster, another replica may have them: make that the leader (nats stream cluster step-down %s), and this one anew; "+
			"to go on without them set gaps_accepted: %d", c.cfg.Stream, gaps),
		"%d messages are missing from the middle of the stream: consumers can't get them", gaps)
}
