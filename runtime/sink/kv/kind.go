package kv

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// Config is what stands under `kv:` in the configuration.
type Config struct {
	Bucket      string             `yaml:"bucket" doc:"name of the bucket; made if it is not there; one pipeline's alone"`
	Format      unit.Choice        `yaml:"format" doc:"format of the values: json, debezium, maxwell or canal; of its message, the row after the change"`
	History     int64              `yaml:"history" doc:"how many values of each key are kept, the newest included: 1 to 64"`
	TTL         unit.Duration      `yaml:"ttl" doc:"values that were not written for so long are deleted, although their rows may be there; 0 keeps them"`
	MaxBytes    unit.Bytes         `yaml:"max_bytes" doc:"the bucket is full at this size; 0 for no limit of its own"`
	Replicas    int                `yaml:"replicas" doc:"copies of the bucket in a cluster: 1, 3 or 5"`
	TooLarge    string             `yaml:"on_too_large" doc:"what becomes of a row whose message is larger than the server's max_payload: halt stops before it; dead_letter keeps the row beside the bucket, whose key stays as it was"`
	Atomic      bool               `yaml:"atomic" doc:"what a transaction did becomes visible at once, up to the server's limit of messages in a batch"`
	DeadLetters stream.DeadLetters `yaml:"dead_letters"`
}

const (
	template   = "cdc._kv.{pipeline}.{db}.{table}" // its control subject is the bucket's
	historyMax = 64                                // of a bucket in NATS
	section    = "sink.kv"
)

// formats are those that can say a row without what happened to it.
var formats = [...]string{"json", "debezium", "maxwell", "canal"}

// Kind returns the kind "kv".
func Kind() sink.Kind {
	return sink.Kind{
		Name: "kv",
		NewConfig: func() any {
			return &Config{Format: unit.Choice{Kind: "json"}, History: 1, Replicas: 1, TooLarge: stream.TooLargeHalt, DeadLetters: stream.DefaultDeadLetters()}
		},
		Open:    func(config any, env sink.Env) (sink.Sink, error) { return Open(*config.(*Config), env) },
		Examine: examine,
	}
}

func examine(ctx context.Context, config any, env sink.Env) []checkup.Result {
	s, err := Open(*config.(*Config), env)
	if err != nil {
		return []checkup.Result{stream.Failed("stream", err)}
	}
	return s.Examine(ctx)
}

// StreamName returns the stream that belongs to this pipeline alone: the bucket's.
func (c *Config) StreamName() string {
	if c.Bucket == "" {
		return ""
	}
	return "KV_" + c.Bucket
}

// KeyPrefix implements sink.Keyed.
func (c *Config) KeyPrefix() string { return "$KV." + c.Bucket + "." }

// SubjectTemplate implements sink.Templated: of control messages.
func (c *Config) SubjectTemplate() string { return template }

// DeliveryName implements sink.Delivering.
func (c *Config) DeliveryName() string { return sink.ExactlyOnce }

// Retention implements sink.Retained.
func (c *Config) Retention() time.Duration { return c.TTL.Std() }

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format.Kind }

// FormatConfig implements sink.FormatConfigured.
func (c *Config) FormatConfig() any { return c.Format.Config }

// DeadLetterStream implements sink.DeadLettered.
func (c *Config) DeadLetterStream() (sink.DeadLetterStream, bool) {
	return c.DeadLetters.Of(c.Bucket, c.Replicas)
}

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	faults := stream.ValidateLimits("sink_kv", c.Replicas, c.DeadLetters)
	bad := func(path, hint, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, "sink_kv", path, hint, format, args...))
	}
	switch {
	case c.Bucket == "":
		bad("bucket", "name the bucket, such as shop", "bucket is missing")
	case !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(c.Bucket):
		bad("bucket", "use letters, digits, - and _", "%q can't be the name of a bucket", c.Bucket)
	}
	if !slices.Contains(formats[:], c.Format.Kind) {
		bad("format", "write one of "+strings.Join(formats[:], ", "), "%q has no form for a row as it is, without what happened to it", c.Format.Kind)
	}
	faults = append(faults, stream.ValidateTooLarge("sink_kv", c.TooLarge, "a value that is written over would leave its object behind for good")...)
	if c.History < 1 || c.History > historyMax {
		bad("history", "write 1 to 64", "a bucket can't keep %d values of each key", c.History)
	}
	if c.TTL != 0 && c.TTL.Std() < time.Minute {
		bad("ttl", "write a minute or more: the last message says where to resume", "%v is too short", c.TTL)
	}
	return faults
}

// spec is how the bucket's stream should be, and how it is written. Control
// messages have subjects beside the keys, so that nobody who reads keys meets
// them. Purging is not denied for good: it is how the keys of a dropped table go.
func (c *Config) spec(env sink.Env) (stream.Spec, error) {
	tpl, err := subject.Parse(template)
	if err != nil {
		return stream.Spec{}, err
	}
	s := stream.Settings(c.StreamName(), env.Pipeline, c.KeyPrefix()+">", tpl.All(env.Pipeline))
	s.Description = "rows of pipeline " + env.Pipeline + " as they are, written by cdcd"
	s.MaxMsgsPerSubject, s.MaxAge, s.Replicas = c.History, c.TTL.Std(), c.Replicas
	if c.MaxBytes > 0 {
		s.MaxBytes = int64(c.MaxBytes)
	}
	s.DenyPurge, s.AllowDirect = false, true
	control := tpl.Control(env.Pipeline)
	return stream.Spec{Name: s.Name, Section: section, Control: control, History: historySubject(control, ">"), Settings: s,
		SyncAlways: env.SyncAlways, WholeTx: c.Atomic, Latest: true, RefuseLarge: c.TooLarge == stream.TooLargeDeadLetter, DeadLetters: c.DeadLetters.Beside(c.Bucket)}, nil
}
