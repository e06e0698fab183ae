package chain

import (
	"context"
	"errors"
	"time"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// atomicBytesMax bounds an atomic run that is there for its speed: more in one
// would not make it faster, and the broker holds it in memory while it stores it.
const atomicBytesMax = 8 << 20

// insideMax is how long an atomic run stays open inside a transaction of which
// nothing more comes. A broker gives up on a run after 10 s.
const insideMax = 5 * time.Second

// smallMax is how many messages that find everything answered go in a flowing
// run although runs are atomic: the broker syncs each, which takes less time than
// to stage, sync, copy and sync again.
const smallMax = 8

// run is the pipeline that messages are sent in. Chain.mu guards it.
type run struct {
	id       uint64
	start    uint64 // sequence of the stream before its first message
	end      uint64 // sequence of its last message, once it is closed
	open     bool   // more may be sent in it
	every    int    // of a flowing one: after how many messages an answer comes by itself
	atomic   bool
	sent     time.Time
	messages int
	bytes    int
	inside   bool // what was sent ends inside a transaction
}

// entry is a group in the window, or a piece of one that is too large for a
// run. The stream's sequences are known before it is sent: that is what the
// chain is.
type entry struct {
	group  *sink.Group
	from   int    // messages before this are in the stream since an earlier attempt, or in an earlier piece
	to     int    // messages from this on are in a later piece
	taken  int    // messages of the piece, when it was sent first
	bytes  int    // of the piece
	inside bool   // it ends inside a transaction
	first  uint64 // sequence of message from
	last   uint64 // sequence of message to-1; of an empty group, of the message before it
	count  uint64 // data messages up to and including the piece's last
	// replays is the number of the last replay up to there.
	replays uint64
}

// whole reports whether the group ends with this entry.
func (e *entry) whole() bool { return e.to == len(e.group.Messages) }

// size is how many messages the entry takes of the window, before any of them
// are known to be stored; an empty group counts as one.
func (e *entry) size() int { return max(1, e.taken) }

// piece returns the entry of the group that begins with message from. Flowing
// runs have no bound, and the piece is the group. An atomic run has one: the
// piece is what fits, and ends between transactions where it can if it must
// hold whole ones.
func (c *Chain) piece(g *sink.Group, from int) entry {
	e := entry{group: g, from: from, to: len(g.Messages), bytes: g.Bytes}
	if c.cfg.Atomic && e.to > 0 {
		c.cut(&e)
	}
	e.taken = e.to - e.from
	return e
}

// cut sets where the piece ends, and what is in it.
func (c *Chain) cut(e *entry) {
	g, from := e.group, e.from
	messages, most := c.runMax()
	bytes, between := 0, from
	for i := from; i < len(g.Messages); i++ {
		m := &g.Messages[i]
		size := len(m.Body) + len(m.Headers) + len(m.Subject)
		if i > from && (i-from == messages || bytes+size > most) {
			e.to = i
			break
		}
		bytes += size
		if !outside(m) {
			continue
		}
		between, e.bytes = i+1, bytes
		if c.cfg.WholeTx && c.w.inside { // the run that has the rest may have no room for more
			e.to = i + 1
			break
		}
	}
	e.inside = between < e.to
	if e.inside && c.cfg.WholeTx && between > from {
		e.to, e.inside = between, false
		return
	}
	e.bytes = bytes
}

// outside reports whether the stream may end with the message and be between
// transactions.
func outside(m *sink.Message) bool { return m.TxLast || m.Place.Tx == "" }

// runMax is how much an atomic run may have. One that is there for its speed
// leaves half of the window to the next, which is sent while it is stored.
func (c *Chain) runMax() (messages, bytes int) {
	if c.cfg.WholeTx {
		return c.log.AtomicMax(), c.cfg.WindowBytes
	}
	return max(1, min(c.log.AtomicMax(), c.windowNow()/2)), atomicBytesMax
}

func (c *Chain) windowNow() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.window.messages
}

// admit makes sure that there is an open run with room for the entry, and
// reports whether there is, and whether the run ends with the entry. It is
// called with send taken. An error is noted for Wait.
//
// A flowing run begins when everything before it is answered. An atomic one may
// be sent, but not ended, while the one before it is being stored. A flowing run
// ends with what finds the pipeline idle; an atomic one with whatever it has when
// nothing is before it.
func (c *Chain) admit(e *entry, waited bool) (ok, ends bool) {
	most, bytes := 0, 0
	if c.cfg.Atomic {
		most, bytes = c.runMax()
	}
	n := e.to - e.from
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil || c.dead != nil {
		return false, false
	}
	r := &c.run
	if r.open && r.atomic && !c.fits(e, most, bytes) && (c.acked != r.start || c.end() != nil) {
		return false, false // what is before it is not stored yet
	}
	began := !r.open
	if began {
		if !c.maySend() {
			return false, false
		}
		if c.acked != r.end {
			c.before = *r
		}
		small := !waited && c.acked == c.w.seq && (n == 1 && !e.inside || n <= smallMax && !c.cfg.WholeTx)
		*r = run{id: r.id + 1, start: c.w.seq, end: c.w.seq, open: true, atomic: c.cfg.Atomic && !small, every: c.window.every()}
		c.w.out.Run, c.w.out.Number, c.w.out.Atomic, c.w.out.Every = r.id, 0, r.atomic, r.every
	}
	r.messages, r.bytes, r.inside, r.sent = r.messages+n, r.bytes+e.bytes, e.inside, c.cfg.Now()
	if !r.atomic {
		return true, began && !waited
	}
	return true, c.acked == r.start && !(c.cfg.WholeTx && r.inside)
}

