package remote

import (
	"context"
	"io"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Bucket is a place for objects that are written once. Its errors are faults,
// with the codes of this package; a fault that another try may mend is Retryable.
type Bucket interface {
	// Put writes an object of size bytes; once asks the store to refuse with
	// CodeTaken one that is there, where it can do that.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, once bool) error
	// Get returns an object; the caller closes it.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// List calls f for the keys that begin with prefix, until f returns an error.
	List(ctx context.Context, prefix string, f func(key string) error) error
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Where names the place for people: "s3://bucket/prefix".
	Where() string
}

// Codes of the faults of this package.
const (
	// CodeDenied: the object store does not accept the credentials, or does not
	// let them do what was asked.
	CodeDenied = "replica_denied"
	// CodeNoBucket: there is no such bucket.
	CodeNoBucket = "replica_no_bucket"
	// CodeFull: the object store has no room.
	CodeFull = "replica_full"
	// CodeUnreachable: the object store does not answer, or not as it should.
	CodeUnreachable = "replica_unreachable"
	// CodeTaken: an object that is written once is there already.
	CodeTaken = "replica_taken"
	// CodeFenced: another cdcd replicates to the same place.
	CodeFenced = "replica_fenced"
	// CodeIncomplete: the copies lack what connectors of some pipeline keep, because
	// the state has no checkpoint of it.
	CodeIncomplete = "replica_incomplete"
	// CodeMissing: the object store does not have an object.
	CodeMissing = "replica_missing"
	// CodeDamaged: no checkpoint in the object store can be restored.
	CodeDamaged = "replica_damaged"
	// CodeEmpty: the object store has no checkpoint.
	CodeEmpty = "replica_empty"
	// CodeOccupied: the directory to restore into has a store.
	CodeOccupied = "state_dir_occupied"
	// CodeURL: the place is not written as it should be.
	CodeURL = "replica_url"
)

// failure makes a fault, whose code says of which class it is and what the way out is.
func failure(code, where, what string, err error) error {
	class, hint := fault.Environment, ""
	switch code {
	case CodeDenied:
		hint = "check the key and the secret, and that they may list, read, write and delete objects there"
	case CodeNoBucket:
		hint = "make the bucket, or mend its name or the endpoint in state.replicate"
	case CodeFull:
		class, hint = fault.Retryable, "make room in the object store or raise its quota"
	case CodeTaken:
		hint = "let one cdcd only replicate to this place"
	case CodeMissing:
		hint = "look whether something deletes objects there: a lifecycle rule, or another cdcd"
	default:
		class, hint = fault.Retryable, "check the endpoint in state.replicate and the network; it is tried again"
	}
	return fault.New(class, code, where, hint, "%s: %w", what, err)
}
