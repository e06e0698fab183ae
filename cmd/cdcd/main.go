package main

import (
	"context"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version = "dev"

// cli is the command line: a field for each verb.
type cli struct {
	JSON bool `name:"json" help:"Print JSON: one object or one line each."`

	Demo       demoCmd       `cmd:"" help:"Show cdcd at work: no database, no broker, no configuration."`
	Doctor     doctorCmd     `cmd:"" help:"Look at databases and brokers: what is wrong, and the statement that mends it."`
	Run        runCmd        `cmd:"" help:"Run a configuration in the foreground."`
	Validate   validateCmd   `cmd:"" help:"Check configurations, offline, and print all findings."`
	Schema     schemaCmd     `cmd:"" help:"Print the JSON Schema of a configuration, for editors."`
	Connector  connectorCmd  `cmd:"" help:"Look at connectors."`
	Snapshot   snapshotCmd   `cmd:"" help:"Have a running pipeline copy tables: start, status, pause, resume, cancel."`
	DLQ        dlqCmd        `cmd:"" name:"dlq" help:"Look at rows that steps refused, replay them, and remove them."`
	Checkpoint checkpointCmd `cmd:"" help:"Look after the local state: list, verify, export, restore, quarantine, forget."`
	Position   positionCmd   `cmd:"" help:"Show where pipelines stand in the log, and move them."`
	Explain    explainCmd    `cmd:"" help:"Explain a fault's code, and the way out."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs one command line and returns the exit code: 0 ok, 1 runtime,
// 2 configuration or usage, 3 environment, 128+n after signal n.
func execute(args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == wasm.CompileVerb { // cdcd calls itself, and is in a hurry
		return wasm.ServeCompile(context.Background(), args[1:])
	}
	var c cli
	out := newConsole(os.Stdout, os.Stderr)
	exited := -1
	parser := kong.Must(&c, kong.Name("cdcd"), kong.Description(description), kong.UsageOnError(),
		kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	ctx, err := parser.Parse(args)
	out.json = c.JSON || err != nil && slices.Contains(args, "--json")
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		return out.fail(fault.New(fault.Config, "usage", "", "see cdcd --help", "%w", err))
	}
	signals := newSignals(context.Background())
	defer signals.stop()
	return signals.exitCode(out.outcome(ctx.Run(out, signals)))
}

const description = `Stream database changes through WASM connectors to NATS JetStream.

Exit codes: 0 ok, 1 runtime, 2 configuration, 3 environment, 128+n after signal n.`
