package chain

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// claimAttemptsMax bounds how often a claim meets a writer that was faster: a
// writer that never pauses is alive, and there is nothing to take over.
const claimAttemptsMax = 40

// Claim implements sink.Sink.
func (c *Chain) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	c.abandon(errors.New("the sink is not claimed"))
	if err := c.send.take(ctx); err != nil {
		return sink.Anchor{}, err
	}
	defer c.send.give()
	if c.cfg.Shared {
		return c.claimShared(ctx, hint, initial)
	}
	var start sdk.Position
	lostRaces := 0
	for retry := c.newRetry(); ; {
		a, err := c.readAnchor(ctx)
		a, lost, err := c.resume(a, err, hint)
		err = retry.shrunk(err)
		if err == nil && !a.found {
			if start == "" {
				if start, err = initial(ctx); err != nil {
					return sink.Anchor{}, err
				}
			}
			a.base = start
		}
		if err == nil {
			epoch := max(a.epoch+1, uint64(c.cfg.Now().UnixMilli()))
			if hint.Claiming != nil {
				if err := hint.Claiming(epoch); err != nil {
					return sink.Anchor{}, err
				}
			}
			if err = c.mark(ctx, a, epoch); err == nil {
				return c.claimed(a, epoch, lost), nil
			}
		}
		err = retry.overtaken(err, a.state.LastSeq)
		if errors.Is(err, ErrWrongLast) {
			if lostRaces++; lostRaces == claimAttemptsMax {
				return sink.Anchor{}, c.fenced(a.epoch, "another writer is writing right now")
			}
		}
		if err := retry.after(ctx, err); err != nil {
			return sink.Anchor{}, err
		}
	}
}

func (c *Chain) claimed(a anchor, epoch, lost uint64) sink.Anchor {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead, c.broken = nil, nil
	c.w.inside = a.place.Tx != "" && !a.whole
	if c.cfg.WholeTx { // one as large as it may be is sent while another is stored
		c.window.atLeast(2*c.log.AtomicMax() + windowMin)
	}
	c.audited = c.cfg.Now()
	if lost > 0 {
		c.cfg.Log.Warn("the stream lost confirmed messages; they are sent again", "stream", c.cfg.Stream, "messages", lost)
	}
	if a.foreign > 0 {
		c.cfg.Log.Warn("stepped over messages of another writer", "stream", c.cfg.Stream, "messages", a.foreign)
	}
	return sink.Anchor{Base: a.base, At: a.place, Complete: a.whole, Found: a.found, Epoch: epoch, Writer: a.epoch, Fingerprint: a.print, Lost: lost, Messages: a.count, Replays: a.replays}
}

// Standing returns where the writer stands, just behind its claim: the sequence of
// its marker, and how many data messages are before it.
func (c *Chain) Standing(ctx context.Context) (seq, messages uint64, err error) {
	if err := c.send.take(ctx); err != nil {
		return 0, 0, err
	}
	defer c.send.give()
	return c.w.seq, c.w.count, nil
}

func (c *Chain) fenced(epoch uint64, why string) error {
	return fault.New(fault.Retryable, sink.CodeFenced, c.cfg.Stream,
		"nothing to do when another cdcd runs this pipeline; otherwise find who else does",
		"%s (epoch %d)", why, epoch)
}

// mark publishes a marker behind the anchor and waits until it is stored. The
// writer then stands behind it.
func (c *Chain) mark(ctx context.Context, a anchor, epoch uint64) error {
	now := c.cfg.Now()
	c.marker(a, epoch, now)
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.AckTimeout, errNoAck)
	defer cancel()
	if err := c.log.Put(ctx, &c.w.out); err != nil {
		return err
	}
	c.standBehind(a, a.state.LastSeq+1, epoch, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window.far(c.cfg.Now().Sub(now))
	return nil
}

// standBehind makes message seq, which is this writer's marker, the one that
// the next run goes behind.
func (c *Chain) standBehind(a anchor, seq, epoch uint64, now time.Time) {
	w := &c.w
	w.created, w.session, w.seq, w.count = a.state.Created.UnixNano(), a.state.Session, seq, a.count
	w.replay(a.replays)
	w.epoch, w.text = epoch, strconv.FormatUint(epoch, 10)
	w.newBase(now)
	w.marking = false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked, c.progress = seq, now
	c.run = run{id: c.run.id, start: seq, end: seq}
	c.before.id = 0
	c.window.probe = 0
}

