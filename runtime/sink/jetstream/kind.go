package jetstream

import (
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// Config is what stands under `jetstream:` in the configuration.
type Config struct {
	Stream   string        `yaml:"stream" doc:"name of the stream; made if it is not there; one pipeline's alone"`
	Subject  string        `yaml:"subject" doc:"subject template; placeholders are {pipeline}, {db} and {table}"`
	Format   unit.Choice   `yaml:"format" doc:"format of the messages' bodies, with its options where it has some: format: {debezium: {schemas: true}}"`
	MaxAge   unit.Duration `yaml:"max_age" doc:"messages older than this are deleted; 0 keeps them"`
	MaxBytes unit.Bytes    `yaml:"max_bytes" doc:"the stream is full at this size; 0 for no limit of its own"`
	Replicas int           `yaml:"replicas" doc:"copies of the stream in a cluster: 1, 3 or 5"`
	OnFull   string        `yaml:"on_full" doc:"what a full stream does to the pipeline: halt keeps every message and waits for room"`
	TooLarge string        `yaml:"on_too_large" doc:"what becomes of a row whose message is larger than the server's max_payload: halt stops before it; dead_letter keeps the row beside the stream; claim_check puts the body into the object store {stream}_CLAIMS, and a reference into the message"`
	Claims   Claims        `yaml:"claims"`
	Delivery string        `yaml:"delivery" doc:"exactly_once; or at_least_once for a stream that others write to as well: messages may come twice, with the same Nats-Msg-Id"`
	Atomic   bool          `yaml:"atomic" doc:"the messages of a transaction become visible at once, up to the server's limit of messages in a batch"`
	// DeadLetters says what becomes of rows that steps refuse, beside being kept.
	DeadLetters stream.DeadLetters `yaml:"dead_letters"`
	// GapsAccepted is how many messages deleted from the middle are known about.
	GapsAccepted uint64 `yaml:"gaps_accepted" doc:"how many messages deleted from the middle of the stream are known about and accepted"`
}

// Claims configures the object store of on_too_large: claim_check.
type Claims struct {
	MaxBytes unit.Bytes `yaml:"max_bytes" doc:"the object store is full at this size, and the pipeline waits for room as with the stream; 0 for no limit of its own. Objects are deleted a day after max_age"`
}

// ClaimsBucket implements sink.Claiming.
func (c *Config) ClaimsBucket() string {
	if c.TooLarge != stream.TooLargeClaim {
		return ""
	}
	return c.Stream + "_CLAIMS"
}

// DeadLetterStream implements sink.DeadLettered.
func (c *Config) DeadLetterStream() (sink.DeadLetterStream, bool) {
	return c.DeadLetters.Of(c.Stream, c.Replicas)
}

// Kind returns the kind "jetstream".
func Kind() sink.Kind {
	return sink.Kind{
		Name: "jetstream",
		NewConfig: func() any {
			return &Config{Subject: subject.Default, Format: unit.Choice{Kind: "json"}, MaxAge: unit.Duration(7 * 24 * time.Hour), Replicas: 1, OnFull: "halt", TooLarge: stream.TooLargeHalt, Delivery: sink.ExactlyOnce,
				DeadLetters: stream.DefaultDeadLetters()}
		},
		Open:    func(config any, env sink.Env) (sink.Sink, error) { return Open(*config.(*Config), env) },
		Examine: examine,
	}
}

// shared reports whether others may write to the stream, too.
func (c *Config) shared() bool { return c.Delivery == sink.AtLeastOnce }

// SharedSubjects returns the subjects that the pipeline writes to in a stream
// that it may share; empty for a stream of its own.
func (c *Config) SharedSubjects(pipeline string) string {
	tpl, err := subject.Parse(c.Subject)
	if err != nil || !c.shared() {
		return ""
	}
	return tpl.All(pipeline)
}

// DeliveryName implements sink.Delivering.
func (c *Config) DeliveryName() string { return c.Delivery }

// SubjectTemplate implements sink.Templated.
func (c *Config) SubjectTemplate() string { return c.Subject }

// StreamName returns the stream that belongs to this pipeline alone.
func (c *Config) StreamName() string { return c.Stream }

// Retention implements sink.Retained.
func (c *Config) Retention() time.Duration { return c.MaxAge.Std() }

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format.Kind }

// FormatConfig implements sink.FormatConfigured.
func (c *Config) FormatConfig() any { return c.Format.Config }

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	faults := stream.ValidateLimits("sink_jetstream", c.Replicas, c.DeadLetters)
	bad := func(path, hint, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, "sink_jetstream", path, hint, format, args...))
	}
	if c.Stream == "" {
		bad("stream", "name the stream, such as SHOP", "stream is missing")
	} else if strings.ContainsAny(c.Stream, " .*>/\\") || strings.ContainsFunc(c.Stream, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		bad("stream", "use letters, digits, - and _", "%q can't be the name of a stream", c.Stream)
	}
	if _, err := subject.Parse(c.Subject); err != nil {
		f := *fault.Of(err)
		f.Path = "subject"
		faults = append(faults, &f)
	}
	if c.Delivery != sink.ExactlyOnce && c.Delivery != sink.AtLeastOnce {
		bad("delivery", "write exactly_once, or at_least_once for a stream that others write to, too", "%q is unknown", c.Delivery)
	}
	if c.shared() && c.Atomic {
		bad("atomic", "leave it out, or give the pipeline a stream of its own with delivery: exactly_once",
			"a transaction sent again would become visible twice in a stream with delivery: at_least_once")
	}
	if c.OnFull != "halt" {
		bad("on_full", "write halt, or leave it out", "%q is unknown: nothing but halt keeps every message", c.OnFull)
	}
	if l := c.TooLarge; l != stream.TooLargeHalt && l != stream.TooLargeDeadLetter && l != stream.TooLargeClaim {
		bad("on_too_large", "write halt, dead_letter or claim_check", "%q is unknown", l)
	}
	if c.Claims != (Claims{}) && c.TooLarge != stream.TooLargeClaim {
		bad("claims", "set on_too_large: claim_check, or leave it out", "nothing goes to the object store")
	}
	if b := c.ClaimsBucket(); b != "" && !stream.BucketName(b) {
		bad("stream", "use letters, digits, - and _", "an object store can't be called %q", b)
	}
	if c.MaxAge != 0 && c.MaxAge.Std() < time.Minute {
		bad("max_age", "write a minute or more: the last message says where to resume", "%v is too short", c.MaxAge)
	}
	return faults
}
