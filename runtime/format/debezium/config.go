package debezium

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
)

// Config is what stands under `debezium:` in the configuration. A key that is an
// option of Debezium's connector has its name, with _ for the dots, and its default.
type Config struct {
	Schemas                    bool     `yaml:"schemas" doc:"wrap bodies and keys as {schema, payload}, as Kafka Connect's JsonConverter does with schemas.enable"`
	Tombstones                 bool     `yaml:"tombstones" doc:"a message without a body behind each delete (tombstones.on.delete)"`
	TopicPrefix                string   `yaml:"topic_prefix" doc:"source.name and the beginning of schema names (topic.prefix); the pipeline's name by default"`
	Connector                  string   `yaml:"connector" doc:"source.connector: mysql or mariadb"`
	DecimalHandlingMode        string   `yaml:"decimal_handling_mode" doc:"precise: unscaled bytes in base 64; string: the digits; double: a number, which loses digits"`
	BigintUnsignedHandlingMode string   `yaml:"bigint_unsigned_handling_mode" doc:"long: a number that is negative from 2^63 on; precise: as a DECIMAL(20,0)"`
	SkippedOperations          []string `yaml:"skipped_operations" doc:"operations that give no message: c, u, d or t (truncate)"`
	ProvideTransactionMetadata bool     `yaml:"provide_transaction_metadata" doc:"fill the field transaction, which is null otherwise"`
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{Tombstones: true, Connector: "mysql", DecimalHandlingMode: "precise",
		BigintUnsignedHandlingMode: "long", SkippedOperations: []string{"t"}}
}

// CodeConfig is the code of what is wrong with a Config.
const CodeConfig = "format_debezium"

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	var faults []*fault.Fault
	oneOf := func(path, value string, known ...string) {
		if !slices.Contains(known, value) {
			faults = append(faults, fault.New(fault.Config, CodeConfig, path, "write one of: "+strings.Join(known, ", "), "%q is unknown here", value))
		}
	}
	oneOf("connector", c.Connector, "mysql", "mariadb")
	oneOf("decimal_handling_mode", c.DecimalHandlingMode, "precise", "string", "double")
	oneOf("bigint_unsigned_handling_mode", c.BigintUnsignedHandlingMode, "long", "precise")
	for i, op := range c.SkippedOperations {
		oneOf("skipped_operations["+strconv.Itoa(i)+"]", op, "c", "u", "d", "t")
	}
	return faults
}

// Kind returns the format's entry for the list of formats.
func Kind() format.Kind {
	return format.Kind{
		Name:      "debezium",
		NewConfig: func() any { return NewConfig() },
		New: func(config any) format.Format {
			if config == nil {
				config = NewConfig()
			}
			return New(*config.(*Config))
		},
	}
}
