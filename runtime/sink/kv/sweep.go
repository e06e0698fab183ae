package kv

import (
	"context"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// TRUNCATE empties a table without naming its rows, so the bucket is asked for
// their keys. Once the stream has all that comes before:
//
//  1. A mark goes out behind it.
//  2. The keys of the table before the mark are read, and those that have a value
//     get a delete, a thousand at a time.
//  3. Then the truncation itself goes out, as a message on a control subject, and
//     what follows it.
//
// Marks and deletes have the place of the message before them, so that a crash
// makes the truncation be read again: what is left is then deleted. Its own
// message is a part like any other, counted and exactly once.
type sweep struct {
	group  *sink.Group  // that has the truncation
	at     int          // index of the truncation's message
	behind sink.Message // that was sent before the group
	token  string       // of the sweep's own group that was confirmed last
	marked bool         // the mark is sent
	end    uint64       // the mark's sequence; 0 while it is not known
	from   uint64       // keys before this sequence are deleted
	done   bool         // and those up to the mark, too
}

// keysMax is how many keys are deleted at a time.
const keysMax = 1000

// piece returns a group of the sweep's group's messages from one index to another.
func (sw *sweep) piece(from, to int) *sink.Group {
	return groupOf(sw.group, sw.group.Messages[from:to:to])
}

func groupOf(g *sink.Group, messages []sink.Message) *sink.Group {
	own := &sink.Group{Number: g.Number, Base: g.Base, End: g.Base, Messages: messages}
	for i := range messages {
		m := &messages[i]
		own.Bytes += len(m.Subject) + len(m.Key) + len(m.Body) + len(m.Headers)
	}
	return own
}

// message returns a message that is no step forward: it has the place of the
// message before the truncation's, or none where the group's base is exact.
func (sw *sweep) message(subject string, body []byte) sink.Message {
	m := sink.Message{Kind: sink.KindSwept, Subject: subject, Body: body}
	own := &sw.group.Messages[sw.at]
	before := &sw.behind
	if sw.at > 0 {
		before = &sw.group.Messages[sw.at-1]
	} else if own.Place.N == 0 {
		return m
	}
	m.Place = before.Place
	m.TxLast = m.Place.Tx != "" && m.Place.Tx != own.Place.Tx
	return m
}

// step carries the sweep on, while the stream has everything that was sent. It
// sends one group at most. After an error it begins with the mark again.
func (s *Sink) step(ctx context.Context, sw *sweep) error {
	err := s.advance(ctx, sw)
	if err != nil {
		sw.restart()
	}
	return err
}

func (sw *sweep) restart() { sw.marked, sw.end, sw.from, sw.done = false, 0, 1, false }

func (s *Sink) advance(ctx context.Context, sw *sweep) error {
	switch {
	case !sw.marked:
		sw.restart()
		sw.marked = true
		return s.forward(ctx, groupOf(sw.group, []sink.Message{sw.message(s.mark(), []byte(`{"op":"m","kind":"swept"}`))}), true)
	case sw.done:
		return s.finish(ctx, sw)
	case sw.end == 0:
		var err error
		if sw.end, err = chain.SequenceOf(sw.token); err != nil {
			return err
		}
	}
	live, err := s.liveKeys(ctx, sw)
	if err != nil || len(live) == 0 {
		return err
	}
	deletes := make([]sink.Message, len(live))
	for i, subject := range live {
		deletes[i] = sw.message(subject, nil)
	}
	return s.forward(ctx, groupOf(sw.group, deletes), true)
}

// mark is the subject of the message behind which a sweep reads no keys.
func (s *Sink) mark() string { return s.control + ".sweep" }

// liveKeys reads on, and returns the subjects of keys that have a value. A server
// of a cluster that does not have the mark may lack keys as well, and is asked
// again.
func (s *Sink) liveKeys(ctx context.Context, sw *sweep) ([]string, error) {
	at := map[string]bool{}
	err := s.Read(ctx, sw.from, true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		sw.from = meta.Sequence.Stream + 1
		if m.Subject() == s.mark() {
			sw.done = meta.Sequence.Stream == sw.end
			return !sw.done, nil
		}
		if m.Headers().Get(chain.HeaderOperation.String()) == "" {
			at[m.Subject()] = true
		} else {
			delete(at, m.Subject())
		}
		return len(at) < keysMax, nil
	}, sw.group.Messages[sw.at].Subject, s.mark())
	if err == nil && !sw.done && len(at) < keysMax {
		err = fault.New(fault.Retryable, sink.CodeSinkUnreachable, s.name, "check that the NATS server runs, and that its cluster is in sync",
			"the bucket does not name the keys before message %d", sw.end)
	}
	return slices.Sorted(maps.Keys(at)), err
}

// finish sends the truncation's own message and what is behind it, up to the
// next truncation.
func (s *Sink) finish(ctx context.Context, sw *sweep) error {
	g := sw.group
	g.Messages[sw.at].Subject = s.control + ".truncate"
	next := truncation(g.Messages[sw.at:])
	if next > 0 {
		if err := s.forward(ctx, sw.piece(sw.at, sw.at+next), true); err != nil {
			return err
		}
		sw.at += next
		sw.restart()
		return nil
	}
	all := g.Messages
	g.Messages = g.Messages[sw.at:]
	if err := s.forward(ctx, g, false); err != nil {
		g.Messages = all
		return err
	}
	s.end(sw) // only now may the groups behind it follow
	return nil
}