// recover reads the stream again after anything went wrong, and sends what it
// does not have, as it was, behind a new marker.
func (c *Chain) recover(ctx context.Context) error {
	if err := c.send.take(ctx); err != nil {
		return err
	}
	defer c.send.give()
	c.mu.Lock()
	cause := c.broken
	if cause == nil {
		c.mu.Unlock()
		return nil // mended while this one waited for its turn
	}
	c.run.id++ // what is answered from here on is read from the stream
	c.before.id = 0
	c.mu.Unlock()
	if fault.HasCode(cause, sink.CodeDenied) { // sent again it would be refused again, behind one more marker
		c.die(cause)
		return cause
	}
	c.cfg.Log.Warn("reading the stream again", "stream", c.cfg.Stream, "cause", cause)
	for retry := c.newRetry(); ; {
		reanchor := c.reanchor
		if c.cfg.Shared {
			reanchor = c.reanchorShared
		}
		err := retry.shrunk(reanchor(ctx, retry))
		if err == nil {
			c.resend()
			return nil
		}
		if err := retry.after(ctx, err); err != nil {
			if fatal(err) {
				c.die(err)
			}
			return err
		}
	}
}

// reanchor drops from the window what the stream has, and stands behind a
// marker. Between two readings the stream got either more of the last run, or
// the marker that was being put: a marker takes the place of the run's next
// message, and the run is over then.
func (c *Chain) reanchor(ctx context.Context, r *retry) error {
	a, err := c.readAnchor(ctx)
	if err != nil && !errors.Is(err, errAnchorGone) {
		return err
	}
	if err := r.overtaken(c.judge(a, err), a.state.LastSeq); err != nil {
		return err
	}
	last := a.state.LastSeq
	w := &c.w
	switch {
	case a.marker && w.marking && last == w.markAt+1:
		c.settle(w.markAt)
		c.standBehind(a, last, w.epoch, c.cfg.Now())
		return nil
	case w.marking && last < w.markAt:
		return ErrWrongLast // read from a server that lags behind
	case a.marker && !w.marking: // nothing of the last run got in
		c.standBehind(a, last, w.epoch, c.cfg.Now())
		return nil
	}
	c.settle(last)
	w.marking, w.markAt = true, last
	return c.mark(ctx, a, w.epoch)
}

// judge says what is wrong with a stream that this writer has claimed before.
func (c *Chain) judge(a anchor, readErr error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.acked
	if n := len(c.queue); n > 0 {
		sent = max(sent, c.queue[n-1].last)
	}
	switch {
	case a.state.Created.UnixNano() != c.w.created:
		return fault.New(fault.Environment, sink.CodeStreamRecreated, c.cfg.Stream,
			"restore the stream that was; or, where its messages may be sent again, "+anewHint,
			"the stream was deleted and made again while the pipeline ran")
	case a.state.LastSeq < c.acked || a.found && a.epoch < c.w.epoch && a.foreign == 0:
		return fault.New(fault.Retryable, sink.CodeStreamRollback, c.cfg.Stream,
			"the pipeline resumes where the stream now ends; a server that syncs before it acknowledges does not lose messages",
			"the stream ends at message %d, %d was confirmed: the server lost what it had not synced", a.state.LastSeq, c.acked)
	case readErr != nil:
		return fault.New(fault.Environment, sink.CodeAnchorGone, c.cfg.Stream,
			"start the pipeline again: the checkpoint may still name the message",
			"the stream was purged while the pipeline ran: message %d is gone", a.state.LastSeq)
	case a.found && a.epoch > c.w.epoch:
		return c.fenced(a.epoch, "another writer claimed the stream")
	case c.checkGaps(a.state) != nil:
		return c.checkGaps(a.state)
	case a.foreign > 0 || !a.found:
		return c.foreignFault(a.state.LastSeq, "%d messages of somebody else are at the stream's end", a.foreign)
	case a.seq > sent && !a.marker:
		return c.foreignFault(a.seq, "it carries this writer's epoch, and only %d messages were sent", sent)
	}
	return nil
}

