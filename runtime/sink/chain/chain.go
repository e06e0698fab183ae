package chain

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Config is what a Chain must know. Zero numbers take the defaults.
type Config struct {
	Pipeline    string
	Stream      string // its name, for faults
	Control     string // subject of control messages
	Fingerprint string // of the pipeline's configuration
	Now         func() time.Time
	Log         *slog.Logger

	WindowMessages int           // published and not confirmed; default 4,096
	WindowBytes    int           // the same in bytes; default 32 MiB
	AckTimeout     time.Duration // without any progress, until the stream is read again; default 5 s
	Patience       time.Duration // of one Wait with a broker that does not answer; default 20 s: electing a leader takes up to 14
	GapsAccepted   uint64        // messages deleted from the middle that are known about
}

func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.WindowMessages, 4096)
	set(&c.WindowBytes, 32<<20)
	if c.AckTimeout == 0 {
		c.AckTimeout = 5 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 20 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Chain implements sink.Sink on a Log. It starts no goroutine: Publish sends,
// Wait mends what went wrong, and the Log's own goroutine brings
// acknowledgements.
type Chain struct {
	cfg Config
	log Log

	send turn // guards w: held while messages are sent, taken before mu
	w    writer

	mu       sync.Mutex
	queue    []entry // published and not confirmed, in order
	messages int     // of queue, an empty group counting as one
	bytes    int     // of queue
	acked    uint64  // the stream has everything up to here
	progress time.Time
	run      run
	broken   error // why the stream must be read again; nil while all is well
	dead     error // what only Claim mends
	handed   []*sink.Group
	result   []sink.Confirmed

	wake  chan struct{} // for Wait: an ack, a failure, an empty group
	space chan struct{} // for Publish: the queue got shorter, or recovered, or died
}

// turn is a lock that is waited for with a context: mending may hold it for long.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// run is the pipeline that messages are sent in. Chain.mu guards it.
type run struct {
	id    uint64
	start uint64 // sequence of the stream before its first message
	end   uint64 // sequence of its last message, once it is closed
	open  bool   // more may be sent in it
	sent  time.Time
}

// endDelay is how long a run stays open with nothing sent, while messages in it
// wait for their acknowledgement.
const endDelay = 300 * time.Microsecond

// entry is a group in the window. The stream's sequences are known before it
// is sent: that is what the chain is.
type entry struct {
	group *sink.Group
	from  int    // messages before this are in the stream since an earlier attempt
	first uint64 // sequence of message from
	last  uint64 // sequence of the last message; of an empty group, of the message before it
	count uint64 // data messages up to and including the group's last
}

var errClosed = errors.New("the sink is closed")

// New returns a Chain on a stream. It reads and sends nothing before Claim.
func New(cfg Config, log Log) *Chain {
	c := &Chain{cfg: cfg.withDefaults(), log: log, send: make(turn, 1), wake: make(chan struct{}, 1), space: make(chan struct{}, 1),
		dead: errors.New("the sink is not claimed")}
	log.Notify(c.onAck)
	return c
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// onAck takes in an acknowledgement.
func (c *Chain) onAck(a Ack) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.Run != c.run.id {
		return // of an earlier run, whose outcome was read from the stream
	}
	if seq := c.run.start + a.Count; seq > c.acked {
		c.acked, c.progress = seq, c.cfg.Now()
	}
	switch {
	case a.Err != nil:
		c.breakOff(a.Err)
	case a.Ended && (c.run.open || c.acked != c.run.end):
		c.breakOff(errEndedEarly)
	case a.Ended:
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

// Publish implements sink.Sink. A fault of class Poison names a message that
// the stream would refuse; nothing of the group was sent then.
func (c *Chain) Publish(ctx context.Context, g *sink.Group) error {
	if err := c.check(g); err != nil {
		return err
	}
	for waited := false; ; waited = true {
		done, err := c.tryPublish(ctx, g, waited)
		if done || err != nil {
			return err
		}
		if c.idleAndBroken() {
			if err := c.recover(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-c.space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// idleAndBroken reports whether the stream must be read again while nothing is
// outstanding. Nobody waits then, so Publish has to do it.
func (c *Chain) idleAndBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken != nil && c.dead == nil && len(c.queue) == 0
}

// tryPublish sends the group if the window has room for it, nothing is broken,
// and there is an open run or none that is not over. A group that finds the
// pipeline idle is a run of its own, so that its acknowledgement comes at once;
// one that had to wait shows that more is coming, and opens a run that lasts.
func (c *Chain) tryPublish(ctx context.Context, g *sink.Group, waited bool) (bool, error) {
	if err := c.send.take(ctx); err != nil {
		return false, err
	}
	defer c.send.give()
	e, ok, err := c.enqueue(g)
	if !ok || err != nil {
		return false, err
	}
	if len(g.Messages) > 0 {
		c.sendEntry(e, !waited)
	}
	signal(c.wake)
	return true, nil
}

func (c *Chain) enqueue(g *sink.Group) (entry, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := max(1, len(g.Messages))
	full := c.messages+n > c.cfg.WindowMessages || c.bytes+g.Bytes > c.cfg.WindowBytes
	if c.dead != nil || c.broken != nil || full && len(c.queue) > 0 {
		return entry{}, false, c.dead
	}
	if len(g.Messages) > 0 && !c.run.open && c.acked != c.w.seq {
		return entry{}, false, nil // the run before is not answered yet
	}
	e := entry{group: g, first: c.w.seq + 1, last: c.w.seq + uint64(len(g.Messages)), count: c.w.count + dataMessages(g)}
	if c.acked == c.w.seq {
		c.progress = c.cfg.Now() // nothing was outstanding: the ack timeout starts here
	}
	c.queue = append(c.queue, e)
	c.messages += n
	c.bytes += g.Bytes
	return e, true, nil
}

func dataMessages(g *sink.Group) (n uint64) {
	for i := range g.Messages {
		if g.Messages[i].Kind == sink.KindData {
			n++
		}
	}
	return n
}

// Wait implements sink.Sink.
func (c *Chain) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	c.releaseHanded()
	timer := time.NewTimer(c.cfg.AckTimeout)
	defer timer.Stop()
	for {
		result, err := c.collect()
		if len(result) > 0 || err != nil {
			return result, err
		}
		next, wait := c.next()
		switch next {
		case readAgain:
			if err := c.recover(ctx); err != nil {
				return nil, err
			}
			continue
		case endRun:
			if err := c.endRun(ctx); err != nil {
				return nil, err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// collect takes the confirmed groups off the queue.
func (c *Chain) collect() ([]sink.Confirmed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result = c.result[:0]
	n := 0
	for ; n < len(c.queue) && c.queue[n].last <= c.acked; n++ {
		e := &c.queue[n]
		c.result = append(c.result, sink.Confirmed{Group: e.group, Token: c.tokenOf(e)})
		c.handed = append(c.handed, e.group)
		c.messages -= max(1, len(e.group.Messages))
		c.bytes -= e.group.Bytes
	}
	if n > 0 {
		c.queue = append(c.queue[:0], c.queue[n:]...)
		signal(c.space)
		return c.result, nil
	}
	return nil, c.dead
}

// step is what Wait does next.
type step int

const (
	idle step = iota
	readAgain
	endRun
)

// next says what Wait has to do, or for how long it has nothing to do.
func (c *Chain) next() (step, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return readAgain, 0
	}
	now, left := c.cfg.Now(), c.cfg.AckTimeout
	if len(c.queue) > 0 {
		left -= now.Sub(c.progress)
	}
	if left <= 0 {
		c.breakOff(errNoAck)
		return readAgain, 0
	}
	if c.run.open {
		quiet := endDelay - now.Sub(c.run.sent)
		if quiet <= 0 {
			return endRun, 0
		}
		left = min(left, quiet)
	}
	return idle, left
}

// endRun ends the open run, unless something was sent meanwhile.
func (c *Chain) endRun(ctx context.Context) error {
	if err := c.send.take(ctx); err != nil {
		return err
	}
	defer c.send.give()
	c.mu.Lock()
	ending := c.run.open && c.cfg.Now().Sub(c.run.sent) >= endDelay
	id := c.run.id
	if ending {
		c.run.open, c.run.end = false, c.w.seq
	}
	c.mu.Unlock()
	if !ending {
		return nil
	}
	if err := c.log.End(id, c.w.out.Number); err != nil {
		c.fail(err)
	}
	return nil
}

var errNoAck = errors.New("no acknowledgement in time")

// tokenOf names the group's last message. c.w.epoch and created only change in
// Claim, when the queue is empty.
func (c *Chain) tokenOf(e *entry) string {
	return token{c.w.created, e.last, c.w.epoch, e.count}.String()
}

func (c *Chain) releaseHanded() {
	c.mu.Lock()
	groups := c.handed
	c.handed = c.handed[:0]
	c.mu.Unlock()
	for _, g := range groups {
		release(g)
	}
}

func release(g *sink.Group) {
	if g.Done != nil {
		g.Done()
	}
}

// Close implements sink.Sink.
func (c *Chain) Close(context.Context) error {
	c.abandon(errClosed)
	return nil
}

// abandon gives up the window: whatever became of it, the next Claim finds out.
func (c *Chain) abandon(why error) {
	c.mu.Lock()
	c.dead = why
	c.run.id++
	c.run.open = false
	queue, handed := c.queue, c.handed
	c.queue, c.handed, c.messages, c.bytes = nil, nil, 0, 0
	signal(c.wake)
	signal(c.space)
	c.mu.Unlock()
	for _, g := range handed {
		release(g)
	}
	for _, e := range queue {
		release(e.group)
	}
}

// die makes err what all calls return until Claim.
func (c *Chain) die(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = err
	signal(c.space)
}

// LastWritten implements sink.LastWritten.
func (c *Chain) LastWritten(ctx context.Context) (time.Time, error) {
	st, err := c.log.State(ctx)
	return st.LastWrite, err
}

// mendable reports whether trying again may help: anything but a fault of
// another class.
func mendable(err error) bool {
	f, ok := errors.AsType[*fault.Fault](err)
	return !ok || f.Class == fault.Retryable
}
