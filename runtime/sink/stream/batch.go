package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// askAtomicMax finds out how many messages the server takes in one atomic
// batch. Nothing says so but its refusal of a batch that is too large, and that
// names the number: a message far behind the end of a batch that does not exist
// is refused, and nothing is stored.
func (l *streamLog) askAtomicMax(ctx context.Context) error {
	nc, base, err := l.conn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	var answer *nats.Msg
	err = l.ask(ctx, []string{l.control}, func(ctx context.Context) error {
		answer, err = nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: l.control, Header: nats.Header{
			batchHeader:  {base[strings.LastIndexByte(base, '.')+1:] + "limit"},
			numberHeader: {farBehind},
		}})
		return err
	})
	if err != nil {
		return unavailable(l.stream, err)
	}
	var refused struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &refused); err != nil {
		return unavailable(l.stream, fmt.Errorf("answer to a batch that does not exist: %w", err))
	}
	switch e := refused.Error; {
	case e == nil:
		return unavailable(l.stream, errors.New("a batch that does not exist was taken"))
	case e.ErrCode == codeAtomicTooLarge:
		if n, err := strconv.Atoi(e.Description[strings.LastIndexByte(e.Description, ' ')+1:]); err == nil && n > 0 {
			l.atomicMax.Store(int64(n))
			return nil
		}
	case e.ErrCode == codeAtomicIncomplete: // a server that does not name it
	default:
		return l.explain(e)
	}
	l.atomicMax.Store(atomicDefault)
	return nil
}

// farBehind is a number in a batch that no message of one has.
const farBehind = "1099511627776"

// openBatch is an atomic batch that the server may have open.
type openBatch struct {
	base    string // empty for none
	run     uint64
	session uint64
	begun   time.Time
	ended   bool // its end was sent behind it
}

const (
	openMax     = 50               // batches of a stream that a server has open, unless its limits say otherwise
	openTimeout = 10 * time.Second // after which the server ends one by itself
)

// openBatches are those that were begun.
type openBatches struct {
	last [2]openBatch // a run is sent while another is stored
	lost [openMax]openBatch
	next int // in lost
}

// endBatch notes that the end of the batch was sent.
func (o *openBatches) endBatch(run uint64) {
	for i := range o.last {
		if o.last[i].run == run {
			o.last[i].ended = true
		}
	}
}

// beginBatch notes a batch. Those before it that were broken off, or begun on
// another connection, are ended: a message with a gap before it is refused, and its batch
// with it. Left alone they would stay open for openTimeout, and a connection that
// is lost again and again would soon have as many open as the server takes. What
// says so may be lost as well, and is said again with the next.
func (l *streamLog) beginBatch(nc *nats.Conn, base string, m *chain.Outgoing) error {
	o := &l.open
	tell := false
	for i := range o.last {
		if b := &o.last[i]; b.base != "" && (b.session != m.Session || !b.ended) {
			o.lost[o.next%openMax], *b = *b, openBatch{}
			o.next++
			tell = true
		}
	}
	for i := range o.lost {
		if b := &o.lost[i]; tell && b.base != "" && time.Since(b.begun) < openTimeout {
			if err := l.abandon(nc, b); err != nil {
				return err
			}
		}
	}
	o.last[1], o.last[0] = o.last[0], openBatch{base: base, run: m.Run, session: m.Session, begun: time.Now()}
	return nil
}

func (l *streamLog) abandon(nc *nats.Conn, b *openBatch) error {
	id := string(l.appendBatch(nil, b.base, b.run))
	if l.frames.to != nil {
		return l.frames.add(&chain.Outgoing{Subject: l.control}, nil, line{batchHeader, id}, line{numberHeader, farBehind})
	}
	return nc.PublishMsg(&nats.Msg{Subject: l.control, Header: nats.Header{batchHeader: {id}, numberHeader: {farBehind}}})
}
