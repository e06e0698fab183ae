package chain

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// foreignMax is how many messages of others are stepped over to find our last.
const foreignMax = 1000

// anchor is what the stream's last message says.
type anchor struct {
	state   State
	found   bool   // the stream has one of our messages
	seq     uint64 // of our last message
	foreign uint64 // messages of others behind it
	base    sdk.Position
	place   sink.Place // zero where base is exact
	whole   bool       // the stream has all of place's transaction
	count   uint64     // data messages up to there
	epoch   uint64
	marker  bool
	print   string // fingerprint
}

// token names one message of one stream: "created:seq:epoch:count".
type token struct {
	created int64 // unix nanoseconds
	seq     uint64
	epoch   uint64
	count   uint64 // data messages up to there
}

func (t token) String() string {
	return fmt.Sprintf("%d:%d:%d:%d", t.created, t.seq, t.epoch, t.count)
}

func parseToken(s string) (token, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 4 {
		return token{}, fmt.Errorf("checkpoint token %q is not created:seq:epoch:count", s)
	}
	created, err := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[1], 10, 64)
	epoch, err3 := strconv.ParseUint(parts[2], 10, 64)
	count, err4 := strconv.ParseUint(parts[3], 10, 64)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return token{}, fmt.Errorf("checkpoint token %q: %w", s, err)
	}
	return token{created, seq, epoch, count}, nil
}

// SequenceOf returns the stream sequence that a Hint's Token names; 0 for an
// empty token.
func SequenceOf(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := parseToken(s)
	return t.seq, err
}

// readAnchor reads the stream's last message of ours. Messages of others are
// stepped over. errAnchorGone says that the message or its base is gone; the
// anchor then has the state, and what is known of the message.
func (c *Chain) readAnchor(ctx context.Context) (anchor, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	st, err := c.log.State(ctx)
	a := anchor{state: st}
	if err != nil || st.LastSeq == 0 {
		return a, err
	}
	for seq := st.LastSeq; ; seq-- {
		rec, err := c.log.Get(ctx, seq)
		if errors.Is(err, ErrNoMessage) && a.foreign == 0 {
			return a, errAnchorGone
		}
		if err != nil && !errors.Is(err, ErrNoMessage) {
			return a, err
		}
		if err == nil && rec.Headers[HeaderEpoch.String()] != "" {
			return a, c.decode(ctx, &a, rec)
		}
		a.foreign++
		if seq == 1 || seq <= st.FirstSeq || a.foreign == foreignMax {
			return a, c.foreignFault(st.LastSeq, "none of the last %d messages is of this pipeline", a.foreign)
		}
	}
}

var errAnchorGone = errors.New("the stream's last message is gone")

// decode fills a from the record, and from the message that its base is in.
func (c *Chain) decode(ctx context.Context, a *anchor, rec *Record) error {
	var err, err2, err3 error
	a.found, a.seq = true, rec.Seq
	a.epoch, err = strconv.ParseUint(rec.Headers[HeaderEpoch.String()], 10, 64)
	a.count, err2 = strconv.ParseUint(rec.Headers[HeaderSeq.String()], 10, 64)
	if pos := rec.Headers[HeaderPos.String()]; pos != exactPos {
		a.place, err3 = sink.ParsePlace(pos)
	}
	if err := errors.Join(err, err2, err3); err != nil {
		return c.foreignFault(rec.Seq, "its headers are not ours: %w", err)
	}
	a.marker = rec.Headers[HeaderKind.String()] == sink.KindMarker.String()
	a.whole = rec.Headers[HeaderTxLast.String()] != ""
	if s := rec.Headers[HeaderBaseSeq.String()]; s != "" {
		seq, err := strconv.ParseUint(s, 10, 64)
		if err != nil || seq >= rec.Seq || a.place.Tx == "" {
			return c.foreignFault(rec.Seq, "its header %v is %q", HeaderBaseSeq, s)
		}
		if rec, err = c.log.Get(ctx, seq); errors.Is(err, ErrNoMessage) {
			return errAnchorGone
		} else if err != nil {
			return err
		}
	}
	a.base = sdk.Position(rec.Headers[HeaderBase.String()])
	a.print = rec.Headers[HeaderFingerprint.String()]
	if a.base == "" {
		return c.foreignFault(rec.Seq, "it has no header %v", HeaderBase)
	}
	return nil
}

// exactPos is the value of Cdc-Pos where Cdc-Base is exact.
const exactPos = "-"

// resume decides, from the stream and the checkpoint's hint, where a claim
// resumes. readErr is what readAnchor said.
func (c *Chain) resume(a anchor, readErr error, hint sink.Hint) (anchor, uint64, error) {
	if readErr != nil && !errors.Is(readErr, errAnchorGone) {
		return a, 0, readErr
	}
	var t token
	if hint.Token != "" {
		var err error
		if t, err = parseToken(hint.Token); err != nil {
			return a, 0, fault.New(fault.Fatal, "bad_token", c.cfg.Pipeline, "restore the checkpoint, or "+anewHint, "%w", err)
		}
		if t.created != a.state.Created.UnixNano() {
			return a, 0, fault.New(fault.Environment, sink.CodeStreamRecreated, c.cfg.Stream,
				"restore the stream that was; or, where its messages may be sent again, "+anewHint,
				"the stream was created %s, the checkpoint is of one created %s: it was deleted and made again",
				a.state.Created.UTC().Format(time.RFC3339), time.Unix(0, t.created).UTC().Format(time.RFC3339))
		}
	}
	if gaps := a.state.gaps(); gaps > c.cfg.GapsAccepted {
		return a, 0, fault.New(fault.Environment, sink.CodeStreamGaps, c.cfg.Stream,
			fmt.Sprintf("consumers can't get the deleted messages; to go on without them set gaps_accepted: %d", gaps),
			"%d messages were deleted from the middle of the stream", gaps)
	}
	named := hint.Exact && t.seq != 0 && (a.found && t.seq == a.seq && t.epoch == a.epoch ||
		readErr != nil && !a.found && t.seq == a.state.LastSeq)
	switch {
	case named: // the checkpoint's position is later than the message's
		a.base, a.place, a.whole = hint.Position, sink.Place{}, false
		a.found, a.seq, a.epoch, a.count = true, t.seq, t.epoch, t.count
		return a, 0, nil
	case readErr != nil:
		return a, 0, fault.New(fault.Environment, sink.CodeAnchorGone, c.cfg.Stream,
			anewHint+"; a longer max_age keeps the last message until there is a next one",
			"message %d, which says where to resume, was purged or has expired, and the checkpoint does not name it", a.state.LastSeq)
	case t.seq > 0 && !a.found:
		return a, 0, fault.New(fault.Environment, sink.CodeStreamRollback, c.cfg.Stream,
			"restore the stream; or "+anewHint, "the stream is empty, the checkpoint knows of %d messages in it", t.seq)
	case t.seq > a.state.LastSeq:
		return a, t.seq - a.state.LastSeq, nil
	}
	return a, 0, nil
}

// anewHint is the way out when the history is gone: new names have none.
const anewHint = "begin anew: give the pipeline and its stream new names"

func (c *Chain) foreignFault(seq uint64, format string, args ...any) error {
	return fault.New(fault.Fatal, sink.CodeForeignMessage, fmt.Sprintf("%s message %d", c.cfg.Stream, seq),
		"let nobody but cdcd publish to the stream's subjects (NATS permissions), then start it again",
		"not written by this pipeline: "+format, args...)
}
