package stream

import (
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// DeadLetters configures the stream of dead letters beside a kind's own.
type DeadLetters struct {
	Stream   bool          `yaml:"stream" doc:"false: dead letters are kept in state.dir alone, and not published to a stream beside the sink's, of its name with _DLQ, as well"`
	MaxAge   unit.Duration `yaml:"max_age" doc:"dead letters older than this are deleted from that stream"`
	MaxBytes unit.Bytes    `yaml:"max_bytes" doc:"size of that stream at which the oldest are deleted"`
}

// DefaultDeadLetters is what holds where nothing is written.
func DefaultDeadLetters() DeadLetters {
	return DeadLetters{Stream: true, MaxAge: unit.Duration(30 * 24 * time.Hour), MaxBytes: 1 << 30}
}

// Beside returns the name of the stream of dead letters beside the one of the
// given name; empty for none.
func (d DeadLetters) Beside(name string) string {
	if s, ok := d.Of(name, 1); ok {
		return s.Name
	}
	return ""
}

// Of returns the stream of dead letters beside the one of the given name, for
// sink.DeadLettered.
func (d DeadLetters) Of(name string, replicas int) (sink.DeadLetterStream, bool) {
	return sink.DeadLetterStream{Name: name + "_DLQ", MaxAge: d.MaxAge.Std(), MaxBytes: int64(d.MaxBytes), Replicas: replicas}, d.Stream
}

// Values of the key on_too_large: what becomes of a row whose message is larger
// than the server's max_payload.
const (
	TooLargeHalt       = "halt"
	TooLargeDeadLetter = "dead_letter"
	TooLargeClaim      = "claim_check"
)

// ValidateTooLarge returns what is wrong with the key on_too_large of a kind that
// has no claims; whyNot says why.
func ValidateTooLarge(code, value, whyNot string) []*fault.Fault {
	switch value {
	case TooLargeHalt, TooLargeDeadLetter:
		return nil
	case TooLargeClaim:
		return []*fault.Fault{fault.New(fault.Config, code, "on_too_large",
			"write halt or dead_letter, or use the sink jetstream; raising the server's max_payload lets larger rows through", "there is no claim_check here: %s", whyNot)}
	}
	return []*fault.Fault{fault.New(fault.Config, code, "on_too_large", "write halt or dead_letter", "%q is unknown", value)}
}

// ValidateLimits returns what is wrong with what the kinds have in common.
func ValidateLimits(code string, replicas int, d DeadLetters) (faults []*fault.Fault) {
	if replicas != 1 && replicas != 3 && replicas != 5 {
		faults = append(faults, fault.New(fault.Config, code, "replicas", "write 1, 3 or 5", "a stream can't have %d replicas", replicas))
	}
	if d.Stream && (d.MaxAge.Std() < time.Minute || d.MaxBytes < 1<<20) {
		faults = append(faults, fault.New(fault.Config, code, "dead_letters",
			"write a max_age from 1m and a max_bytes from 1MiB; stream: false publishes none", "the stream of dead letters has no bounds that make sense"))
	}
	return faults
}
