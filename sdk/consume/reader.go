package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says what a Reader reads.
type Config struct {
	// Stream is the pipeline's stream.
	Stream string
	// Subjects are those of the wanted rows, with NATS's wildcards:
	// "cdc.shop.shop.orders", "cdc.shop.*.items". Empty means all. The Reader
	// reads the whole stream all the same, so that it can tell whether anything
	// is missing.
	Subjects []string
	// Narrow has the server send one subject only, the one of Subjects: less to
	// read, and no proof that nothing is missing. A transaction is then what it
	// changed on that subject.
	Narrow bool
	// From is where to go on: what the service kept of the last Tx's Mark.
	From Mark
	// TxBytesMax bounds a Tx; a larger transaction comes in parts. 0 is 16 MiB.
	TxBytesMax int
	// Snapshots hands out what is told of copies of tables as well: as a Tx that has a
	// Snapshot and no rows, between two others. Not with Narrow.
	Snapshots bool
	// UntilCaughtUp ends Run with nil once everything is read that the stream
	// had when Run began.
	UntilCaughtUp bool
}

// Faults of what is read. They are wrapped with what was found.
var (
	// ErrMissing means that rows are gone from the stream: the counter jumped.
	ErrMissing = errors.New("rows are missing from the stream")
	// ErrExpired means that the stream no longer has the messages behind From.
	ErrExpired = errors.New("the stream has deleted messages that were not read")
	// ErrOtherStream means that the stream was made anew since From was kept.
	ErrOtherStream = errors.New("the stream is not the one that the mark is of")
	// ErrTwoWriters means that a writer went on behind one that had taken over
	// from it: the order of the rows can't be trusted from there on.
	ErrTwoWriters = errors.New("the stream has messages of two writers at once")
	// ErrForeign means that somebody else than cdcd writes to the stream.
	ErrForeign = errors.New("the stream has a message that cdcd did not write")
)

// Reader reads one stream. It is used by one goroutine.
type Reader struct {
	config Config
	stream jetstream.Stream
	claims claims
	mark   Mark // behind the last message read
	known  bool // mark.Counter is one that a message had
	tx     assembler
	tally  tally
	until  uint64
}

// Open looks for the stream and checks that From is still there. The error is
// ErrExpired, ErrOtherStream, or JetStream's.
func Open(ctx context.Context, nc *nats.Conn, c Config) (*Reader, error) {
	if c.Narrow && (len(c.Subjects) != 1 || strings.ContainsAny(c.Subjects[0], "*>")) {
		return nil, errors.New("consume: Narrow wants exactly one subject, without wildcards")
	}
	if c.Narrow && c.Snapshots {
		return nil, errors.New("consume: Narrow reads one subject, and Snapshots are told of on another")
	}
	if c.TxBytesMax <= 0 {
		c.TxBytesMax = 16 << 20
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, c.Stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", c.Stream, err)
	}
	r := &Reader{config: c, stream: s, claims: claims{js: js}, mark: c.From, known: c.From.Counter > 0,
		tx: assembler{bytesMax: c.TxBytesMax, narrow: c.Narrow, begun: c.From.Open}}
	return r, r.check(s.CachedInfo())
}

// check compares the stream with the mark.
func (r *Reader) check(info *jetstream.StreamInfo) error {
	from := r.config.From
	if !from.IsZero() && (from.Stream != r.config.Stream || !from.Created.Equal(info.Created)) {
		return fmt.Errorf("stream %s, made %v: %w: %s, made %v", r.config.Stream, info.Created, ErrOtherStream, from.Stream, from.Created)
	}
	if from.Sequence > info.State.LastSeq {
		return fmt.Errorf("stream %s ends at %d, and the mark is at %d: %w", r.config.Stream, info.State.LastSeq, from.Sequence, ErrOtherStream)
	}
	// Who reads everything finds out by the counter: what is gone may have been
	// control messages.
	if r.config.Narrow && !from.IsZero() && info.State.FirstSeq > from.Sequence+1 {
		return fmt.Errorf("stream %s begins at %d, and the mark is at %d: %w", r.config.Stream, info.State.FirstSeq, from.Sequence, ErrExpired)
	}
	r.mark.Stream, r.mark.Created = r.config.Stream, info.Created
	r.until = info.State.LastSeq
	return nil
}

