package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// apiError is an error as JetStream writes it.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// Error implements error.
func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// The error codes of JetStream that mean something to us; see
// jetstream_errors_generated.go of nats-server.
const (
	codeAccountResources   = 10002
	codeInsufficient       = 10023
	codeNoMessage          = 10037
	codeStorageResources   = 10047
	codeMessageExceeds     = 10054
	codeStreamNotFound     = 10059
	codeWrongLast          = 10071
	codeStoreFailed        = 10077
	codeHeaderExceeds      = 10097
	codeStreamSealed       = 10109
	codeAtomicDisabled     = 10174
	codeAtomicIncomplete   = 10176
	codeAtomicTooLarge     = 10199
	codeAtomicTooMany      = 10210
	codeWrongLastConstant  = 10164
	codeBatchesDisabled    = 10205
	descriptionBytesMax    = "maximum bytes exceeded"
	descriptionMessagesMax = "maximum messages exceeded"
)

// explain makes what JetStream says into chain's errors and faults; what it
// does not know stays as it is, and is tried again.
func (l *streamLog) explain(err error) error {
	api, ok := errors.AsType[*apiError](err)
	if !ok {
		return err
	}
	switch api.ErrCode {
	case codeWrongLast, codeWrongLastConstant:
		return fmt.Errorf("%w: %s", chain.ErrWrongLast, api.Description)
	case codeNoMessage:
		return chain.ErrNoMessage
	case codeStreamNotFound:
		return goneFault(l.stream)
	case codeMessageExceeds, codeHeaderExceeds:
		return fault.New(fault.Environment, sink.CodeMessageTooLarge, l.stream,
			"raise or remove the stream's max_msg_size; headers may have 64 KiB", "the stream refuses a message: %w", err)
	case codeStreamSealed, codeBatchesDisabled, codeAtomicDisabled:
		return fault.New(fault.Environment, CodeStreamConfig, l.stream,
			"undo the change: the stream must not be sealed, and needs allow_batched and, for atomic: true, allow_atomic",
			"the stream was changed while the pipeline ran: %w", err)
	case codeAtomicTooLarge:
		return fault.New(fault.Retryable, sink.CodeSinkUnreachable, l.stream,
			"nothing to do: the server's limit was lowered, and is asked for again", "a batch is too large now: %w", err)
	case codeAtomicTooMany:
		return fault.New(fault.Retryable, sink.CodeSinkUnreachable, l.stream,
			"raise batch.max_inflight_per_stream or batch.max_inflight_total in the limits of the server's JetStream; what is open ends after 10 s", "the server has too many open batches: %w", err)
	case codeAccountResources, codeInsufficient, codeStorageResources:
		return l.full(err, "make room on the server's disk, which is that of state.dir for the embedded server, or raise the account's limits")
	case codeStoreFailed:
		if api.Description == descriptionBytesMax || api.Description == descriptionMessagesMax {
			return l.full(err, "raise max_bytes, or shorten max_age")
		}
	}
	return err
}

func (l *streamLog) full(err error, wayOut string) error {
	return fault.New(fault.Retryable, sink.CodeStreamFull, l.stream,
		wayOut+"; the pipeline goes on by itself once there is room", "the stream takes no more: %w", err)
}

// parseReply reads the server's answer to a message of a run: the run and the
// message's number are in the subject that it was sent to.
func parseReply(subject string, head nats.Header, data []byte) (chain.Ack, bool) {
	run, number, ok := parseSubject(subject)
	if !ok {
		return chain.Ack{}, false
	}
	ack := chain.Ack{Run: run}
	if status := head.Get("Status"); status != "" && len(data) == 0 {
		ack.Err = fmt.Errorf("nobody takes the stream's messages (status %s)", status)
		return ack, true
	}
	if seq, ok := flowAck(data); ok { // by far the most frequent
		ack.Count = seq
		return ack, true
	}
	if len(data) == 0 && strings.HasSuffix(subject, stagedSuffix) {
		return ack, true // it is staged
	}
	var r struct {
		Type   string    `json:"type"`
		Stream string    `json:"stream"`
		Count  uint64    `json:"count"`
		Batch  string    `json:"batch"`
		Error  *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		ack.Err = fmt.Errorf("answer to message %d of a run: %w", number, err)
		return ack, true
	}
	switch {
	case r.Error != nil:
		ack.Err = r.Error
	case r.Type == "gap":
		ack.Err = errors.New("the server missed a message")
	case r.Batch != "":
		ack.Count, ack.Ended = r.Count, true
	default:
		ack.Err = fmt.Errorf("answer to message %d of a run is %.100q", number, data)
	}
	return ack, true
}

// stagedSuffix is what a reply subject of an atomic batch ends with.
const stagedSuffix = ".$AB"

// parseSubject reads run and number from "….<writer>-<run>.<flow>.fail.<number>.<op>.$FI",
// or from "….<writer>-<run>.<number>.$AB".
func parseSubject(subject string) (run, number uint64, ok bool) {
	var tail [6]string // the tokens from the end on
	want, at := len(tail), 3
	if strings.HasSuffix(subject, stagedSuffix) {
		want, at = 3, 1
	} else if !strings.HasSuffix(subject, ".$FI") {
		return 0, 0, false
	}
	for i := want - 1; i >= 0; i-- {
		dot := strings.LastIndexByte(subject, '.')
		if dot < 0 {
			return 0, 0, false
		}
		tail[i], subject = subject[dot+1:], subject[:dot]
	}
	_, id, found := strings.Cut(tail[0], "-")
	run, err := strconv.ParseUint(id, 10, 64)
	number, err2 := strconv.ParseUint(tail[at], 10, 64)
	return run, number, found && err == nil && err2 == nil
}

var flowPrefix = []byte(`{"type":"ack","seq":`)

// flowAck reads {"type":"ack","seq":n,"msgs":m} without reflection.
func flowAck(data []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(data, flowPrefix)
	if !ok {
		return 0, false
	}
	var n uint64
	for i, c := range rest {
		if c < '0' || c > '9' {
			return n, i > 0 && i < 20 && (c == ',' || c == '}')
		}
		n = n*10 + uint64(c-'0')
	}
	return 0, false
}
