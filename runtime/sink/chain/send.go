package chain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// A message carries its full base at least this often; in between it names the
// message that does, so that an anchor is two reads at most.
const (
	baseMessagesMax = 1000
	baseAgeMax      = 10 * time.Minute
)

// headerBytesMax is what the protocol's own headers may take beside base and
// place, names and the broker's expectation included.
const headerBytesMax = 512

// writer is the state of sending. Chain.send guards it.
type writer struct {
	created int64  // of the stream, unix nanoseconds
	session uint64 // the connection on which the stream was read
	seq     uint64 // of the last message sent, and so of the stream
	count   uint64 // data messages up to there
	epoch   uint64
	text    string // epoch in decimal

	marking bool // a marker was put behind markAt, and whether it is stored is not known
	markAt  uint64

	baseText string // sequence of the last message with a full base
	baseLeft int    // messages until the next one must carry it
	baseTime time.Time

	scratch []byte // texts of the message being sent
	out     Outgoing
}

// check finds what the stream would refuse, before anything of the group is sent.
func (c *Chain) check(g *sink.Group) error {
	most := c.log.MessageBytesMax()
	for i := range g.Messages {
		m := &g.Messages[i]
		size := len(m.Body) + len(m.Headers) + headerBytesMax + len(g.Base) + len(m.Place.Tx)
		if size > most {
			return fault.New(fault.Poison, sink.CodeMessageTooLarge, c.place(g, m),
				"raise max_payload of the NATS server, or null the large column with the step mask",
				"a message for %s has %d bytes with its headers, the server takes %d", m.Subject, size, most)
		}
		if len(m.Headers) > 0 {
			if err := c.checkHeaders(g, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Chain) checkHeaders(g *sink.Group, m *sink.Message) error {
	for line := range bytes.Lines(m.Headers) {
		name, _, ok := strings.Cut(string(line), ":")
		lower := strings.ToLower(name)
		if !ok || name == "" || strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "cdc-") ||
			strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fault.New(fault.Poison, sink.CodeHeaderReserved, c.place(g, m),
				"let the connector name its headers with printable ASCII, and not Nats-… or Cdc-…",
				"a connector asked for the header %q", strings.TrimSpace(string(line)))
		}
	}
	return nil
}

func (c *Chain) place(g *sink.Group, m *sink.Message) string {
	if m.Place.Tx == "" {
		return c.cfg.Pipeline + " at " + string(g.Base)
	}
	return c.cfg.Pipeline + " at " + m.Place.String()
}

// sendEntry sends an entry's messages behind what was sent. What goes wrong is
// noted for Wait; the entry is in the queue, and nothing is lost. alone ends
// the run with the entry if it begins with it.
func (c *Chain) sendEntry(e entry, alone bool) {
	w := &c.w
	now := c.cfg.Now()
	n := len(e.group.Messages)
	for i := e.from; i < n; i++ {
		if i%64 == e.from%64 { // as often as finding out costs nothing
			ok, began := c.inRun()
			if !ok {
				return
			}
			alone = alone && (began || i > e.from)
		}
		c.encode(e.group, &e.group.Messages[i], now)
		w.out.Number++
		if w.out.Last = alone && i == n-1; w.out.Last {
			c.closeRun() // before the answer can come
		}
		if err := c.log.Send(&w.out); err != nil {
			c.fail(err)
			return
		}
	}
	c.mu.Lock()
	c.run.sent = now
	c.mu.Unlock()
}

// inRun makes sure that there is an open run, and reports whether it began it,
// and whether anything may be sent at all.
func (c *Chain) inRun() (ok, began bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil || c.dead != nil {
		return false, false
	}
	if c.run.open {
		return true, false
	}
	c.run.id++
	c.run.start, c.run.open, c.run.sent = c.w.seq, true, c.cfg.Now()
	c.w.out.Run, c.w.out.Number = c.run.id, 0
	return true, true
}

func (c *Chain) closeRun() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run.open, c.run.end = false, c.w.seq
}

