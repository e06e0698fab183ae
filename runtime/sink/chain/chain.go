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

	// Atomic sends in atomic runs: a broker that syncs to disk before it answers
	// syncs once for each. WholeTx, with Atomic, has them hold whole transactions,
	// as far as these fit the broker's bound and the window.
	Atomic, WholeTx bool
	// Shared says that others write to the stream, too: messages are delivered at
	// least once. See shared.go.
	Shared bool
	// Latest says that the stream keeps the last messages of each subject alone.
	// See latest.go. Expires says that messages of such a stream are removed by their
	// age, too.
	Latest, Expires bool

	WindowMessages int           // published and not confirmed, at most; default 16,384
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
	set(&c.WindowMessages, 16384)
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
	unsent   int     // of them, the last ones are to be sent again
	sharedAt string  // place of the last message handed out, of a shared stream
	stalled  bool    // what is to be sent again waits for an answer
	messages int     // of queue, an empty group counting as one
	bytes    int     // of queue
	window   window
	acked    uint64 // the stream has everything up to here
	progress time.Time
	run      run
	before   run       // an atomic run that is being stored while more is sent in run; id 0 for none
	broken   error     // why the stream must be read again; nil while all is well
	dead     error     // what only Claim mends
	audited  time.Time // when the stream was last looked at for gaps
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

var errClosed = errors.New("the sink is closed")

