package tidy

// In these tables a path is a folder of the module, and "x/..." is x and all
// folders below it. The first row that matches a package counts.

// ground is what every package but the leaves themselves may import.
const ground = "sdk internal/budget internal/checkup internal/fault internal/schedule internal/unit"

// edge lists what one package may import of this module.
type edge struct {
	pkg  string
	may  string // folders, separated by spaces
	rule string // for the message
}

var edges = []edge{
	{"sdk", "", "sdk is the leaf that everyone may import"},
	{"sdk/manifest", "sdk", "sdk/manifest reads and writes one section of a module: it knows sdk only"},
	{"sdk/manifest/...", "sdk sdk/manifest", "the stamp program is sdk/manifest on the command line"},
	{"sdk/golden", "sdk", "sdk/golden is modules as bytes: it knows sdk only"},
	{"sdk/golden/...", "sdk sdk/golden sdk/manifest", "the program that builds the golden guests stamps them, nothing else"},
	{"sdk/guest/...", "sdk sdk/guest", "a connector links sdk/guest: it knows sdk only"},
	{"sdk/sdktest/...", ground + " sdk/... runtime/wasm", "sdk/sdktest runs a connector natively and in the real host, nothing else"},
	{"sdk/consume/...", "sdk", "services link sdk/consume: it knows sdk only"},
	{"internal/budget", "sdk", "internal/budget is below all but sdk"},
	{"internal/fault", "sdk", "internal/fault is below all but sdk"},
	{"internal/checkup", "", "internal/checkup is the form of a finding, and knows nothing"},
	{"internal/skip", "", "internal/skip ends tests, and knows nothing"},
	{"internal/unit", "sdk", "internal/unit is below all but sdk"},
	{"internal/schedule", "internal/unit", "internal/schedule reckons with times, and knows nothing but their units"},
	{"internal/tidy", "", "internal/tidy reads source, it imports none"},
	{"internal/kindsgen", "", "internal/kindsgen reads source, it imports none"},
	{"internal/testserver/...", "", "internal/testserver starts servers and knows nothing of cdcd"},
	{"internal/oracle", "internal/testserver", "the oracle judges the product and shares no code with it"},

	{"cdc", ground, "cdc is the Source contract: no drivers, no siblings"},
	{"cdc/...", ground + " cdc/...", "cdc never imports its siblings state, wasm, sink, format, config, telemetry"},
	{"state/...", ground + " state/...", "state never imports its siblings; it implements the stores that cdc declares in sdk types"},
	{"runtime/wasm/...", ground + " runtime/wasm/... sdk/manifest", "wasm never imports its siblings"},
	{"runtime/format/formattest", ground + " runtime/format/... cdc/cdctest internal/skip", "the formats' suite knows their contract and the matrix of types"},
	{"runtime/format/...", ground + " runtime/format/...", "format never imports its siblings"},
	{"runtime/sink", ground, "runtime/sink is the Sink contract: no drivers, no siblings"},
	{"runtime/sink/...", ground + " runtime/sink runtime/sink/chain runtime/sink/lines runtime/sink/rights runtime/sink/stream runtime/sink/subject runtime/sink/sinktest", "a sink knows the contract and the chain, not other sinks, and no siblings"},
	{"runtime/config/...", ground + " runtime/config/...", "config never imports its siblings; each kind owns its config struct"},
	{"runtime/telemetry/...", ground + " runtime/telemetry/...", "telemetry never imports its siblings"},

	{"runtime/pipeline/...", ground + " runtime/pipeline/... " + layer, "the pipeline knows the contracts, never a kind of source or sink, and not admin or natsd"},
	{"runtime/admin/...", ground + " runtime/admin/... runtime/config runtime/telemetry", "admin and natsd know neither each other nor the pipeline"},
	{"runtime/natsd/...", ground + " runtime/natsd/... runtime/sink runtime/sink/rights runtime/telemetry", "admin and natsd know neither each other nor the pipeline"},
	{"runtime", ground + " runtime/pipeline runtime/admin runtime/natsd state/remote " + layer, "the daemon is handed its kinds of source and sink, it never imports one"},

	{"docs", "", "docs is text, embedded for cdcd explain"},
	{"cmd/...", "cmd/... docs examples/demo runtime/... cdc/... state/... sdk/... internal/budget internal/checkup internal/fault internal/schedule internal/unit connectors-wasm/...", "cmd is on top of all that ships, and of nothing else"},
	{"connectors-wasm/...", "sdk sdk/guest/...", "a connector knows sdk and sdk/guest only"},
	{"examples/...", "sdk/...", "an example uses what users may import: sdk"},
	{"bench/...", "...", "the benchmarks measure everything"},
}

// layer is the contracts below the pipeline, without the kinds that implement them.
const layer = "cdc cdc/schema state runtime/wasm runtime/sink runtime/sink/subject runtime/sink/deadletters runtime/format/... runtime/config runtime/telemetry"

// testEdges is what test files may import beyond that.
var testEdges = []edge{
	{"runtime", "...", ""},          // the daemon's tests put everything together
	{"runtime/pipeline", "...", ""}, // so do the pipeline's kill tests
	{"cmd/...", "...", ""},
	{"sdk/golden", "sdk/... runtime/wasm", ""}, // the golden guests run in the host
	{"...", "sdk/... cdc/cdctest/... runtime/sink/sinktest runtime/natsd runtime/natsd/natsdtest internal/skip internal/testserver", ""},
}

// libraries names who may import a heavy dependency, by its module path.
var libraries = []struct {
	module string
	pkgs   string
	tests  bool // any test may import it as well
}{
	{"github.com/tetratelabs/wazero", "runtime/wasm/... bench/...", false},
	{"github.com/cockroachdb/pebble", "state/...", false},
	{"github.com/go-mysql-org/go-mysql", "cdc/mysql/... cdc/binlogfile/... cdc/snapshot/... internal/testserver bench/...", true},
	{"github.com/nats-io/nats.go", "runtime/sink/... runtime/natsd/... runtime sdk/consume/... cmd/... internal/testserver internal/oracle bench/... examples/...", true},
	{"github.com/nats-io/nats-server", "runtime/natsd/... bench/...", false},
	{"github.com/alecthomas/kong", "cmd/...", false},
	{"github.com/minio/minio-go", "state/remote", false},
	{"github.com/danielgtaylor/huma", "runtime/admin/...", false},
}

// standardOnly are the packages that become part of other people's programs,
// or of a WASM module.
const standardOnly = "sdk sdk/guest connectors-wasm/..."

// stateful packages explain themselves in a DESIGN.md.
const stateful = "state state/remote runtime/wasm runtime/sink/stream runtime/sink/kv runtime/sink/chain runtime/sink/file runtime/pipeline cdc/mysql cdc/schema"

// guestCode may have init functions and package-level state: a WASM instance
// is one object, whose exported functions cannot have a receiver, and a module
// of kind reactor never runs main.
const guestCode = "sdk/guest/... connectors-wasm/... examples/..."

// rootContexts may call context.Background: programs and test suites, where a
// context begins.
const rootContexts = "cmd/... bench/... examples/... cdc/cdctest sdk/sdktest runtime/sink/sinktest runtime/natsd/natsdtest"

// Sizes, in lines.
const (
	fileLinesMax     = 500
	testFileLinesMax = 700
	functionLinesMax = 70
)

// dependenciesMax is how many modules go.mod may require directly.
const dependenciesMax = 20

// vagueNames say nothing about what a package is for.
const vagueNames = "util utils common helper helpers misc shared"
