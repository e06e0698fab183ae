package pipeline

import (
	"cmp"
	"context"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// A state that was restored from a copy is an earlier one than the sink's. What
// steps kept and refused between the two is made again: the rows from the
// state's position on are run, and the messages that the sink has are left out.
// The messages are counted, and the last one compared with the anchor: what is
// left out is exactly what is there.

// replay is what is still to be made again.
type replay struct {
	anchor sink.Anchor
	need   uint64     // data messages that are left out yet
	last   sink.Place // of the last message that was left out, or at which the state stands
	ended  bool       // so was the tx_end behind it
	over   chan struct{}
}

// begunAt returns the place in the log up to which a state has everything.
func begunAt(c state.Checkpoint) (sink.Anchor, error) {
	if c.At == "" {
		return sink.Anchor{Base: c.Position, Messages: c.Before, Replays: c.Replays}, nil
	}
	at, err := sink.ParsePlace(c.At)
	return sink.Anchor{Base: c.Position, At: at, Complete: c.Complete, Messages: c.Messages, Replays: c.Replays}, err
}

// inside reports whether a place in the log lies inside a transaction.
func inside(at sink.Anchor) bool { return at.At.Tx != "" && !at.Complete }

// restored reports whether the state has to be brought up to the anchor.
func (a *attempt) restored(anchor sink.Anchor, last state.Checkpoint) (bool, error) {
	from, err := begunAt(last)
	switch {
	case err != nil:
		return false, err
	case !last.Restored, !anchor.Found, anchor.Messages < from.Messages: // its tail is taken back as ever
		return false, nil
	case anchor.Messages == from.Messages: // then only rows that gave no message can be missing
		if anchor.At.Tx != "" {
			if !inside(from) || anchor.At.Tx != from.At.Tx || anchor.At == from.At {
				return false, nil // and not at the end of the transaction that the state stands in
			}
		} else if ahead, err := a.p.spec.Source.Covers(anchor.Base, from.Base); err != nil || !ahead || anchor.Base == from.Base {
			return false, err
		}
	}
	return a.p.spec.Stateful || slices.ContainsFunc(a.steps, func(s Step) bool { return s.OnError() == DeadLetter }), nil
}

// beginReplay begins where the state ends, and not at the anchor.
func (a *attempt) beginReplay(ctx context.Context, anchor sink.Anchor, last state.Checkpoint) error {
	p := a.p
	from, err := begunAt(last)
	if err != nil {
		return err
	}
	if c, ok := p.spec.Source.(cdc.Snapshotter); ok {
		if moved, err := c.Copied(from.Base, anchor.Base); err != nil || moved {
			return cmp.Or(err, a.copiedSince())
		}
	}
	a.data = from.Messages
	if _, err := p.spec.State.RollBack(cutOf(from), func(end sdk.Position) (bool, error) { return p.spec.Source.Covers(from.Base, end) }); err != nil {
		return err
	}
	if n := anchor.Messages - from.Messages; n > 0 || inside(from) {
		a.replay = &replay{anchor: anchor, need: n, last: from.At, over: make(chan struct{})}
	}
	if err := a.begin(ctx, from, last); err != nil {
		return err
	}
	if a.replay != nil {
		a.start.Again = a.replay.over
	}
	p.log.Info("the state is a copy of an earlier time: what the steps kept since is made again",
		"from", from.Base, "messages", anchor.Messages-from.Messages)
	return nil
}

// copiedSince is the fault of a state from before rows that were read of tables.
// Were they counted as rows of the log, as many of those would be left out.
func (a *attempt) copiedSince() error {
	return fault.New(fault.Fatal, sink.CodeNotReproducible, a.p.spec.Name,
		"restore a newer copy of the state, if there is one from behind the snapshot; otherwise "+forgetHint,
		"the state is a copy from before the end of a snapshot, and the rows that were read then can't be read again as they were")
}

// leaveOut takes out of a batch's group what the sink has.
func (a *attempt) leaveOut(b *cdc.Batch, f *flight) error {
	r := a.replay
	if r == nil {
		return nil
	}
	if b.Snapshot && b.Rows() > 0 || b.News != nil {
		return a.copiedSince()
	}
	f.replayed = true
	from := 0
	var messages []sink.Message
	if f.group != nil {
		messages = f.group.Messages
	}
	for ; from < len(messages) && r.need > 0; from++ {
		if m := &messages[from]; m.Kind == sink.KindData {
			r.need--
			r.last = m.Place
			r.last.Tx = string([]byte(m.Place.Tx)) // the group's buffer is used again
		}
	}
	if r.need == 0 { // the end of the transaction may come in a batch of its own
		missing := r.endMissing()
		end := slices.IndexFunc(messages[from:], func(m sink.Message) bool { return m.Kind == sink.KindTxEnd && m.Place.Tx == r.last.Tx })
		switch {
		case end >= 0 && (missing || r.anchor.At.Tx == ""):
			from += end + 1
			r.ended = true
		case missing && data(messages[from:]):
			return a.otherMessages()
		case missing:
			a.drop(f, len(messages))
			return nil
		}
	}
	where, err := a.where(b)
	switch {
	case err != nil:
		return err
	case r.need > 0 && where < atAnchor, r.need == 0 && where == beforeAnchor && !data(messages[from:]):
		a.drop(f, len(messages))
		return nil
	case r.need > 0, where == beforeAnchor, where == atAnchor && data(messages[from:]), r.anchor.At.Tx != "" && r.anchor.At != r.last && !r.ended:
		return a.otherMessages()
	}
	if where == atAnchor {
		from = len(messages)
	}
	a.drop(f, from)
	a.replay, f.replayed = nil, f.group == nil
	close(r.over)
	a.p.log.Info("the state is what the sink has again", "at", b.End)
	return nil
}

// endMissing reports whether the anchor is the end of a transaction that came in
// parts, and that is what comes next.
func (r *replay) endMissing() bool {
	at, next := r.anchor.At, r.last
	next.N++
	return !r.ended && r.anchor.Complete && at != r.last && at.Tx == next.Tx && at.N == next.N
}

// Where a batch lies, seen from the anchor.
type where int

const (
	beforeAnchor where = iota // ends before it, where the anchor is exact
	aroundAnchor              // or not known: the anchor's message tells
	atAnchor                  // ends there
	behindAnchor              // begins there, or behind
)

func (a *attempt) where(b *cdc.Batch) (where, error) {
	anchor := &a.replay.anchor
	if anchor.At.Tx != "" {
		return aroundAnchor, nil
	}
	if behind, err := a.p.spec.Source.Covers(b.Begin, anchor.Base); err != nil || behind {
		return behindAnchor, err
	}
	before, err := a.p.spec.Source.Covers(anchor.Base, b.End)
	if err != nil || !before {
		return aroundAnchor, err
	}
	if at, err := a.p.spec.Source.Covers(b.End, anchor.Base); err != nil || at {
		return atAnchor, err
	}
	return beforeAnchor, nil
}

func data(messages []sink.Message) bool {
	return slices.ContainsFunc(messages, func(m sink.Message) bool { return m.Kind == sink.KindData })
}

// otherMessages says that the rows give other messages now than they gave then.
func (a *attempt) otherMessages() error {
	r := a.replay
	return fault.New(fault.Fatal, sink.CodeNotReproducible, a.p.spec.Name,
		"restore a newer copy of the state; or run with the steps, configuration and tables of the time between the copy and now; otherwise "+forgetHint,
		"what the steps kept can't be made again: the sink has %d messages up to %s %s; here the last is %s, and %d are left",
		r.anchor.Messages, r.anchor.Base, r.anchor.At, r.last, r.need)
}

// drop takes the first messages out of a flight's group; without any left it has
// none.
func (a *attempt) drop(f *flight, n int) {
	if f.group == nil || n == 0 {
		return
	}
	f.group.Messages = f.group.Messages[n:]
	f.messages = len(f.group.Messages)
	if f.messages > 0 {
		return
	}
	f.group.Done()
	f.group, f.bytes = nil, 0
}