// New returns a Chain on a stream. It reads and sends nothing before Claim.
func New(cfg Config, log Log) *Chain {
	cfg = cfg.withDefaults()
	c := &Chain{cfg: cfg, log: log, window: newWindow(&cfg), send: make(turn, 1), wake: make(chan struct{}, 1), space: make(chan struct{}, 1),
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

// Publish implements sink.Sink. A fault of class Poison names a message that
// the stream would refuse; nothing of the group was sent then.
func (c *Chain) Publish(ctx context.Context, g *sink.Group) error {
	check := Checker{Pipeline: c.cfg.Pipeline, BytesMax: c.log.MessageBytesMax(), Latest: c.cfg.Latest, Claims: !c.cfg.Latest}
	if err := check.Check(g); err != nil {
		return err
	}
	for from := 0; ; {
		to, err := c.publishPiece(ctx, g, from)
		if err != nil || to == len(g.Messages) {
			return err
		}
		from = to
	}
}

// publishPiece sends what of the group fits a run, from message from on, and
// returns where it ends.
func (c *Chain) publishPiece(ctx context.Context, g *sink.Group, from int) (to int, err error) {
	for waited := false; ; waited = true {
		e, done, err := c.tryPublish(ctx, g, from, waited)
		if done || err != nil {
			return e.to, err
		}
		if c.idleAndBroken() {
			if err := c.recover(ctx); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-c.space:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
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

// tryPublish sends the piece if the window has room for it, nothing is broken,
// and there is an open run or one may begin. A group that finds the pipeline
// idle is a run of its own, so that its acknowledgement comes at once; one that
// had to wait shows that more is coming, and opens a run that lasts.
func (c *Chain) tryPublish(ctx context.Context, g *sink.Group, from int, waited bool) (e entry, done bool, err error) {
	if err := c.send.take(ctx); err != nil {
		return e, false, err
	}
	defer signal(c.wake) // behind give: Wait may want the turn
	defer c.send.give()
	e = c.piece(g, from)
	if ok, err := c.room(&e); !ok || err != nil {
		return e, false, err
	}
	if e.to == e.from {
		c.enqueue(&e)
		return e, true, nil
	}
	ok, ends := c.admit(&e, waited)
	if !ok {
		return e, false, nil
	}
	c.enqueue(&e)
	c.sendEntry(&e, ends)
	c.endDue()
	return e, true, nil
}

// room reports whether the window takes the entry now.
func (c *Chain) room(e *entry) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil || c.broken != nil || c.unsent > 0 {
		return false, c.dead
	}
	full := c.messages+e.size() > c.window.messages || c.bytes+e.bytes > c.window.bytes()
	if full && len(c.queue) > 0 {
		c.window.full()
		return false, nil
	}
	return true, nil
}

// enqueue is called with send taken, when there is room.
func (c *Chain) enqueue(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.first, e.last = c.w.seq+1, c.w.seq+uint64(e.to-e.from)
	e.count, e.replays = c.w.count+dataMessages(e.group.Messages[e.from:e.to]), c.w.replays
	if e.to > e.from {
		e.replays = max(e.replays, e.group.Messages[e.to-1].Replay)
	}
	c.w.inside = e.inside || c.w.inside && e.to == e.from
	now := c.cfg.Now()
	if c.acked == c.w.seq {
		c.progress = now // nothing was outstanding: the ack timeout starts here
	}
	c.queue = append(c.queue, *e)
	c.messages += e.size()
	c.bytes += e.bytes
	c.window.sent(e.last, now)
}

func dataMessages(messages []sink.Message) (n uint64) {
	for i := range messages {
		if counted(&messages[i]) {
			n++
		}
	}
	return n
}

// counted reports whether a message is one of those that Cdc-Seq counts: of a row,
// and a function of the log.
func counted(m *sink.Message) bool { return m.Kind == sink.KindData && m.Replay == 0 }

// Wait implements sink.Sink.
func (c *Chain) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	c.releaseHanded()
	if err := c.audit(ctx); err != nil {
		return nil, err
	}
	timer := time.NewTimer(c.cfg.AckTimeout)
	defer timer.Stop()
	for {
		next, wait := c.next()
		if next == endRun { // first: the broker works while groups are handed out
			if err := c.endRun(ctx); err != nil {
				return nil, err
			}
			continue
		}
		result, err := c.collect()
		if len(result) > 0 || err != nil {
			return result, err
		}
		switch next {
		case readAgain:
			if err := c.recover(ctx); err != nil {
				return nil, err
			}
			continue
		case sendMore:
			if err := c.sendMore(ctx); err != nil {
				return nil, err
			}
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
		if c.messages, c.bytes = c.messages-e.size(), c.bytes-e.bytes; !e.whole() {
			continue
		}
		c.result = append(c.result, sink.Confirmed{Group: e.group, Token: c.tokenOf(e)})
		c.handed = append(c.handed, e.group)
	}
	if n > 0 {
		c.queue = append(c.queue[:0], c.queue[n:]...)
		c.window.crowded = false
		signal(c.space)
	}
	if len(c.result) > 0 {
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
	sendMore
)

// next says what Wait has to do, or for how long it has nothing to do.
func (c *Chain) next() (step, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return readAgain, 0
	}
	now, left := c.cfg.Now(), c.cfg.AckTimeout
	if c.outstanding() {
		left -= now.Sub(c.progress)
	}
	if left <= 0 {
		c.window.slow()
		c.breakOff(errNoAck)
		return readAgain, 0
	}
	due, wait := c.due(now)
	switch {
	case due:
		return endRun, 0
	case c.unsent > 0 && !c.stalled:
		return sendMore, 0
	}
	return idle, min(left, wait)
}

var errNoAck = errors.New("no acknowledgement in time")

// tokenOf names the group's last message. c.w.epoch and created only change in
// Claim, when the queue is empty.
func (c *Chain) tokenOf(e *entry) string {
	if c.cfg.Shared {
		return c.sharedTokenOf(e.group)
	}
	return token{c.w.created, e.last, c.w.epoch, e.count, e.replays}.String()
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
	c.before.id = 0
	queue, handed := c.queue, c.handed
	c.queue, c.handed, c.messages, c.bytes, c.unsent = nil, nil, 0, 0, 0
	signal(c.wake)
	signal(c.space)
	c.mu.Unlock()
	for _, g := range handed {
		release(g)
	}
	for i := range queue {
		if queue[i].whole() { // the others are pieces of the same group
			release(queue[i].group)
		}
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
