package sinktest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// Feed is a source and a pipeline in one: a fixed log of transactions, each of
// a few rows, each row giving one or two messages. What it gives depends on
// nothing but its arguments, so that messages can be compared with what should
// have come. Its positions are "p<n>": before transaction n.
type Feed struct {
	// Subject and Control are where data and control messages go.
	Subject, Control string
	// BodyBytes pads bodies up to this size.
	BodyBytes int
}

// rows and parts make transactions of 1 to 4 rows, of 1 or 2 messages each.
func rows(tx uint64) uint64           { return tx%4 + 1 }
func parts(tx, row uint64) uint32     { return uint32((tx+row)%3/2 + 1) }
func position(tx uint64) sdk.Position { return sdk.Position("p" + strconv.FormatUint(tx, 10)) }

// Initial is the position before everything.
func (f *Feed) Initial() sdk.Position { return position(0) }

// Cursor is a place in the log where reading continues.
type Cursor struct {
	feed   *Feed
	tx     uint64
	skip   uint64 // messages of transaction tx that are done
	number uint64
}

// From returns the cursor behind an anchor.
func (f *Feed) From(a sink.Anchor) (*Cursor, error) {
	c := &Cursor{feed: f}
	at := string(a.Base)
	if a.At.Tx != "" {
		at = a.At.Tx
		c.skip = a.At.N + 1
	}
	if _, err := fmt.Sscanf(strings.TrimLeft(at, "pt"), "%d", &c.tx); err != nil {
		return nil, fmt.Errorf("anchor %q: %w", at, err)
	}
	return c, nil
}

// Next returns the next group: n transactions, or what is left of the first
// and n-1 more. partial ends the group inside its last transaction.
func (c *Cursor) Next(n int, partial bool) *sink.Group {
	g := &sink.Group{Number: c.number, Base: position(c.tx)}
	c.number++
	for i := range n {
		all := c.feed.transaction(c.tx)
		msgs := all[min(c.skip, uint64(len(all))):]
		if partial && i == n-1 && len(msgs) > 1 {
			msgs = msgs[:len(msgs)/2]
			c.skip += uint64(len(msgs))
			g.Messages = append(g.Messages, msgs...)
			break
		}
		g.Messages = append(g.Messages, msgs...)
		c.tx, c.skip = c.tx+1, 0
	}
	g.End = position(c.tx)
	for i := range g.Messages {
		g.Bytes += len(g.Messages[i].Body) + len(g.Messages[i].Subject)
	}
	return g
}

// Empty returns a group without messages: the position is told again.
func (c *Cursor) Empty() *sink.Group {
	g := &sink.Group{Number: c.number, Base: position(c.tx), End: position(c.tx)}
	c.number++
	return g
}

// Heartbeat returns a group of one heartbeat.
func (c *Cursor) Heartbeat() *sink.Group {
	g := c.Empty()
	m := sink.Message{Kind: sink.KindHeartbeat, Subject: c.feed.Control, Body: []byte(`{"op":"m","kind":"heartbeat"}`)}
	if c.skip > 0 { // inside a transaction a heartbeat stands where the last message did
		all := c.feed.transaction(c.tx)
		m.Place = all[c.skip-1].Place
	}
	g.Messages = []sink.Message{m}
	g.Bytes = len(m.Body)
	return g
}

// Messages is how many data messages lie before the cursor.
func (c *Cursor) Messages() uint64 {
	n := c.skip
	for tx := range c.tx {
		for row := range rows(tx) {
			n += uint64(parts(tx, row))
		}
	}
	return n
}

// Exact reports whether the cursor stands between transactions.
func (c *Cursor) Exact() bool { return c.skip == 0 }

// transaction returns all messages of one transaction.
func (f *Feed) transaction(tx uint64) []sink.Message {
	var msgs []sink.Message
	for row := range rows(tx) {
		for part := range parts(tx, row) {
			body := fmt.Appendf(nil, `{"tx":%d,"row":%d,"part":%d}`, tx, row, part)
			for len(body) < f.BodyBytes {
				body = append(body, ' ')
			}
			msgs = append(msgs, sink.Message{
				Subject: f.Subject, Key: fmt.Appendf(nil, "%d.%d", tx, row), Body: body, TxRows: rows(tx),
				Place: sink.Place{Tx: fmt.Sprintf("t%d", tx), Row: row, Part: part, Parts: parts(tx, row), N: uint64(len(msgs))},
			})
		}
	}
	msgs[len(msgs)-1].TxLast, msgs[len(msgs)-1].SubjectLast = true, true
	return msgs
}

// Check reports the first difference between the bodies and what the feed
// gives: nothing lost, doubled or reordered.
func (f *Feed) Check(bodies []string) error {
	i := 0
	for tx := uint64(0); i < len(bodies); tx++ {
		for _, m := range f.transaction(tx) {
			if i == len(bodies) {
				return nil
			}
			if bodies[i] != string(m.Body) {
				return fmt.Errorf("message %d of %d is %.80s, want %.80s", i, len(bodies), bodies[i], m.Body)
			}
			i++
		}
	}
	return nil
}
