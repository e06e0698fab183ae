package oracle

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
)

// Firsts judges a stream that others write to as well, and in which messages may
// come again: what comes for the first time is judged by a Checker as if nothing
// were between. What comes again must be the same as it was, and be part of a
// piece of the stream that is sent again from somewhere on, in order, without
// leaving anything out but what the broker has dropped as a duplicate.
type Firsts struct {
	// Repeats, Pieces and Foreign are how many messages came again, how often the
	// stream stepped back for them, and how many were somebody else's.
	Repeats, Pieces, Foreign int

	c      *Checker
	window time.Duration // for how long the broker remembers
	seen   []seen        // by Cdc-Seq, from 1
	last   uint64        // Cdc-Seq of the data message before
	ended  map[string]bool
	next   uint64
}

// seen is a data message that has come.
type seen struct {
	hash [sha256.Size]byte
	last time.Time // when it came last
}

// windowSlack is how much longer than it says the broker may remember.
const windowSlack = 2 * time.Second

// NewFirsts returns a Firsts that hands first messages to c, whose Spec has Shared.
// window is the stream's duplicate window.
func NewFirsts(c *Checker, window time.Duration) *Firsts {
	return &Firsts{c: c, window: window, ended: map[string]bool{}}
}

// Message judges the next message.
func (f *Firsts) Message(m Message) {
	c := f.c
	if f.next++; m.Sequence != f.next {
		c.step(byStore, &m, "stream sequence", f.next-1, m.Sequence)
		f.next = max(f.next, m.Sequence)
	}
	switch {
	case !strings.HasPrefix(m.Subject, "cdc."+c.spec.Pipeline+"."):
		f.Foreign++
	case m.Subject != c.control():
		f.data(m)
	case m.header(headerKind) == "tx_end" && f.ended[m.header(headerPos)]:
		f.Repeats++
	default:
		if m.header(headerKind) == "tx_end" {
			f.ended[m.header(headerPos)] = true
		}
		f.first(m)
	}
}

// first hands on a message, as if those before it that came again or were
// somebody else's had never been.
func (f *Firsts) first(m Message) {
	m.Sequence = f.c.sequence + 1
	f.c.Message(m)
}

func (f *Firsts) data(m Message) {
	c := f.c
	seq, ok := c.number(&m, headerSeq)
	if !ok {
		return
	}
	now := seen{hashOf(&m), m.Time}
	high := uint64(len(f.seen))
	from, before := f.last, high
	f.last = seq
	if seq == 0 || seq > before {
		for range seq - min(seq, before) { // the Checker says what is missing
			f.seen = append(f.seen, now)
		}
		f.inOrder(&m, from, before+1)
		f.first(m)
		return
	}
	f.Repeats++
	if was := &f.seen[seq-1]; was.hash != now.hash {
		c.changed(bySequence, &m, "it comes again, and is not what it was")
	}
	f.seen[seq-1].last = m.Time
	if seq <= from {
		f.Pieces++
		return
	}
	f.inOrder(&m, from, seq)
}

// inOrder judges that a message with the number to comes behind the one with the
// number from: between them may only be what the broker still remembered.
func (f *Firsts) inOrder(m *Message, from, to uint64) {
	for n := from + 1; n < to && n <= uint64(len(f.seen)); n++ {
		if age := m.Time.Sub(f.seen[n-1].last); age > f.window+windowSlack {
			f.c.reordered(bySequence, m, "what is sent again goes from %s %d to %d: it leaves out one that came %v before", headerSeq, from, to, age)
			return
		}
	}
}

// hashOf is of all that must be the same when a message comes again.
func hashOf(m *Message) [sha256.Size]byte {
	var b []byte
	for _, s := range []string{m.Subject, m.header(headerPos), m.header(headerMsgID), m.header(headerTxRows), m.header(headerTxLast), m.header(headerSubjectLast)} {
		b = append(append(b, s...), 0)
	}
	return sha256.Sum256(slices.Concat(b, m.Body))
}
