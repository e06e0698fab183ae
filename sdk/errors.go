package sdk

import "errors"

// Error is a connector's own account of why it can't go on: what the host
// shows to the operator.
type Error struct {
	Code    ErrorCode
	Message string // one sentence that names the place and the way out
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrorCode is the negative result of an ABI call.
type ErrorCode int32

// The error codes of cdcd-abi-1.
const (
	CodeBadConfig ErrorCode = -1 // the configuration can't be used
	CodeBadSchema ErrorCode = -2 // the connector can't work with this table
	CodeBadBatch  ErrorCode = -3 // the batch is not understood
	CodeInternal  ErrorCode = -4 // the connector is broken
)

// ErrBatch is returned, wrapped with the place, for bytes that are not a batch.
var ErrBatch = errors.New("not a valid batch")

// ErrFull is returned when a batch can't grow within its capacity.
var ErrFull = errors.New("the batch is full")
