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
	replays uint64     // number of the last replay up to there
	epoch   uint64
	marker  bool
	print   string // fingerprint
}

// token names one message of one stream: "created:seq:epoch:count", and
// ":replays" where there are such.
type token struct {
	created int64 // unix nanoseconds
	seq     uint64
	epoch   uint64
	count   uint64 // data messages up to there
	replays uint64 // number of the last replay up to there
}

func (t token) String() string {
	text := fmt.Sprintf("%d:%d:%d:%d", t.created, t.seq, t.epoch, t.count)
	if t.replays > 0 {
		text += ":" + strconv.FormatUint(t.replays, 10)
	}
	return text
}

func parseToken(s string) (token, error) {
	if strings.HasPrefix(s, sharedToken) {
		return token{}, errShared
	}
	parts := strings.Split(s, ":")
	if len(parts) == 4 {
		parts = append(parts, "0")
	}
	if len(parts) != 5 {
		return token{}, fmt.Errorf("checkpoint token %q is not created:seq:epoch:count[:replays]", s)
	}
	created, err := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[1], 10, 64)
	epoch, err3 := strconv.ParseUint(parts[2], 10, 64)
	count, err4 := strconv.ParseUint(parts[3], 10, 64)
	replays, err5 := strconv.ParseUint(parts[4], 10, 64)
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		return token{}, fmt.Errorf("checkpoint token %q: %w", s, err)
	}
	return token{created, seq, epoch, count, replays}, nil
}

// SequenceOf returns the stream sequence that a Hint's Token names; 0 for an
// empty token, and for one of a shared stream.
func SequenceOf(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := parseToken(s)
	if errors.Is(err, errShared) {
		return 0, nil
	}
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
	var err, err2, err3, err4 error
	a.found, a.seq = true, rec.Seq
	a.epoch, err = strconv.ParseUint(rec.Headers[HeaderEpoch.String()], 10, 64)
	a.count, err2 = strconv.ParseUint(rec.Headers[HeaderSeq.String()], 10, 64)
	if pos := rec.Headers[HeaderPos.String()]; pos != exactPos {
		a.place, err3 = sink.ParsePlace(pos)
	}
	if n := rec.Headers[HeaderReplay.String()]; n != "" {
		a.replays, err4 = strconv.ParseUint(n, 10, 64)
	}
	if err := errors.Join(err, err2, err3, err4); err != nil {
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
	if err := c.checkGaps(a.state); err != nil {
		return a, 0, err
	}
	named := hint.Exact && t.seq != 0 && !(readErr != nil && c.purged()) && (a.found && t.seq == a.seq && t.epoch == a.epoch ||
		readErr != nil && !a.found && t.seq == a.state.LastSeq)
	switch {
	case named: // the checkpoint's position is later than the message's
		a.base, a.place, a.whole = hint.Position, sink.Place{}, false
		a.found, a.seq, a.epoch, a.count, a.replays = true, t.seq, t.epoch, t.count, t.replays
		return a, 0, nil
	case readErr != nil && c.purged():
		return a, 0, fault.New(fault.Environment, sink.CodeAnchorGone, c.cfg.Stream, anewHint,
			"message %d, the last one, was purged, and rows with it", a.state.LastSeq)
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