func (c *Chain) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff(err)
}

// encode makes w.out the next message. Nothing is allocated once the scratch
// has grown: the texts are views of it.
func (c *Chain) encode(g *sink.Group, m *sink.Message, now time.Time) {
	w := &c.w
	o := &w.out
	o.Subject, o.Body, o.Extra, o.Expect = m.Subject, m.Body, m.Headers, w.seq
	o.Session = w.session
	o.Values = [HeaderCount]string{HeaderEpoch: w.text}
	w.seq++
	if m.Kind == sink.KindData {
		w.count++
	} else {
		o.Values[HeaderKind] = m.Kind.String()
	}
	b := w.scratch[:0]
	b = strconv.AppendUint(b, w.count, 10)
	atPos := len(b)
	if m.Place.Tx == "" {
		b = append(b, exactPos...)
	} else {
		b = m.Place.Append(b)
	}
	atRows := len(b)
	if m.TxRows > 0 {
		b = strconv.AppendUint(b, m.TxRows, 10)
	}
	w.scratch = b
	o.Values[HeaderSeq], o.Values[HeaderPos], o.Values[HeaderTxRows] = view(b[:atPos]), view(b[atPos:atRows]), view(b[atRows:])
	if m.TxLast {
		o.Values[HeaderTxLast] = "1"
	}
	if m.SubjectLast {
		o.Values[HeaderSubjectLast] = "1"
	}
	if m.Place.Tx == "" || w.baseLeft == 0 || now.Sub(w.baseTime) > baseAgeMax {
		o.Values[HeaderBase], o.Values[HeaderFingerprint] = string(g.Base), c.cfg.Fingerprint
		w.newBase(now)
		return
	}
	w.baseLeft--
	o.Values[HeaderBaseSeq] = w.baseText
}

// newBase notes that the message w.seq carries a full base.
func (w *writer) newBase(now time.Time) {
	w.baseText = strconv.FormatUint(w.seq, 10)
	w.baseLeft, w.baseTime = baseMessagesMax-1, now
}

// view returns b as text without a copy: good until the next message is encoded.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// marker makes w.out the marker that claims the stream behind the anchor, for
// the given epoch. Inside a transaction it repeats the fingerprint that the
// transaction was begun with: that one alone may finish it.
func (c *Chain) marker(a anchor, epoch uint64, now time.Time) {
	pos := exactPos
	if a.place.Tx != "" {
		pos = a.place.String()
	}
	body, err := json.Marshal(struct {
		Op       string       `json:"op"`
		Kind     string       `json:"kind"`
		Pipeline string       `json:"pipeline"`
		Position sdk.Position `json:"position"`
		Place    string       `json:"place"`
		Epoch    uint64       `json:"epoch"`
		Time     int64        `json:"ts_ms"`
	}{"m", sink.KindMarker.String(), c.cfg.Pipeline, a.base, pos, epoch, now.UnixMilli()})
	if err != nil {
		panic(fmt.Sprintf("chain: a marker of texts and numbers did not encode: %v", err))
	}
	o := &c.w.out
	*o = Outgoing{Subject: c.cfg.Control, Body: body, Expect: a.state.LastSeq, Session: a.state.Session}
	o.Values[HeaderPos] = pos
	o.Values[HeaderBase] = string(a.base)
	o.Values[HeaderSeq] = strconv.FormatUint(a.count, 10)
	o.Values[HeaderEpoch] = strconv.FormatUint(epoch, 10)
	o.Values[HeaderKind] = sink.KindMarker.String()
	o.Values[HeaderFingerprint] = c.cfg.Fingerprint
	switch {
	case a.place.Tx == "":
	case a.whole:
		o.Values[HeaderTxLast] = "1"
	case a.print != "":
		o.Values[HeaderFingerprint] = a.print
	}
}
