package chain

import (
	"errors"
	"testing"
)

// What is answered to a run that is sent ahead, or that it failed, says nothing
// of the run before it, which is still being stored.
func TestAnswersToARunAhead(t *testing.T) {
	for _, a := range []Ack{{Run: 6}, {Run: 6, Err: errors.New("the connection was replaced")}} {
		c, _ := claimed(t)
		c.cfg.Atomic = true
		c.acked = 10
		c.before = run{id: 5, start: 10, end: 20, atomic: true}
		c.run = run{id: 6, start: 20, end: 20, open: true, atomic: true}
		if c.onAck(a); c.acked != 10 {
			t.Errorf("%+v confirmed up to %d", a, c.acked)
		}
		if c.onAck(Ack{Run: 5, Count: 10, Ended: true}); c.acked != 20 || c.before.id != 0 {
			t.Errorf("the run's own answer confirmed up to %d", c.acked)
		}
	}
}