// Pulls are bounded in bytes, whatever the messages' size.
const (
	pullMessagesMax = 4096
	pullBytesMax    = 16 << 20
	resetAttempts   = 3
	retryMin        = 50 * time.Millisecond
	retryMax        = 5 * time.Second
	answerTimeout   = 10 * time.Second
)

// Run hands every transaction to f, in commit order, until ctx ends, f returns
// an error or something is wrong with what is read. It goes on by itself when
// the connection or a server was lost. It may be called again: it goes on
// behind the last message it read, so f must have dealt with all it was given,
// or the service opens a new Reader from its mark.
func (r *Reader) Run(ctx context.Context, f func(context.Context, *Tx) error) error {
	wait := retryMin
	for {
		before := r.mark.Sequence
		err := r.read(ctx, f)
		var lost *lostError
		if !errors.As(err, &lost) {
			return err
		}
		if r.mark.Sequence > before {
			wait = retryMin
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
			wait = min(2*wait, retryMax)
		}
	}
}

// lostError is a failure that another try may mend.
type lostError struct{ error }

// read reads until something ends it.
func (r *Reader) read(ctx context.Context, f func(context.Context, *Tx) error) error {
	if r.caughtUp() {
		return nil
	}
	oc := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.mark.Sequence + 1, MaxResetAttempts: resetAttempts}
	if r.config.Narrow {
		oc.FilterSubjects = r.config.Subjects
	}
	consumer, err := r.stream.OrderedConsumer(ctx, oc)
	if err != nil {
		return r.lost(ctx, err)
	}
	if r.config.Narrow && r.config.UntilCaughtUp {
		info, err := infoOf(ctx, consumer)
		if err != nil {
			return r.lost(ctx, err)
		}
		if info.NumPending == 0 {
			return nil
		}
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessagesMax, pullBytesMax))
	if err != nil {
		return r.lost(ctx, err)
	}
	defer messages.Stop()
	for !r.caughtUp() {
		m, err := r.next(ctx, messages)
		if err != nil {
			return err
		}
		done, err := r.take(ctx, m)
		if err != nil {
			return err
		}
		for _, tx := range done {
			if err := f(ctx, tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// infoOf has the bound that an ordered consumer's Info lacks: a request on its
// way when the server ends is never answered.
func infoOf(ctx context.Context, consumer jetstream.Consumer) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return consumer.Info(ctx)
}

// next returns the next message. Who wants to come to an end does not wait for
// messages that the stream had when Run began and has no more.
func (r *Reader) next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	if !r.config.UntilCaughtUp {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, r.lost(ctx, err)
		}
		return m, nil
	}
	one, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(one))
	if err == nil {
		return m, nil
	}
	if one.Err() == nil || ctx.Err() != nil {
		return nil, r.lost(ctx, err)
	}
	asked, cancelAsked := context.WithTimeout(ctx, answerTimeout)
	defer cancelAsked()
	info, askErr := r.stream.Info(asked)
	switch {
	case askErr != nil:
		return nil, r.lost(ctx, askErr)
	case info.State.LastSeq < r.until:
		return nil, fmt.Errorf("stream %s ends at %d, and had messages up to %d: %w", r.config.Stream, info.State.LastSeq, r.until, ErrMissing)
	case info.State.Msgs == 0 || info.State.FirstSeq > r.until:
		return nil, fmt.Errorf("stream %s begins at %d, and messages up to %d were to be read: %w", r.config.Stream, info.State.FirstSeq, r.until, ErrExpired)
	}
	return nil, r.lost(ctx, err)
}

func (r *Reader) caughtUp() bool { return r.config.UntilCaughtUp && r.mark.Sequence >= r.until }

func (r *Reader) lost(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("stream %s: %w", r.config.Stream, err)
	}
	return &lostError{fmt.Errorf("stream %s: %w", r.config.Stream, err)}
}

