package config

import (
	"encoding/json"
	"strings"
	"time"

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
	Memory    Memory
}

// Pipeline is one entry under `pipelines:`.
type Pipeline struct {
	Name   string
	Source Component
	Steps  []Step
	Sink   Component
	// Schedule says when the pipeline runs; nil for one that runs always.
	Schedule *Schedule
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
	// HaltAfter is how many dead letters of the step are kept before the pipeline
	// halts; 0 for no limit of the step's own.
	HaltAfter unit.Count
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
	Dir       string     `yaml:"dir" config:"path" doc:"directory of checkpoints, schema history and the embedded stream store"`
	Replicate *Replicate `yaml:"replicate" doc:"where copies of the state are kept: s3://bucket/prefix?endpoint=https://host, or the keys below; none by default"`
}

// Replicate says where copies of the state are kept, and how often they are made.
// As a text it is the URL alone.
type Replicate struct {
	URL     string        `yaml:"url" doc:"s3://bucket/prefix?endpoint=https://host&region=name&addressing=virtual|path"`
	Key     unit.Secret   `yaml:"access_key_id" doc:"without keys, those of the environment, the AWS tools' file or the machine's role are used"`
	Secret  unit.Secret   `yaml:"secret_access_key" doc:"the key's secret: ${env:...} or ${file:...}"`
	Every   unit.Duration `yaml:"every" doc:"time between copies, while something changes"`
	Keep    int           `yaml:"keep" doc:"copies that are kept"`
	Restore bool          `yaml:"restore" doc:"begin with the newest copy where state.dir has no state"`
}

// Defaults of Replicate.
const (
	DefaultReplicateEvery = unit.Duration(30 * time.Second)
	DefaultReplicateKeep  = 3
)

func defaultReplicate() *Replicate {
	return &Replicate{Every: DefaultReplicateEvery, Keep: DefaultReplicateKeep, Restore: true}
}

// Memory bounds what rows take on their way from the log to the broker.
type Memory struct {
	InFlight    unit.Bytes `yaml:"in_flight" doc:"what rows and messages under way may take, of all pipelines together"`
	InFlightMin unit.Bytes `yaml:"in_flight_min" doc:"what each pipeline may hold of it whatever the others do; of the rest, one that stands still holds at most half"`
}

// NATS is the JetStream that messages go to: embedded unless URL is set.
type NATS struct {
	Embedded *Embedded // nil for an external server
	External
}

// External is an external server or cluster, and how to get in.
type External struct {
	URL      URLs        `yaml:"url" doc:"address of an external server, or of several of one cluster: a list, or with commas"`
	Creds    unit.Secret `yaml:"creds" doc:"content of a credentials file: ${file:/path}"`
	NKey     unit.Secret `yaml:"nkey" doc:"seed of a user's key: ${file:/path}"`
	User     string      `yaml:"user" doc:"name to log in with, together with password"`
	Password unit.Secret `yaml:"password" doc:"of user: ${env:NAME}"`
	Token    unit.Secret `yaml:"token" doc:"token to log in with: ${env:NAME}"`
	TLS      ClientTLS   `yaml:"tls"`
}

// ClientTLS is what an external server's certificate is checked against, and
// what it is shown. Texts are PEM.
type ClientTLS struct {
	CA         string      `yaml:"ca" doc:"authority that signed the server's certificate, where it is not one of the system's: ${file:/path}"`
	Cert       string      `yaml:"cert" doc:"this client's certificate, for a server that asks for one: ${file:/path}"`
	Key        unit.Secret `yaml:"key" doc:"key of cert: ${file:/path}"`
	ServerName string      `yaml:"server_name" doc:"name in the server's certificate, where it is not the one in url"`
}

// URLs are addresses of servers of one cluster.
type URLs []string

// UnmarshalText reads addresses with commas between.
func (u *URLs) UnmarshalText(text []byte) error {
	*u = nil
	for s := range strings.SplitSeq(string(text), ",") {
		if s = strings.TrimSpace(s); s != "" {
			*u = append(*u, s)
		}
	}
	return nil
}

// String returns the addresses with commas between.
func (u URLs) String() string { return strings.Join(u, ",") }

// Embedded configures the embedded NATS server.
type Embedded struct {
	Listen     string      `yaml:"listen" doc:"host:port for clients, a free port where the default is taken; \"\" for none: in-process only"`
	Chosen     bool        `yaml:"-"` // listen is written in the configuration
	Durability Durability  `yaml:"durability" doc:"fsync makes every acknowledgement durable on disk; interval syncs five times a second"`
	MaxStore   unit.Bytes  `yaml:"max_store" doc:"the streams together are full at this size; by default, and at most, at what the disk has, less a reserve"`
	Token      unit.Secret `yaml:"token" doc:"lets in the clients that have it; beyond loopback this or users is required"`
	Users      []NATSUser  `yaml:"users" doc:"clients that are let in, each with user and password; subjects narrows what it may read, admin: true gives it all rights"`
	TLS        ServerTLS   `yaml:"tls"`
}

// NATSUser may connect to the embedded server.
type NATSUser struct {
	User     string      `yaml:"user" doc:"name to log in with"`
	Password unit.Secret `yaml:"password" doc:"${env:NAME}"`
	Subjects []string    `yaml:"subjects" doc:"what the user may read, wildcards allowed; everything by default"`
	Admin    bool        `yaml:"admin" doc:"all rights, also on the pipelines' streams"`
}

// ServerTLS is the embedded server's certificate. Texts are PEM.
type ServerTLS struct {
	Cert string      `yaml:"cert" doc:"certificate of the listener: ${file:/path}"`
	Key  unit.Secret `yaml:"key" doc:"key of cert: ${file:/path}"`
	CA   string      `yaml:"ca" doc:"clients must show a certificate of this authority: ${file:/path}"`
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

	DefaultInFlight    = 128 << 20
	DefaultInFlightMin = 2 << 20
)