// fits reports whether the open atomic run has room for the entry. A transaction
// that does not end with it gets a run of its own, with all of the room.
func (c *Chain) fits(e *entry, most, bytes int) bool {
	r := &c.run
	own := c.cfg.WholeTx && e.inside && !r.inside
	return !own && r.messages+e.to-e.from <= most && r.bytes+e.bytes <= bytes
}

// maySend reports whether a run is open or may begin. It is called with mu held.
func (c *Chain) maySend() bool {
	return c.run.open || c.acked == c.run.end || c.cfg.Atomic && c.before.id == 0
}

// due reports whether the open run is to be ended now, or when to ask again.
// An atomic run ends as soon as everything before it is stored: the slower the
// broker, the more is in the next one. It is called with mu held.
func (c *Chain) due(now time.Time) (bool, time.Duration) {
	r := &c.run
	if !r.open || c.broken != nil || c.dead != nil {
		return false, c.cfg.AckTimeout
	}
	wait := c.window.quiet()
	switch {
	case !r.atomic && c.window.crowded && c.unanswered() >= r.every:
		return false, c.cfg.AckTimeout // an answer comes by itself, and then there is room for more
	case r.atomic && c.acked != r.start:
		return false, c.cfg.AckTimeout
	case r.atomic && !(c.cfg.WholeTx && r.inside):
		wait = 0
	case r.atomic && c.window.crowded && len(c.queue) > 0 && c.queue[0].last > c.acked:
		wait = 0 // the transaction is larger than the window
	case r.atomic:
		wait = insideMax
	}
	left := wait - now.Sub(r.sent)
	return left <= 0, left
}

// unanswered is how many messages were sent that are not known to be stored. It
// is called with mu held.
func (c *Chain) unanswered() int {
	if n := len(c.queue); n > 0 && c.queue[n-1].last > c.acked {
		return int(c.queue[n-1].last - c.acked)
	}
	return 0
}

// end closes the open run and tells the broker. It is called with send taken
// and mu held.
func (c *Chain) end() error {
	c.closeRun()
	c.mu.Unlock()
	err := c.log.End(c.run.id, c.w.out.Number, c.run.atomic)
	c.mu.Lock()
	if err != nil {
		c.breakOff(err)
	}
	return err
}

// closeRun is called with mu held, before the message that ends the run is
// sent: the answer may come at once.
func (c *Chain) closeRun() {
	c.run.open, c.run.end = false, c.w.seq
	if c.cfg.Atomic {
		c.progress = c.cfg.Now() // an answer is due from now on
	}
	if c.cfg.WholeTx && c.run.inside {
		c.cfg.Log.Debug("a transaction becomes visible in pieces", "stream", c.cfg.Stream, "messages", c.run.messages)
	}
}

// endRun ends the open run if that is still due.
func (c *Chain) endRun(ctx context.Context) error {
	if err := c.send.take(ctx); err != nil {
		return err
	}
	defer c.send.give()
	c.endDue()
	return nil
}

// endDue is called with send taken.
func (c *Chain) endDue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if due, _ := c.due(c.cfg.Now()); due {
		_ = c.end() // noted for Wait
	}
}

// outstanding reports whether an answer is due, now or some time. It is called
// with mu held.
func (c *Chain) outstanding() bool {
	if !c.cfg.Atomic {
		return len(c.queue) > 0
	}
	if c.run.open {
		return c.acked < c.run.start
	}
	return c.acked < c.run.end
}

// onAck takes in an acknowledgement.
func (c *Chain) onAck(a Ack) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.run
	if c.before.id != 0 && a.Run == c.before.id {
		r = &c.before
	}
	if a.Run != r.id {
		return // of an earlier run, whose outcome was read from the stream
	}
	now := c.cfg.Now()
	// An answer to what is sent while another run is being stored says nothing of that.
	ahead := r == &c.run && c.before.id != 0
	if seq := r.start + a.Count; seq > c.acked && a.Count > 0 && !ahead {
		c.acked, c.progress = seq, now
		c.window.acked(seq, now)
	} else if a.Count == 0 && a.Err == nil {
		c.progress = now
	}
	switch {
	case a.Err != nil:
		c.breakOff(a.Err)
	case a.Ended && (r.open || c.acked != r.end):
		c.breakOff(errEndedEarly)
	case a.Ended:
		c.before.id = 0 // this one, or it is not there
		c.stalled = false
		signal(c.space) // the next run may begin
	}
	signal(c.wake)
}

var errEndedEarly = errors.New("the broker ended the run before its end")

// breakOff notes why the stream must be read again; the first reason is the cause.
func (c *Chain) breakOff(why error) {
	if c.broken == nil {
		c.broken = why
	}
	c.run.open = false
	signal(c.wake)
}