// take checks one message and gives it to the assembler.
func (r *Reader) take(ctx context.Context, m jetstream.Msg) ([]*Tx, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	h, seq := m.Headers(), meta.Sequence.Stream
	if r.config.Narrow && r.config.UntilCaughtUp && meta.NumPending == 0 {
		defer func() { r.until = min(r.until, seq) }() // none of this subject is left
	}
	place := h.Get("Cdc-Pos")
	if place == "" {
		return nil, fmt.Errorf("stream %s, message %d on %s: %w", r.config.Stream, seq, m.Subject(), ErrForeign)
	}
	wanted := h.Get("Cdc-Kind") == "" && r.wants(m.Subject())
	var body []byte
	var claim *Claim
	if wanted { // before anything is noted: another try begins with this message
		if body, claim, err = r.body(ctx, m, seq); err != nil {
			return nil, err
		}
	}
	if err := r.writer(h.Get("Cdc-Epoch"), seq); err != nil {
		return nil, err
	}
	in := input{before: r.mark, txLast: h.Get("Cdc-Tx-Last") != "", subjectLast: h.Get("Cdc-Subject-Last") != ""}
	var p Place
	if place != "-" {
		if p, err = parsePlace(place); err != nil {
			return nil, fmt.Errorf("stream %s, message %d: %w: %w", r.config.Stream, seq, ErrForeign, err)
		}
		in.tx = p.Tx
	}
	r.mark.Sequence = seq
	if h.Get("Cdc-Kind") == "tx_end" {
		if err := r.tally.check(p, m.Data()); err != nil {
			return nil, fmt.Errorf("stream %s, message %d: %w", r.config.Stream, seq, err)
		}
	}
	if h.Get("Cdc-Kind") == "" {
		original, err := parseOriginal(h.Get("Cdc-Original-Pos"), h.Get("Cdc-Replay"))
		if err != nil {
			return nil, fmt.Errorf("stream %s, message %d: %w: %w", r.config.Stream, seq, ErrForeign, err)
		}
		if err := r.count(h.Get("Cdc-Seq"), seq, original != nil); err != nil {
			return nil, err
		}
		if !r.config.Narrow && h.Get("Cdc-Tx-Rows") == "" && original == nil { // of a transaction in parts
			r.tally.add(p, m.Subject())
		}
		if wanted {
			in.message = &Message{Subject: m.Subject(), Sequence: seq, Counter: r.mark.Counter, Place: p, Original: original, Header: h, Body: body, Claim: claim}
		}
	}
	in.mark = r.mark
	if r.config.Snapshots && SnapshotEvent(h.Get("Cdc-Kind")).known() {
		s, err := parseSnapshot(m.Data())
		if err != nil {
			return nil, fmt.Errorf("stream %s, message %d: %w: %w", r.config.Stream, seq, ErrForeign, err)
		}
		return r.tx.between(in, s), nil
	}
	return r.tx.add(in), nil
}

// writer checks that the message's writer is the last one's, or came later.
func (r *Reader) writer(epoch string, seq uint64) error {
	n, err := strconv.ParseUint(epoch, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("stream %s, message %d: %w: Cdc-Epoch is %.40q", r.config.Stream, seq, ErrForeign, epoch)
	case n < r.mark.Epoch:
		return fmt.Errorf("stream %s, message %d: %w: epoch %d behind %d", r.config.Stream, seq, ErrTwoWriters, n, r.mark.Epoch)
	}
	r.mark.Epoch = n
	return nil
}

// count checks that a row's counter follows the one before; that of a replayed row
// repeats it, because it is no new row of the log.
func (r *Reader) count(text string, seq uint64, replayed bool) error {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("stream %s, message %d: %w: Cdc-Seq is %.40q", r.config.Stream, seq, ErrForeign, text)
	}
	want := r.mark.Counter
	if !replayed {
		want++
	}
	if r.known && (n < want || !r.config.Narrow && n != want) {
		return fmt.Errorf("stream %s, message %d: %w: the row before had the number %d, this one %d", r.config.Stream, seq, ErrMissing, r.mark.Counter, n)
	}
	r.mark.Counter, r.known = n, true
	return nil
}

// wants reports whether the service asked for the subject.
func (r *Reader) wants(subject string) bool {
	return len(r.config.Subjects) == 0 || slices.ContainsFunc(r.config.Subjects, func(pattern string) bool { return matches(pattern, subject) })
}

// matches compares token by token as NATS does.
func matches(pattern, subject string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, ".")
		s, restS, moreS := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != s, moreP != moreS:
			return false
		case !moreP:
			return true
		}
		pattern, subject = restP, restS
	}
}
