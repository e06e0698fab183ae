package sink

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Sink delivers groups of messages in order. Publish and Wait are called from
// two goroutines, one each; everything else from one at a time.
type Sink interface {
	// Claim makes this writer the one writer and tells what the sink has.
	// hint is what the last checkpoint says; initial gives the position for a
	// sink that has nothing, and is called only then. The sink records the claim
	// (a marker with the position) before Claim returns.
	Claim(ctx context.Context, hint Hint, initial func(context.Context) (sdk.Position, error)) (Anchor, error)

	// Publish hands over a group. It returns once the group is within the
	// sink's window, which is bounded in messages and bytes: a slow sink makes
	// Publish wait. The sink keeps the group until it is confirmed.
	Publish(ctx context.Context, g *Group) error

	// Wait returns the groups confirmed since the last call, at least one, in
	// the order in which they were published. The slice is good until the next
	// call, and it is then that the groups' Done is called.
	//
	// Losing the connection is mended inside Wait. An error of class Retryable
	// means that it takes longer, or that the sink is full: what was published is
	// kept, and Wait may be called again after a pause. After any other error,
	// and always instead, Claim starts over.
	Wait(ctx context.Context) ([]Confirmed, error)

	// Close ends the sink, and calls Done of the groups that it has. Groups not confirmed stay undelivered or unconfirmed;
	// the next Claim finds out.
	Close(ctx context.Context) error
}

// Hint is what the local checkpoint knows of the sink.
type Hint struct {
	Token    string       // of the last confirmed group; empty before the first
	Position sdk.Position // Group.End of that group; before the first, where the first claim began
	// Exact is false when that group ended inside a transaction: the sink's last
	// message then says where. An empty group ends where the group before it
	// did, and the first of a run where the claim's Anchor stood.
	Exact bool
	// Messages is how many data messages the sink had then.
	Messages uint64
	// Claiming, when set, is told the number of the claim before the sink records
	// it, so that a writer knows its own messages whenever it dies. Its error
	// ends Claim.
	Claiming func(epoch uint64) error
}

// Anchor is what the sink says was delivered last: the truth about where to
// resume. With At.Tx empty, Base is exact.
type Anchor struct {
	Base sdk.Position // everything before it is done
	At   Place        // the last message, when it lies behind Base
	// Complete says that the sink has all messages of At's transaction.
	Complete bool
	// Found is false for a sink that had nothing before this claim.
	Found bool
	// Epoch is this claim's number, and Writer that of the claim that the last
	// message is of; 0 where the sink keeps none.
	Epoch, Writer uint64
	// Fingerprint is Env.Fingerprint as it was when the last message was
	// written; empty where the sink keeps none.
	Fingerprint string
	// Lost is how many messages behind the anchor the hint knows to have been
	// confirmed: the sink lost its tail, and they are to be sent again.
	Lost uint64
	// Messages is how many data messages the sink has up to the anchor. A sink
	// that resumes where the hint says gives the hint's number.
	Messages uint64
}

// Place is a message's place in the source's log: the transaction, the row's
// ordinal among the transaction's followed rows, and the part among the
// messages that the row gave. Rows that give no message have no place.
type Place struct {
	Tx    string
	Row   uint64
	Part  uint32 // 0-based
	Parts uint32
	// N is the message's 0-based number within the transaction.
	N uint64
}

// String returns "tx#row.part/parts#n", the form of the header Cdc-Pos.
func (p Place) String() string { return string(p.Append(nil)) }

// Append appends String's form to dst.
func (p Place) Append(dst []byte) []byte {
	dst = append(append(dst, p.Tx...), '#')
	dst = strconv.AppendUint(dst, p.Row, 10)
	dst = strconv.AppendUint(append(dst, '.'), uint64(p.Part), 10)
	dst = strconv.AppendUint(append(dst, '/'), uint64(p.Parts), 10)
	return strconv.AppendUint(append(dst, '#'), p.N, 10)
}

