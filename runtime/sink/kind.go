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
	// Fingerprint identifies table filter, step configuration and module digests.
	Fingerprint string
	Now         func() time.Time
}

// Templated is what a sink's configuration has when its messages go to subjects
// made from a template, and to a control subject beside them.
type Templated interface {
	// SubjectTemplate returns such as "cdc.{pipeline}.{db}.{table}".
	SubjectTemplate() string
}

// Formatted is what a sink's configuration has when it lets the operator choose
// the messages' format.
type Formatted interface {
	// FormatName returns the format's name: "json".
	FormatName() string
}
