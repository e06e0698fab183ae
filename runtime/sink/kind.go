package sink

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/checkup"
)

// Kind is a kind of sink: one key under `sink:` in the configuration.
type Kind struct {
	Name string // the key: "jetstream"
	// NewConfig returns a pointer to the kind's configuration struct, filled
	// with its defaults. The struct may have Validate() []*fault.Fault, whose
	// paths are keys within it ("max_age").
	NewConfig func() any
	// Open makes a sink from what NewConfig returned. It connects to nothing.
	Open func(config any, env Env) (Sink, error)
	// Examine looks at where a configuration delivers to, changing nothing, and
	// says for each thing how it is and what mends it; nil for a kind that has
	// nothing to look at.
	Examine func(ctx context.Context, config any, env Env) []checkup.Result
}

// Env is what a sink gets from its surroundings.
type Env struct {
	Pipeline string
	Log      *slog.Logger
	// NATS returns the daemon's connection, embedded or external; the sink does
	// not close it.
	NATS func(ctx context.Context) (*nats.Conn, error)
	// SyncAlways says that the NATS server is the daemon's own, and syncs to disk
	// before each acknowledgement.
	SyncAlways bool
	// Fingerprint identifies table filter, step configuration and module digests.
	Fingerprint string
	Now         func() time.Time
}

// Keyed is what a sink's configuration has when the sink keeps rows under keys,
// as they are now, and not what happened to them.
type Keyed interface {
	// KeyPrefix returns what the subjects of keys begin with: "$KV.SHOP.".
	KeyPrefix() string
}

// Templated is what a sink's configuration has when its messages go to subjects
// made from a template, and to a control subject beside them.
type Templated interface {
	// SubjectTemplate returns such as "cdc.{pipeline}.{db}.{table}".
	SubjectTemplate() string
}

// What is promised of delivery.
const (
	// ExactlyOnce: nothing lost, doubled or out of order, whatever is killed.
	ExactlyOnce = "exactly_once"
	// AtLeastOnce: nothing lost or out of order; what a crash interrupted comes again.
	AtLeastOnce = "at_least_once"
	// AtMostOnce: nothing is kept for a reader that was not there.
	AtMostOnce = "at_most_once"
)

// Delivering is what a sink's configuration has that says what is promised.
type Delivering interface {
	// DeliveryName returns ExactlyOnce, AtLeastOnce or AtMostOnce.
	DeliveryName() string
}

// Retained is what a sink's configuration has when its messages are kept for a
// while.
type Retained interface {
	// Retention returns for how long; 0 for ever.
	Retention() time.Duration
}

// DeadLettered is what a sink's configuration has when dead letters can be
// published where it publishes.
type DeadLettered interface {
	// DeadLetterStream returns how the stream of dead letters should be, and
	// whether there should be one.
	DeadLetterStream() (DeadLetterStream, bool)
}

// Claiming is what a sink's configuration has that puts large bodies into an
// object store.
type Claiming interface {
	// ClaimsBucket returns the object store; empty without one.
	ClaimsBucket() string
}

// DeadLetterStream is a stream of dead letters. When it is full the oldest go:
// it is a copy, and must never hold up a pipeline.
type DeadLetterStream struct {
	Name     string
	MaxAge   time.Duration
	MaxBytes int64
	Replicas int
}

// Formatted is what a sink's configuration has when it lets the operator choose
// the messages' format.
type Formatted interface {
	// FormatName returns the format's name: "json".
	FormatName() string
}

// FormatConfigured is what a Formatted configuration has that lets the operator
// give the format's own options, too.
type FormatConfigured interface {
	// FormatConfig returns what the format kind's NewConfig returned, filled from
	// the configuration; nil where it has nothing.
	FormatConfig() any
}
