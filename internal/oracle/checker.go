package oracle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Message is one message of the stream, in the stream's order.
type Message struct {
	Sequence uint64    // the stream's own number
	Time     time.Time // when the broker stored it
	Subject  string
	Header   map[string][]string
	Body     []byte
}

func (m *Message) header(name string) string {
	if v := m.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Headers of messages, as the product documents them.
const (
	headerSeq         = "Cdc-Seq"
	headerEpoch       = "Cdc-Epoch"
	headerKind        = "Cdc-Kind"
	headerPos         = "Cdc-Pos"
	headerBase        = "Cdc-Base"
	headerBaseSeq     = "Cdc-Base-Seq"
	headerTxRows      = "Cdc-Tx-Rows"
	headerTxLast      = "Cdc-Tx-Last"
	headerSubjectLast = "Cdc-Subject-Last"
	headerMsgID       = "Nats-Msg-Id"
)

// Counts are the ways in which a stream can be wrong.
type Counts struct {
	Lost      int `json:"lost"`
	Doubled   int `json:"doubled"`
	Reordered int `json:"reordered"`
	Changed   int `json:"changed"`
}

// Report is what a Checker found.
type Report struct {
	Messages     int `json:"messages"` // control messages included
	Rows         int `json:"rows"`
	Transactions int `json:"transactions"`
	Reads        int `json:"reads,omitempty"`     // rows of a snapshot, part of Rows
	Snapshots    int `json:"snapshots,omitempty"` // that have ended
	Cancelled    int `json:"cancelled,omitempty"` // snapshots that have begun, and were given up
	Counts
	Findings []string `json:"findings,omitempty"` // the first few, for people
}

// Wrong reports whether anything at all was found.
func (r Report) Wrong() bool { return r.Counts != Counts{} || len(r.Findings) > 0 }

const findingsMax = 20

// The independent ways of noticing. Most errors are noticed by several of them;
// a Report says what the one says that noticed most.
type detector int

const (
	byStore       detector = iota // the broker's own sequence
	bySequence                    // the product's counters
	byTransaction                 // places and boundaries
	byWriter                      // what the writer says of its transaction
	byKey                         // versions and values
	detectors
)

// Spec is what a Checker must know of the pipeline.
type Spec struct {
	Pipeline string
	// Snapshot says that the stream has a copy of the tables: rows that were there
	// before it are read, each once, and the first that is told of a key may be
	// any version.
	Snapshot bool
	// Requests says that people ask for copies of tables: what these read the stream
	// has told of before, from its beginning.
	Requests bool
	// Masked gives, for "table.column", what a step makes of a value in
	// canonical text. NULL is given as null.
	Masked map[string]func(canon string) string
	// Shared says that the stream is shared with others: no message names
	// another one's sequence, and control messages may come twice.
	Shared bool
}

// Checker reads a stream from its first message and judges each one.
type Checker struct {
	spec   Spec
	tables map[string]*table
	counts [detectors]Counts
	report Report

	sequence, seq, epoch uint64 // of the message before; 0 before the first
	base                 uint64 // stream sequence of the last message with a full base
	tx                   txState
	keys                 map[string]map[uint64]*keyState
	copies               map[string]*copyState // of tables, by their id
}

// NewChecker returns a Checker that has seen nothing.
func NewChecker(spec Spec) *Checker {
	c := &Checker{spec: spec, tables: map[string]*table{}, keys: map[string]map[uint64]*keyState{}, copies: map[string]*copyState{}}
	for _, t := range tables() {
		c.tables[t.name] = t
		c.keys[t.name] = map[uint64]*keyState{}
	}
	return c
}

// Report returns what was found so far.
func (c *Checker) Report() Report {
	r := c.report
	for _, n := range c.counts {
		r.Lost, r.Doubled = max(r.Lost, n.Lost), max(r.Doubled, n.Doubled)
		r.Reordered, r.Changed = max(r.Reordered, n.Reordered), max(r.Changed, n.Changed)
	}
	return r
}

// found keeps the first findings; counts are kept by the callers.
func (c *Checker) found(m *Message, format string, args ...any) {
	if len(c.report.Findings) >= findingsMax {
		return
	}
	place := "at the end"
	if m != nil {
		place = fmt.Sprintf("message %d, %s %s %s", m.Sequence, m.Subject, m.header(headerKind), m.header(headerPos))
	}
	c.report.Findings = append(c.report.Findings, place+": "+fmt.Sprintf(format, args...))
}

func (c *Checker) lost(d detector, n uint64, m *Message, format string, args ...any) {
	c.counts[d].Lost += int(n)
	c.found(m, "lost: "+format, args...)
}

func (c *Checker) doubled(d detector, m *Message, format string, args ...any) {
	c.counts[d].Doubled++
	c.found(m, "doubled: "+format, args...)
}

func (c *Checker) reordered(d detector, m *Message, format string, args ...any) {
	c.counts[d].Reordered++
	c.found(m, "reordered: "+format, args...)
}

func (c *Checker) changed(d detector, m *Message, format string, args ...any) {
	c.counts[d].Changed++
	c.found(m, "changed: "+format, args...)
}

// step judges a counter that must rise by exactly one.
func (c *Checker) step(d detector, m *Message, what string, last, now uint64) {
	switch {
	case now == last+1:
	case now > last:
		c.lost(d, now-last-1, m, "%s goes from %d to %d", what, last, now)
	case now == last:
		c.doubled(d, m, "%s %d again", what, now)
	default:
		c.reordered(d, m, "%s goes back from %d to %d", what, last, now)
	}
}

// Message judges the next message.
func (c *Checker) Message(m Message) {
	c.report.Messages++
	c.checkSequence(&m)
	switch kind := m.header(headerKind); {
	case m.Subject == c.control():
		c.checkControl(&m, kind)
	case kind != "" && kind != "data":
		c.changed(bySequence, &m, "kind %q on a data subject", kind)
	default:
		c.checkData(&m)
	}
}

// checkSequence judges what all messages have: the counters and the base.
func (c *Checker) checkSequence(m *Message) {
	if c.sequence+1 != m.Sequence {
		c.step(byStore, m, "stream sequence", c.sequence, m.Sequence)
	}
	c.sequence = max(c.sequence, m.Sequence)
	c.checkCount(m)
	if epoch, ok := c.number(m, headerEpoch); ok {
		if epoch < c.epoch {
			c.reordered(bySequence, m, "epoch goes back from %d to %d", c.epoch, epoch)
		}
		c.epoch = max(c.epoch, epoch)
	}
	switch {
	case m.header(headerBase) != "":
		c.base = m.Sequence
	case c.spec.Shared:
	case m.header(headerBaseSeq) == "":
		c.changed(bySequence, m, "neither %s nor %s: nobody can resume from this message", headerBase, headerBaseSeq)
	default:
		if seq, ok := c.number(m, headerBaseSeq); ok && seq != c.base {
			c.changed(bySequence, m, "%s says %d, the last message with a base is %d", headerBaseSeq, seq, c.base)
		}
	}
}

// checkCount judges Cdc-Seq: the number of data messages up to this one.
func (c *Checker) checkCount(m *Message) {
	seq, ok := c.number(m, headerSeq)
	last := c.seq
	switch {
	case !ok:
		return
	case c.report.Messages == 1: // dense from the first, whatever the first is called
	case m.Subject != c.control():
		c.step(bySequence, m, headerSeq, last, seq)
	case seq > last:
		c.lost(bySequence, seq-last, m, "%s goes from %d to %d", headerSeq, last, seq)
	case seq < last && !c.spec.Shared:
		c.reordered(bySequence, m, "%s goes back from %d to %d", headerSeq, last, seq)
	}
	c.seq = max(last, seq)
}

// control is the subject of control messages.
func (c *Checker) control() string { return "cdc." + c.spec.Pipeline + "._cdcd" }

func (c *Checker) number(m *Message, header string) (uint64, bool) {
	n, err := strconv.ParseUint(m.header(header), 10, 64)
	if err != nil {
		c.changed(bySequence, m, "%s is %q", header, m.header(header))
	}
	return n, err == nil
}

func (c *Checker) checkControl(m *Message, kind string) {
	switch kind {
	case "marker", "heartbeat", "schema", "history":
	case "tx_end":
		c.endTx(m)
	case "snapshot_begin", "snapshot_end", "snapshot_cancelled", "snapshot_failed":
		c.checkCopy(m, kind)
	default:
		c.changed(bySequence, m, "control message of kind %q", kind)
	}
	if !strings.Contains(string(m.Body), `"op":"m"`) {
		c.changed(bySequence, m, `control message without "op":"m": %.100s`, m.Body)
	}
}
