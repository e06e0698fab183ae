package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/config"
)

var update = flag.Bool("update", false, "write docs/reference/config.md")

const referenceHead = `# Configuration

<!-- Written by go test ./cmd/cdcd -run TestReference -update, from the configuration's own structs. -->

One YAML file. Unknown keys are errors, with the nearest key and the place. A value that is ` + "`${env:NAME}`, `${env:NAME|default}`" + `
or ` + "`${file:/path}`" + ` as a whole is replaced after parsing; relative paths are taken from the file's folder. Sizes and durations carry
units: ` + "`64KiB`, `10MiB`, `50ms`, `7d`" + `. ` + "`cdcd schema`" + ` prints the JSON Schema by which editors check and complete the file.

` + "```yaml" + `
version: 1
pipelines:
  shop:                # a-z, 0-9, - and _
    source: {<kind>: {...}}
    schedule: "@daily" # optional, for snapshot: only; always without it
    steps:             # optional, in order
      - {wasm: mask, ...}
    sink: {<kind>: {...}}
tests: []              # optional: rows given to a pipeline, messages expected
server: {...}          # optional: no server without it
state: {dir: ./cdcd-data}
memory: {in_flight: 128MiB, in_flight_min: 2MiB}
nats: embedded         # or {embedded: {...}}, or {url: ..., ...} of a server of 2.14 or newer
` + "```" + `
`

// The reference says what the structs say.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, k := range sources() {
		fmt.Fprintf(&b, "\n## Source `%s`\n", k.Name)
		table(t, &b, reflect.ValueOf(k.NewConfig()).Elem())
	}
	b.WriteString("\n## schedule\n\nOf a pipeline with `snapshot: only`; as a text it is `at` alone: `schedule: \"@every 15m\"`.\n")
	table(t, &b, reflect.ValueOf(config.Schedule{Overlap: config.OverlapSkip}))
	b.WriteString("\n## A step\n")
	b.WriteString(stepTable)
	b.WriteString("\n### limits\n")
	table(t, &b, reflect.ValueOf(config.Limits{}))
	for _, k := range sinks() {
		fmt.Fprintf(&b, "\n## Sink `%s`\n", k.Name)
		table(t, &b, reflect.ValueOf(k.NewConfig()).Elem())
	}
	for _, k := range formats() {
		fmt.Fprintf(&b, "\n## Format `%s`\n", k.Name)
		table(t, &b, reflect.ValueOf(k.NewConfig()).Elem())
	}
	b.WriteString("\n## server\n")
	table(t, &b, reflect.ValueOf(config.Server{Listen: config.DefaultListen}))
	b.WriteString("\n## state\n")
	table(t, &b, reflect.ValueOf(config.State{Dir: config.DefaultStateDir}))
	b.WriteString("\n## memory\n")
	table(t, &b, reflect.ValueOf(config.Memory{InFlight: config.DefaultInFlight, InFlightMin: config.DefaultInFlightMin}))
	b.WriteString("\n## nats.embedded\n")
	table(t, &b, reflect.ValueOf(config.Embedded{Listen: config.DefaultNATSListen, Durability: config.DurabilityInterval}))
	b.WriteString("\n### A user of nats.embedded.users\n")
	table(t, &b, reflect.ValueOf(config.NATSUser{}))
	b.WriteString("\n## nats, an external server\n")
	table(t, &b, reflect.ValueOf(config.External{}))
	const page = "../../docs/reference/config.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/reference/config.md is stale: go test ./cmd/cdcd -run TestReference -update")
	}
}

const stepTable = `
| key | default | |
|---|---|---|
| ` + "`wasm`" + ` | | a shipped connector's name, ` + "`./file.wasm`, or either with `@sha256:...`" + ` |
| ` + "`name`" + ` | the module's name | unique in the pipeline; state and metrics belong to pipeline/name |
| ` + "`only`" + ` | all | tables that the step sees: db.table, * matches any characters |
| ` + "`with`" + ` | | the connector's own configuration, checked by the schema in its manifest |
| ` + "`allow`" + ` | none | capabilities that the step grants its module: clock, kv, log, metrics, random, secret |
| ` + "`secrets`" + ` | none | what the module may ask for by name, with allow: [secret]: ` + "`{name: \"${env:NAME}\"}`" + ` |
| ` + "`limits`" + ` | the host's | what one instance may use |
| ` + "`on_error`" + ` | halt | what becomes of a row that the step can't process: halt, dead_letter or skip |
| ` + "`halt_after`" + ` | | with on_error: dead_letter, how many dead letters of the step are kept: one more halts the pipeline, until some are purged. Without it the pipeline's limit of 100,000 counts alone |
`

func table(t *testing.T, b *strings.Builder, v reflect.Value) {
	if v.NumField() == 0 {
		b.WriteString("\nIt has no keys.\n")
		return
	}
	b.WriteString("\n| key | default | |\n|---|---|---|\n")
	rows(t, b, v, "")
}

func rows(t *testing.T, b *strings.Builder, v reflect.Value, prefix string) {
	comments := fieldComments(t, v.Type())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[unit.Secret]() && f.Type != reflect.TypeFor[unit.Choice]() {
			rows(t, b, v.Field(i), prefix+key+".")
			continue
		}
		doc := f.Tag.Get("doc")
		if doc == "" {
			doc = comments[f.Name]
		}
		if doc == "" {
			t.Errorf("%v.%s has neither a doc tag nor a comment", v.Type(), f.Name)
		}
		value := ""
		if !v.Field(i).IsZero() {
			value = fmt.Sprintf("`%v`", v.Field(i).Interface())
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, key, value, strings.ReplaceAll(doc, "|", `\|`))
	}
}

// fieldComments returns the comments of a struct's fields, from its source,
// without the field's name at the beginning.
func fieldComments(t *testing.T, typ reflect.Type) map[string]string {
	comments := map[string]string{}
	dir, ok := strings.CutPrefix(typ.PkgPath(), "github.com/cdcd-io/cdcd/")
	if !ok {
		return comments
	}
	files, _ := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ.Name() {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				text := strings.Join(strings.Fields(field.Doc.Text()+field.Comment.Text()), " ")
				for _, name := range field.Names {
					text = strings.TrimPrefix(text, name.Name+" ")
					for _, verb := range []string{"is ", "are "} {
						text = strings.TrimPrefix(text, verb)
					}
					comments[name.Name] = strings.TrimSuffix(text, ".")
				}
			}
			return true
		})
	}
	return comments
}
