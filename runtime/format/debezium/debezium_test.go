package debezium

import (
	"flag"
	"testing"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func suite(name string, options ...func(*Config)) formattest.Suite {
	cfg := *NewConfig()
	for _, o := range options {
		o(&cfg)
	}
	s := formattest.Suite{Name: name, Update: *update, New: func() format.Format { return New(cfg) }, Value: formattest.At("after")}
	if cfg.Schemas {
		s.Value, s.Type = formattest.At("payload", "after"), formattest.At("schema", "fields", "1", "fields", "1")
	}
	return s
}

func TestConformance(t *testing.T) { suite("plain").Run(t) }

func TestConformanceWithSchemas(t *testing.T) {
	suite("schemas", func(c *Config) { c.Schemas = true }).Run(t)
}

// The options that change what is lost, all at once.
func TestConformanceWithOptions(t *testing.T) {
	suite("options", func(c *Config) {
		c.Tombstones, c.TopicPrefix, c.Connector = false, "eu", "mariadb"
		c.DecimalHandlingMode, c.BigintUnsignedHandlingMode = "string", "precise"
		c.SkippedOperations, c.ProvideTransactionMetadata = nil, true
	}).Run(t)
}

func BenchmarkAppendRow(b *testing.B) { suite("plain").Benchmark(b) }

func BenchmarkAppendRowWithSchemas(b *testing.B) {
	suite("schemas", func(c *Config) { c.Schemas = true }).Benchmark(b)
}