// ParsePlace reads String's form.
func ParsePlace(s string) (Place, error) {
	bad := fmt.Errorf("%q is not a position: want tx#row.part/parts#n", s)
	rest, n, ok := cutLast(s, "#")
	tx, at, ok2 := cutLast(rest, "#")
	row, part, ok3 := strings.Cut(at, ".")
	part, parts, ok4 := strings.Cut(part, "/")
	if !ok || !ok2 || !ok3 || !ok4 || tx == "" {
		return Place{}, bad
	}
	p := Place{Tx: tx}
	widths := [4]int{64, 32, 32, 64}
	var err [4]error
	var u [4]uint64
	for i, t := range []string{row, part, parts, n} {
		u[i], err[i] = strconv.ParseUint(t, 10, widths[i])
		if err[i] != nil {
			return Place{}, bad
		}
	}
	p.Row, p.Part, p.Parts, p.N = u[0], uint32(u[1]), uint32(u[2]), u[3]
	return p, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// MessageKind is what a message is; all but KindData go to the control subject.
type MessageKind uint8

// The kinds of messages.
const (
	KindData      MessageKind = iota // a changed row
	KindSchema                       // a table's definition, before its first row
	KindTxEnd                        // the end of a transaction that did not fit one batch, with its counts
	KindHeartbeat                    // the position moved and nothing went out
	KindMarker                       // a writer claimed the stream
	KindHistory                      // a record of the source's history of definitions
)

// String returns the value of the header Cdc-Kind.
func (k MessageKind) String() string {
	return [...]string{"data", "schema", "tx_end", "heartbeat", "marker", "history"}[k]
}

// Message is one message. Its texts and body are views of the group's buffer.
type Message struct {
	Kind    MessageKind
	Subject string
	Key     []byte // primary key, for sinks that want one
	Body    []byte
	Headers []byte // "Name: value\n" lines that a connector asked for
	Place   Place  // Place.Tx is empty where the group's Base is exact for the message
	// TxRows is how many followed rows the transaction has; 0 while unknown.
	TxRows uint64
	// TxLast says that no message of the place's transaction follows, also on a
	// control message behind the last one; SubjectLast, none on the same subject.
	TxLast, SubjectLast bool
}

// Group is the messages of one batch, published and confirmed together.
type Group struct {
	// Number is dense and rises by one with each group of a run.
	Number uint64
	// Base is the exact position before the first message's transaction.
	Base sdk.Position
	// End is the exact position behind the batch: the checkpoint once the group
	// is confirmed.
	End      sdk.Position
	Messages []Message
	Bytes    int // of subjects, headers and bodies, for windows
	// Buf holds the bytes that the messages are views of.
	Buf []byte
	// Done is called once the sink no longer needs the group.
	Done func()
}

// Confirmed says that a group is safe in the sink.
type Confirmed struct {
	Group *Group
	// Token names the sink's last message of the group, for Hint.
	Token string
}

// Historian is what a sink has that can give back the history messages that it
// was given.
type Historian interface {
	// History calls f with the body of every message of KindHistory behind the
	// one that a Hint's Token names, in order; with an empty token, of all that
	// the sink still has. f must not keep body. It is called after Claim.
	History(ctx context.Context, token string, f func(body []byte) error) error
}

// LastWritten is what a sink has that tells when its last message was written,
// by whichever writer: a fenced pipeline waits for a silence.
type LastWritten interface {
	// LastWritten returns the broker's time of the last message; zero for none.
	LastWritten(ctx context.Context) (time.Time, error)
}

// Codes of faults that sinks share.
const (
	// CodeFenced: another writer claimed the stream; the pipeline stands by.
	CodeFenced = "fenced"
	// CodeNotReproducible: the anchor's row gave other messages than before.
	CodeNotReproducible = "not_reproducible"
	// CodeStreamRollback: the stream lost messages that were confirmed.
	CodeStreamRollback = "stream_rollback"
	// CodeForeignMessage: somebody else writes to the pipeline's stream.
	CodeForeignMessage = "foreign_message"
	// CodeStreamRecreated: the stream is not the one that the checkpoint names.
	CodeStreamRecreated = "stream_recreated"
	// CodeStreamGone: the stream was deleted while the pipeline ran.
	CodeStreamGone = "stream_gone"
	// CodeStreamGaps: messages were deleted from the middle of the stream.
	CodeStreamGaps = "stream_gaps"
	// CodeAnchorGone: the message that says where to resume was purged or has expired.
	CodeAnchorGone = "anchor_gone"
	// CodeStreamFull: the sink is at its limit and refuses messages.
	CodeStreamFull = "stream_full"
	// CodeMessageTooLarge: a message is larger than the sink takes.
	CodeMessageTooLarge = "message_too_large"
	// CodeHeaderReserved: a connector asked for a header that is the sink's own.
	CodeHeaderReserved = "header_reserved"
	// CodeSinkUnreachable: the sink does not answer, and not for lack of trying.
	CodeSinkUnreachable = "sink_unreachable"
)

// IsFenced reports whether another writer took over.
func IsFenced(err error) bool { return fault.HasCode(err, CodeFenced) }
