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
	// Replays is the number of the last replay that the sink had then.
	Replays uint64
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
	// Replays is the number of the last replay of which the sink has a message; 0
	// for none. When At is not Complete and that replay's, messages of it are missing.
	Replays uint64
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
	KindData              MessageKind = iota // a changed row
	KindSchema                               // a table's definition, before its first row
	KindTxEnd                                // the end of a transaction that did not fit one batch, with its counts
	KindHeartbeat                            // the position moved and nothing went out
	KindMarker                               // a writer claimed the stream
	KindHistory                              // a record of the source's history of definitions
	KindReplay                               // a dead letter was replayed, and gave no data message
	KindSwept                                // of a sink with keys: a key that went with its table's content
	KindRunBegin                             // a run of a source that can be run again begins
	KindRunEnd                               // and is delivered
	KindSnapshotBegin                        // a copy of tables begins
	KindSnapshotEnd                          // and is delivered
	KindSnapshotCancelled                    // or is given up
	KindSnapshotFailed                       // or can't go on
)

// String returns the value of the header Cdc-Kind.
func (k MessageKind) String() string {
	return [...]string{"data", "schema", "tx_end", "heartbeat", "marker", "history", "replay", "swept", "run_begin", "run_end",
		"snapshot_begin", "snapshot_end", "snapshot_cancelled", "snapshot_failed"}[k]
}

// Message is one message. Its texts and body are views of the group's buffer.
type Message struct {
	Kind    MessageKind
	Subject string
	Key     []byte // primary key, for sinks that want one
	// KeyHeader says that the consumers of the message's format read the key
	// beside the body: a sink with headers sends it as Cdc-Key.
	KeyHeader bool
	// Body may be empty: a tombstone, which says of a key that its row is gone. A
	// sink without keys has nothing to say then.
	Body    []byte
	Headers []byte // "Name: value\n" lines that a connector asked for
	Place   Place  // Place.Tx is empty where the group's Base is exact for the message
	// Replay is the number of the replay that the message is of; 0 for one of the
	// log. Its data messages are not counted in Messages: they are no function of
	// the log. Original is then the place of the row in the log, tx#row.
	Replay   uint64
	Original string
	// TxRows is how many followed rows the transaction has; 0 while unknown.
	TxRows uint64
	// TxLast says that no message of the place's transaction follows, also on a
	// control message behind the last one; SubjectLast, none on the same subject.
	TxLast, SubjectLast bool
	// Rebase says that the group's Base is not merely before that of the messages
	// in front of this one: a sink that has messages name the base of an earlier
	// one must give this message its own.
	Rebase bool
	// Claim says that the body lies elsewhere, and Body only says so; a sink
	// that takes no message of that size sets it.
	Claim *Claim
}

// Claim is where the body of a message lies that is too large for the sink.
type Claim struct {
	Bucket, Name string
	Digest       string // "SHA-256=" and the digest in URL-safe base64, as object stores have it
	Bytes        int
}

// Bounded is what a sink has that leaves rows to be refused whose messages are
// too large for it, so that they become dead letters.
type Bounded interface {
	// RefusedBytes returns how large a message may be, in body, headers and key;
	// 0 when no row is refused for that. It is good from one Claim to the next.
	RefusedBytes() int
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
	// Run is the number of the run that all of them belong to; empty for none.
	Run   string
	Bytes int // of subjects, headers and bodies, for windows
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

// Recounter is what a sink has that can tell what it was given of a transaction.
type Recounter interface {
	// Recount goes through the data messages of at.At's transaction up to that
	// place, in order, and calls f with the subject of each. at is the Anchor of
	// Claim, or an earlier place with its number of Messages. It is called after
	// Claim, before anything is published. all is false when the sink does not
	// have all of them any more; f has then been called with some.
	Recount(ctx context.Context, at Anchor, f func(subject string)) (all bool, err error)
}

// LastWritten is what a sink has that tells when its last message was written,
// by whichever writer: a fenced pipeline waits for a silence.
type LastWritten interface {
	// LastWritten returns the broker's time of the last message; zero for none.
	LastWritten(ctx context.Context) (time.Time, error)
}

// Audited is what a sink has that can look over what it wrote, apart from
// writing: while it is idle, and for what writing doesn't notice.
type Audited interface {
	// Audit looks at the sink as it is now and compares that with the last time.
	// It may be called at any time from one goroutine beside all others. Without
	// anything to look at yet, Health.Name is empty.
	Audit(ctx context.Context) (Health, error)
}

// Health is how that what a sink wrote to is.
type Health struct {
	Name            string // of the stream
	Messages, Bytes uint64
	// BytesMax is what it may have as things are: its own limit, or what the
	// server has room for if that is less; 0 for no limit that is known.
	BytesMax uint64
	// Full is when it is full at the rate of the last while; nil when it does not
	// grow, has no limit, or was not looked at for long enough.
	Full *time.Duration
	// Deleted is how many messages are missing from its middle.
	Deleted uint64
	// Replicas is how many copies there should be, and Current how many of them
	// have everything; Behind is by how many messages the worst lags.
	Replicas, Current int
	Behind            uint64
	// Alarms are what is wrong, each with its way out.
	Alarms []*fault.Fault
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
	// CodeStreamPurged: messages were deleted from the stream's beginning before their time.
	CodeStreamPurged = "stream_purged"
	// CodeStreamFilling: the stream will be full within a day.
	CodeStreamFilling = "stream_filling"
	// CodeStreamReplicas: copies of the stream are missing, or lag behind.
	CodeStreamReplicas = "stream_replicas"
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
	// CodeDenied: the sink's server refuses something to the user that cdcd logs in as.
	CodeDenied = "sink_denied"
)

// IsFenced reports whether another writer took over.
func IsFenced(err error) bool { return fault.HasCode(err, CodeFenced) }
