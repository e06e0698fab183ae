package chain

import (
	"context"
	"errors"
	"time"
)

// Log is one stream of a broker, as far as the protocol needs it. Put, Send,
// Flush and End are called from one goroutine at a time, the others from any.
//
// Messages are sent in runs. A run is a pipeline that fails as a whole: the
// broker stores a message only if it has stored all messages of its run before
// it, and Expect holds. Both are needed. Without the first, a message deep in
// the pipeline of a writer that lost the stream would find its expectation
// fulfilled by the new writer's messages.
//
// There are two kinds. Of a flowing run each message is stored as it comes. Of
// an atomic run nothing is stored before its end, and then all of it, if Expect
// holds for its first message; or nothing of it.
type Log interface {
	// State returns the stream's state, as its leader knows it.
	State(ctx context.Context) (State, error)
	// Get returns a message, read through the leader; ErrNoMessage when the
	// stream does not have it.
	Get(ctx context.Context, seq uint64) (*Record, error)
	// Put publishes one message outside of runs and waits until it is stored.
	Put(ctx context.Context, m *Outgoing) error
	// Send sends the next message of a run and waits for no answer. The message
	// and all that it refers to are good only during the call. It may be held back
	// until Flush or End; what is held back when another run begins is not sent.
	// An error says that it may not have been sent.
	Send(m *Outgoing) error
	// Flush sends what Send has held back. An error is one of any message since
	// the last call.
	Flush() error
	// End ends the run behind its last message, which was number sent; that
	// brings an Ack with Ended. It is what stores an atomic run.
	End(run, sent uint64, atomic bool) error
	// Notify sets the function that gets acknowledgements; called once, before
	// anything is sent. The function returns at once and may be called from any
	// goroutine.
	Notify(f func(Ack))
	// MessageBytesMax is the most that a message may have in headers and body.
	MessageBytesMax() int
	// AtomicMax is how many messages an atomic run may have.
	AtomicMax() int
}

// Errors that a Log returns; others mean that the outcome is not known.
var (
	// ErrWrongLast is what Put returns, and what an Ack has, when the stream's
	// last sequence was not Outgoing.Expect.
	ErrWrongLast = errors.New("the stream's last sequence is another one")
	// ErrNoMessage is Get's error for a message that is not there.
	ErrNoMessage = errors.New("the stream does not have the message")
	// ErrSession is what Put and Send return when the connection is not the one
	// on which the stream was read; nothing was sent.
	ErrSession = errors.New("the connection is not the one on which the stream was read")
)

// State is what a stream says of itself.
type State struct {
	Created   time.Time
	FirstSeq  uint64
	LastSeq   uint64 // of the last message that there ever was
	Messages  uint64
	LastWrite time.Time
	// Session is the connection that told it. A broker that comes back without
	// its stream's tail is met on another one.
	Session uint64
}

// gaps returns how many messages were deleted from the middle.
func (s State) gaps() uint64 {
	if s.Messages == 0 || s.LastSeq < s.FirstSeq {
		return 0
	}
	return s.LastSeq - s.FirstSeq + 1 - s.Messages
}

// Record is a message of the stream.
type Record struct {
	Seq     uint64
	Headers map[string]string
}

// Outgoing is a message to publish.
type Outgoing struct {
	Subject string
	Body    []byte
	Values  [HeaderCount]string // by Header; empty for a header that is not sent
	Extra   []byte              // "Name: value\n" lines
	Expect  uint64              // the stream's last sequence must be this
	Shared  bool                // the stream is shared, and Expect says nothing
	Run     uint64              // 0 for Put
	Number  uint64              // within the run, from 1
	Last    bool                // ends the run; brings an Ack with Ended
	Atomic  bool                // the run is atomic
	Every   int                 // with the first of a flowing run: after how many messages an Ack is due
	// Session is the connection on which a message that begins something, one of
	// Put or the first of a run, may be sent, and on no other: ErrSession.
	Session uint64
}

// Ack is the broker's answer to a run: from time to time, and at its end.
type Ack struct {
	Run   uint64
	Count uint64 // how many of its messages are stored; 0 says that an atomic one comes along
	Ended bool   // nothing more of the run will be
	Err   error  // why a message was not stored; the run is over then
}

// Header is one of the protocol's headers.
type Header uint8

// The headers of messages; docs/design/anchor-and-chain.md says what is in them.
const (
	HeaderPos Header = iota
	HeaderBase
	HeaderBaseSeq
	HeaderSeq
	HeaderEpoch
	HeaderKind
	HeaderTxRows
	HeaderTxLast
	HeaderSubjectLast
	HeaderFingerprint
	HeaderKey
	HeaderRun
	HeaderOriginal
	HeaderReplay
	HeaderMsgID     // of messages in a shared stream; the broker drops what it has seen lately
	HeaderOperation // of a bucket's messages; what is done to the key when it is not a put
	HeaderClaim     // "bucket/name" of the object that is the message's body
	HeaderClaimDigest
	HeaderClaimBytes
	HeaderCount int = iota
)

var headerNames = [HeaderCount]string{
	"Cdc-Pos", "Cdc-Base", "Cdc-Base-Seq", "Cdc-Seq", "Cdc-Epoch", "Cdc-Kind",
	"Cdc-Tx-Rows", "Cdc-Tx-Last", "Cdc-Subject-Last", "Cdc-Fingerprint", "Cdc-Key", "Cdc-Run",
	"Cdc-Original-Pos", "Cdc-Replay", "Nats-Msg-Id", "KV-Operation",
	"Cdc-Claim", "Cdc-Claim-Digest", "Cdc-Claim-Bytes",
}

// String returns the header's name on the wire: "Cdc-Pos".
func (h Header) String() string { return headerNames[h] }
