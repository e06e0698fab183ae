package nats

import (
	"context"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// CodeDelivery is the code of a configuration that does not say what is lost.
const CodeDelivery = "sink_nats_delivery"

// Config is what stands under `nats:` in the configuration of a sink.
type Config struct {
	Subject  string      `yaml:"subject" doc:"subject template; placeholders are {pipeline}, {db} and {table}"`
	Format   unit.Choice `yaml:"format" doc:"format of the messages' bodies, with its options where it has some"`
	TooLarge string      `yaml:"on_too_large" doc:"what becomes of a row whose message is larger than the server's max_payload: halt stops before it; dead_letter keeps the row"`
	Delivery string      `yaml:"delivery" doc:"must be written, and at_most_once: who does not listen at the moment never gets a message, and nobody notices"`
}

// Kind returns the kind "nats".
func Kind() sink.Kind {
	return sink.Kind{
		Name: "nats",
		NewConfig: func() any {
			return &Config{Subject: subject.Default, Format: unit.Choice{Kind: "json"}, TooLarge: stream.TooLargeHalt}
		},
		Open:    func(config any, env sink.Env) (sink.Sink, error) { return Open(*config.(*Config), env), nil },
		Examine: examine,
	}
}

// DeliveryName implements sink.Delivering.
func (c *Config) DeliveryName() string { return sink.AtMostOnce }

// SubjectTemplate implements sink.Templated.
func (c *Config) SubjectTemplate() string { return c.Subject }

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format.Kind }

// FormatConfig implements sink.FormatConfigured.
func (c *Config) FormatConfig() any { return c.Format.Config }

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	var faults []*fault.Fault
	if c.Delivery != sink.AtMostOnce {
		found := "delivery is missing"
		if c.Delivery != "" {
			found = "delivery can't be " + c.Delivery + " here"
		}
		faults = append(faults, fault.New(fault.Config, CodeDelivery, "delivery",
			"use the sink jetstream, which keeps messages and delivers each exactly once; or write delivery: at_most_once if losing rows is fine",
			"%s: NATS keeps nothing for a subscriber that is away, slow or not there yet", found))
	}
	faults = append(faults, stream.ValidateTooLarge("sink_nats", c.TooLarge, "nothing is kept, and so nothing says how long its object would have to be")...)
	if _, err := subject.Parse(c.Subject); err != nil {
		f := *fault.Of(err)
		f.Path = "subject"
		faults = append(faults, &f)
	}
	return faults
}

// examine implements sink.Kind's Examine: there is nothing to look at but what
// is promised.
func examine(ctx context.Context, _ any, env sink.Env) []checkup.Result {
	if _, err := env.NATS(ctx); err != nil {
		return []checkup.Result{stream.Failed("delivery", err)}
	}
	return []checkup.Result{{Check: "delivery", Level: checkup.Warning, Found: "at_most_once: rows go to whoever listens, and are not kept",
		Why: "a service that is away, slow or connecting misses rows, and nobody notices", Fix: []string{"use the sink jetstream, unless losing rows is fine"}}}
}
