package jetstream

import (
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// Config is what stands under `jetstream:` in the configuration.
type Config struct {
	Stream   string        `yaml:"stream" doc:"name of the stream; made if it is not there; one pipeline's alone"`
	Subject  string        `yaml:"subject" doc:"subject template; placeholders are {pipeline}, {db} and {table}"`
	Format   string        `yaml:"format" doc:"format of the messages' bodies"`
	MaxAge   unit.Duration `yaml:"max_age" doc:"messages older than this are deleted; 0 keeps them"`
	MaxBytes unit.Bytes    `yaml:"max_bytes" doc:"the stream is full at this size; 0 for no limit of its own"`
	Replicas int           `yaml:"replicas" doc:"copies of the stream in a cluster: 1, 3 or 5"`
	OnFull   string        `yaml:"on_full" doc:"what a full stream does to the pipeline: halt keeps every message and waits for room"`
	// GapsAccepted is how many messages deleted from the middle are known about.
	GapsAccepted uint64 `yaml:"gaps_accepted" doc:"how many messages deleted from the middle of the stream are known about and accepted"`
}

// Kind returns the kind "jetstream".
func Kind() sink.Kind {
	return sink.Kind{
		Name: "jetstream",
		NewConfig: func() any {
			return &Config{Subject: subject.Default, Format: "json", MaxAge: unit.Duration(7 * 24 * time.Hour), Replicas: 1, OnFull: "halt"}
		},
		Open:    func(config any, env sink.Env) (sink.Sink, error) { return Open(*config.(*Config), env) },
		Examine: examine,
	}
}

// SubjectTemplate implements sink.Templated.
func (c *Config) SubjectTemplate() string { return c.Subject }

// StreamName returns the stream that belongs to this pipeline alone.
func (c *Config) StreamName() string { return c.Stream }

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format }

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	var faults []*fault.Fault
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
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		bad("replicas", "write 1, 3 or 5", "a stream can't have %d replicas", c.Replicas)
	}
	if c.OnFull != "halt" {
		bad("on_full", "write halt, or leave it out", "%q is unknown: nothing but halt keeps every message", c.OnFull)
	}
	if c.MaxAge != 0 && c.MaxAge.Std() < time.Minute {
		bad("max_age", "write a minute or more: the last message says where to resume", "%v is too short", c.MaxAge)
	}
	return faults
}
