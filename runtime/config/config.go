package config

import (
	"encoding/json"

	"github.com/cdcd-io/cdcd/internal/unit"
)

// Config is one configuration file, decoded and found to be right.
type Config struct {
	Path      string // the file it was read from, as given
	Pipelines []Pipeline
	Tests     []Test
	Server    *Server // nil when the file has no server key
	State     State
	NATS      NATS
}

// Pipeline is one entry under `pipelines:`.
type Pipeline struct {
	Name   string
	Source Component
	Steps  []Step
	Sink   Component
}

// Component is a source or a sink: its kind, and what the kind's NewConfig
// returned, filled from the file.
type Component struct {
	Kind  string
	Value any
}

// Step is one connector in a pipeline, in order.
type Step struct {
	// Wasm names the module; see ParseModule.
	Wasm Module
	// Name is unique in the pipeline. State, metrics and dead letters belong to
	// pipeline/name. It defaults to the module's name.
	Name string
	// Only holds the tables that the step sees, as patterns like those of a
	// source: "shop.orders", "shop.item_*". Empty means all.
	Only []string
	// With is the connector's configuration: a JSON object, "{}" by default.
	With json.RawMessage
	// Allow holds the capabilities that the step grants its module, such as
	// "log". What is not granted is not linked.
	Allow []string
	// Secrets are what the module may ask for by name, with the capability
	// "secret". They are no part of With, which is logged and compared.
	Secrets map[string]unit.Secret
	// Limits are of one instance; zero fields leave the host's default.
	Limits  Limits
	OnError OnError
}

// Capabilities are what a step may grant.
var Capabilities = []string{"clock", "kv", "log", "metrics", "random", "secret", "value"}

// SecretNameMax bounds the name of a step's secret, in bytes.
const SecretNameMax = 64

// Limits bound what a step may use. A zero field means the host's default.
type Limits struct {
	Memory unit.Bytes    `yaml:"memory" doc:"linear memory of one instance"`
	Fuel   unit.Count    `yaml:"fuel" doc:"fuel of one batch; a batch that uses it up is stopped"`
	KV     unit.Bytes    `yaml:"kv" doc:"what the connector may keep, keys and values; 1GiB by default"`
	Time   unit.Duration `yaml:"time" doc:"wall time of one batch; exceeding it is retried on a fresh instance, then halts"`
}

// OnError says what becomes of a row that a step can't process.
type OnError string

// The choices for a row that a step can't process.
const (
	OnErrorHalt       OnError = "halt" // the default
	OnErrorDeadLetter OnError = "dead_letter"
	OnErrorSkip       OnError = "skip"
)

// Test is one entry under `tests:`: rows given to a pipeline's steps, and the
// messages expected of them.
type Test struct {
	Name     string
	Pipeline string
	Given    []TestRow
	Expect   []TestMessage
}

// TestRow is a changed row in a test.
type TestRow struct {
	Op     string          `yaml:"op" doc:"insert, update or delete"`
	Table  string          `yaml:"table" doc:"db.table"`
	Before json.RawMessage `yaml:"before" doc:"the row before, column: value"`
	After  json.RawMessage `yaml:"after" doc:"the row after, column: value"`
}

// TestMessage is a message expected in a test. Columns that it doesn't name
// may have any value.
type TestMessage struct {
	Subject string          `yaml:"subject" doc:"the message's subject"`
	Op      string          `yaml:"op" doc:"insert, update or delete"`
	Before  json.RawMessage `yaml:"before" doc:"column: value, or column: {matches: regexp}"`
	After   json.RawMessage `yaml:"after" doc:"column: value, or column: {matches: regexp}"`
}

// Server is the admin server.
type Server struct {
	Listen string      `yaml:"listen" doc:"host:port of the admin server; loopback unless a token is set"`
	Token  unit.Secret `yaml:"token" doc:"bearer token that requests must carry; required beyond loopback"`
}

// State is the local state.
type State struct {
	Dir string `yaml:"dir" config:"path" doc:"directory of checkpoints, schema history and the embedded stream store"`
}

// NATS is the JetStream that messages go to: embedded unless URL is set.
type NATS struct {
	Embedded *Embedded   // nil for an external server
	URL      string      // of an external server or cluster: "nats://a:4222,nats://b:4222"
	Creds    unit.Secret // content of a credentials file, for URL
}

// Embedded configures the embedded NATS server.
type Embedded struct {
	Listen     string     `yaml:"listen" doc:"host:port for clients, a free port where the default is taken; \"\" for none: in-process only"`
	Chosen     bool       `yaml:"-"` // listen is written in the configuration
	Durability Durability `yaml:"durability" doc:"fsync makes every acknowledgement durable on disk; interval syncs five times a second"`
}

// Durability says when the embedded server syncs to disk.
type Durability string

// The durabilities of the embedded server.
const (
	DurabilityInterval Durability = "interval" // the default: every 200 ms
	DurabilityFsync    Durability = "fsync"    // before each acknowledgement
)

// Defaults of the daemon-wide keys.
const (
	DefaultListen     = "127.0.0.1:7070"
	DefaultStateDir   = "./cdcd-data"
	DefaultNATSListen = "127.0.0.1:4222"
)
