package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Mark is how far a service has come in a stream: everything up to and with the
// message at Sequence is dealt with. The zero Mark is the beginning. It is
// small, and JSON keeps it exactly: store it with what the service does.
type Mark struct {
	Stream string `json:"stream,omitempty"`
	// Created is when the stream was made: a stream that was made anew has other
	// messages at the same sequences.
	Created time.Time `json:"created,omitzero"`
	// Sequence is the stream sequence of the last message.
	Sequence uint64 `json:"sequence,omitempty"`
	// Counter is Cdc-Seq of the last row.
	Counter uint64 `json:"counter,omitempty"`
	// Epoch is the number of the writer that wrote the last message.
	Epoch uint64 `json:"epoch,omitempty"`
	// Open is the transaction of which a part is dealt with and the rest is not.
	Open string `json:"open,omitempty"`
}

// IsZero reports whether the mark is the beginning.
func (m Mark) IsZero() bool { return m.Sequence == 0 }

// ErrFenced is what Save returns when another instance of the service has moved
// the mark since: this one must stop.
var ErrFenced = errors.New("another instance has moved the mark")

// Marks keeps a service's mark in a JetStream bucket. It is used by one
// goroutine. Two instances of a service that use the same key at the same time
// are told apart: the one that is behind gets ErrFenced.
type Marks struct {
	bucket   jetstream.KeyValue
	key      string
	revision uint64
}

// NewMarks returns the marks of a service under a key of a bucket.
func NewMarks(bucket jetstream.KeyValue, key string) *Marks { return &Marks{bucket: bucket, key: key} }

// Load returns the mark; the zero Mark for a service that has none yet.
func (s *Marks) Load(ctx context.Context) (m Mark, err error) {
	e, err := s.bucket.Get(ctx, s.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		s.revision = 0
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, fmt.Errorf("mark %s: %w", s.key, err)
	}
	if err := json.Unmarshal(e.Value(), &m); err != nil {
		return Mark{}, fmt.Errorf("mark %s: %w", s.key, err)
	}
	s.revision = e.Revision()
	return m, nil
}

// Save keeps the mark. The error is ErrFenced when somebody else has saved one
// since Load or the last Save.
func (s *Marks) Save(ctx context.Context, m Mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	revision, err := s.bucket.Update(ctx, s.key, text, s.revision)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return fmt.Errorf("mark %s: %w", s.key, ErrFenced)
	}
	if err != nil {
		return fmt.Errorf("mark %s: %w", s.key, err)
	}
	s.revision = revision
	return nil
}
