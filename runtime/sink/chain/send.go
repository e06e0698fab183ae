package chain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// A message carries its full base at least this often; in between it names the
// message that does, so that an anchor is two reads at most.
const (
	baseMessagesMax = 1000
	baseAgeMax      = 10 * time.Minute
)

// writer is the state of sending. Chain.send guards it.
type writer struct {
	created int64  // of the stream, unix nanoseconds
	session uint64 // the connection on which the stream was read
	seq     uint64 // of the last message sent, and so of the stream
	count   uint64 // data messages up to there
	epoch   uint64
	text    string // epoch in decimal
	replays uint64 // number of the last replay up to there
	last    string // replays in decimal; empty without any
	inside  bool   // what was published last ends inside a transaction

	marking bool // a marker was put behind markAt, and whether it is stored is not known
	markAt  uint64

	baseText string // sequence of the last message with a full base
	baseLeft int    // messages until the next one must carry it
	baseTime time.Time

	scratch []byte // texts of the message being sent
	out     Outgoing
}

// sendEntry sends an entry's messages behind what was sent, in the open run,
// and ends that with the last one if it is the run's. What goes wrong is noted
// for Wait; the entry is in the queue, and nothing is lost.
func (c *Chain) sendEntry(e *entry, ends bool) {
	w := &c.w
	now := c.cfg.Now()
	for i := e.from; i < e.to; i++ {
		if (i-e.from)%64 == 0 && !c.sending() { // as often as finding out costs nothing
			return
		}
		c.encode(e.group, &e.group.Messages[i], now)
		w.out.Number++
		if w.out.Last = ends && i == e.to-1; w.out.Last {
			c.mu.Lock()
			c.closeRun() // before the answer can come
			c.mu.Unlock()
		}
		if err := c.log.Send(&w.out); err != nil {
			c.fail(err)
			return
		}
	}
	if err := c.log.Flush(); err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	c.run.sent = now
	c.mu.Unlock()
}

// sending reports whether anything may be sent at all.
func (c *Chain) sending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken == nil && c.dead == nil
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
	o.Values = [HeaderCount]string{HeaderEpoch: w.text, HeaderRun: g.Run}
	w.seq++
	if counted(m) {
		w.count++
	}
	if m.Kind != sink.KindData {
		o.Values[HeaderKind] = m.Kind.String()
	}
	if m.Replay > 0 {
		w.replay(m.Replay)
		o.Values[HeaderOriginal] = m.Original
	}
	o.Values[HeaderReplay] = w.last
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
	atID := len(b)
	if c.cfg.Shared {
		o.Shared = true
		b = c.messageID(m, b)
	}
	w.scratch = b
	o.Values[HeaderMsgID] = view(b[atID:])
	o.Values[HeaderSeq], o.Values[HeaderPos], o.Values[HeaderTxRows] = view(b[:atPos]), view(b[atPos:atRows]), view(b[atRows:atID])
	if m.TxLast {
		o.Values[HeaderTxLast] = "1"
	}
	if m.SubjectLast {
		o.Values[HeaderSubjectLast] = "1"
	}
	if m.KeyHeader {
		o.Values[HeaderKey] = view(m.Key)
	}
	o.Values[HeaderOperation] = c.operation(m)
	if cl := m.Claim; cl != nil {
		o.Values[HeaderClaim], o.Values[HeaderClaimDigest] = cl.Bucket+"/"+cl.Name, cl.Digest
		o.Values[HeaderClaimBytes] = strconv.Itoa(cl.Bytes)
	}
	if c.cfg.Latest || m.Place.Tx == "" || m.Rebase || w.baseLeft == 0 || now.Sub(w.baseTime) > baseAgeMax {
		o.Values[HeaderBase], o.Values[HeaderFingerprint] = string(g.Base), c.cfg.Fingerprint
		w.newBase(now)
		return
	}
	w.baseLeft--
	if !c.cfg.Shared { // there the sequence is not known
		o.Values[HeaderBaseSeq] = w.baseText
	}
}

// newBase notes that the message w.seq carries a full base.
func (w *writer) newBase(now time.Time) {
	w.baseText = strconv.FormatUint(w.seq, 10)
	w.baseLeft, w.baseTime = baseMessagesMax-1, now
}

// replay notes the number of the last replay up to the message w.seq.
func (w *writer) replay(number uint64) {
	if number == w.replays {
		return
	}
	w.replays, w.last = number, ""
	if number > 0 {
		w.last = strconv.FormatUint(number, 10)
	}
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
	if a.replays > 0 {
		o.Values[HeaderReplay] = strconv.FormatUint(a.replays, 10)
	}
	o.Values[HeaderFingerprint] = c.cfg.Fingerprint
	switch {
	case a.place.Tx == "":
	case a.whole:
		o.Values[HeaderTxLast] = "1"
	case a.print != "":
		o.Values[HeaderFingerprint] = a.print
	}
}