// settle takes out of the window's messages those that the stream has: by the
// chain, all whose sequence it has reached.
func (c *Chain) settle(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.queue {
		e := &c.queue[i]
		if e.last > seq && e.first <= seq {
			e.from += int(seq - e.first + 1)
			e.first = seq + 1
		}
	}
}

// resend sends what the stream does not have behind the marker. A group that
// is stored keeps its sequences, the others get new ones.
func (c *Chain) resend() {
	c.mu.Lock()
	first := 0
	for first < len(c.queue) && c.queue[first].last < c.w.seq {
		first++
	}
	seq := c.w.seq
	for i := first; i < len(c.queue); i++ {
		e := &c.queue[i]
		e.first = seq + 1
		seq += uint64(e.to - e.from)
		e.last = seq
	}
	c.broken, c.stalled, c.unsent = nil, false, len(c.queue)-first
	c.mu.Unlock()
	c.sendUnsent()
}

// sendMore sends more of what is to be sent again.
func (c *Chain) sendMore(ctx context.Context) error {
	if err := c.send.take(ctx); err != nil {
		return err
	}
	defer c.send.give()
	c.sendUnsent()
	return nil
}

// sendUnsent sends what is to be sent again, as far as runs have room for it.
// It is called with send taken.
func (c *Chain) sendUnsent() {
	for {
		c.mu.Lock()
		left := c.unsent
		var e entry
		if left > 0 {
			e = c.queue[len(c.queue)-left]
		}
		c.mu.Unlock()
		if left == 0 {
			signal(c.space)
			return
		}
		if e.to > e.from {
			ok, ends := c.admit(&e, true)
			if !ok {
				c.stall()
				return
			}
			c.sendEntry(&e, ends)
		}
		c.mu.Lock()
		c.unsent--
		c.mu.Unlock()
		c.endDue()
	}
}

// stall notes that nothing is to be sent again before something is answered.
func (c *Chain) stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = c.outstanding() && c.broken == nil
}

// fatal reports whether only a new claim helps.
func fatal(err error) bool {
	return !mendable(err) || sink.IsFenced(err) || fault.HasCode(err, sink.CodeStreamRollback) || fault.HasCode(err, sink.CodeDenied)
}

// retry paces attempts at what may get better.
type retry struct {
	c     *Chain
	start time.Time
	delay time.Duration

	gone      uint64 // the last message that the last attempt found gone; 0 for none
	goneSince time.Time

	shortSince time.Time // since when each attempt found the stream shorter than it was; zero: the last one did not
}

func (c *Chain) newRetry() *retry { return &retry{c: c, start: c.cfg.Now(), delay: time.Millisecond} }

func (r *retry) elapsed() time.Duration { return r.c.cfg.Now().Sub(r.start) }

// shrunk takes a stream that ends before what it had for one that a server tells
// of which lags behind, as a leader just elected may. It is so when every attempt
// finds it so, for as long as an answer may take.
func (r *retry) shrunk(err error) error {
	if !fault.HasCode(err, sink.CodeStreamRollback) {
		r.shortSince = time.Time{}
		return err
	}
	now := r.c.cfg.Now()
	if r.shortSince.IsZero() {
		r.shortSince = now
	}
	if now.Sub(r.shortSince) >= r.c.cfg.AckTimeout {
		return err
	}
	return errors.New("the stream seems shorter than it was")
}

// after waits a little longer each time, or returns why there is no point:
// err can't be mended, the sink is full, patience has ended, or ctx has.
func (r *retry) after(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Code != sink.CodeSinkUnreachable {
		return err
	}
	if r.elapsed() > r.c.cfg.Patience {
		return fault.New(fault.Retryable, sink.CodeSinkUnreachable, r.c.cfg.Stream,
			"check that the NATS server runs, that its disk is not full, and that its cluster has a leader",
			"the stream gave no answer for %v: %w", r.c.cfg.Patience, err)
	}
	timer := time.NewTimer(r.delay)
	defer timer.Stop()
	most := 250 * time.Millisecond
	if errors.Is(err, ErrWrongLast) {
		most = 10 * time.Millisecond // the broker answers, and a race may be won the next time
	}
	r.delay = min(2*r.delay, most)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
