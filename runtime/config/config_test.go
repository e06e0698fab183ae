package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/config"
)

var update = flag.Bool("update", false, "write the golden files")

// dbConfig and streamConfig stand in for a source's and a sink's own structs,
// with one field of every type that kinds use.
type dbConfig struct {
	DSN       unit.Secret `yaml:"dsn"`
	Tables    []string    `yaml:"tables"`
	Snapshot  string      `yaml:"snapshot"`
	RateLimit struct {
		Rows  int64      `yaml:"rows_per_second"`
		Bytes unit.Bytes `yaml:"bytes_per_second"`
	} `yaml:"rate_limit"`
	Files []string `yaml:"files" config:"path"`
}

func (c *dbConfig) Ends() bool { return c.Snapshot == "only" }

func (c *dbConfig) Validate() (faults []*fault.Fault) {
	if c.DSN.IsZero() {
		faults = append(faults, fault.New(fault.Config, "dsn_missing", "dsn", "write dsn: ${env:DSN}", "no dsn"))
	}
	for i, t := range c.Tables {
		if !strings.Contains(t, ".") {
			faults = append(faults, fault.New(fault.Config, "table_form", "tables["+string(rune('0'+i))+"]", "write db.table", "%q is not a table", t))
		}
	}
	return faults
}

type streamConfig struct {
	Stream   string        `yaml:"stream"`
	MaxAge   unit.Duration `yaml:"max_age"`
	Replicas uint8         `yaml:"replicas"`
	Atomic   bool          `yaml:"atomic"`
	Format   unit.Choice   `yaml:"format"`
}

// richConfig stands in for the options of a message format.
type richConfig struct {
	Schemas bool     `yaml:"schemas"`
	Skip    []string `yaml:"skip"`
}

func (c *richConfig) Validate() (faults []*fault.Fault) {
	for i, s := range c.Skip {
		if len(s) != 1 {
			faults = append(faults, fault.New(fault.Config, "skip_form", "skip["+string(rune('0'+i))+"]", "write one letter", "%q is no operation", s))
		}
	}
	return faults
}

func (c *streamConfig) StreamName() string { return c.Stream }

func options() config.Options {
	env := map[string]string{"SHOP_DSN": "mysql://u:p#: {w}@h:3306", "REPLICAS": "3", "HOST": "h"}
	return config.Options{
		Sources: []config.Kind{{Name: "mysql", NewConfig: func() any { return &dbConfig{Snapshot: "initial"} }}, {Name: "binlog_files", NewConfig: func() any { return &dbConfig{} }}},
		Sinks:   []config.Kind{{Name: "jetstream", NewConfig: func() any { return &streamConfig{Replicas: 1, Format: unit.Choice{Kind: "plain"}} }}, {Name: "stdout", NewConfig: func() any { return &struct{}{} }}},
		Formats: []config.Kind{{Name: "plain", NewConfig: func() any { return &struct{}{} }},
			{Name: "rich", NewConfig: func() any { return &richConfig{Skip: []string{"t"}} }}},
		Connectors: []string{"filter", "mask"},
		Getenv:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

func TestFindings(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := config.Load(file, options())
			var got strings.Builder
			var found config.Findings
			if err != nil && !errors.As(err, &found) {
				t.Fatalf("Load = %v, want Findings", err)
			}
			for _, f := range found {
				if fault.ExitCode(f.Fault) != 2 {
					t.Errorf("%v has exit code %d, want 2", f.Fault, fault.ExitCode(f.Fault))
				}
				got.WriteString(f.Fault.Error() + "\n    " + f.Fault.Hint + "\n")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	got, err := config.Load("testdata/full.yaml", options())
	if err != nil {
		t.Fatal(err)
	}
	source := &dbConfig{DSN: unit.NewSecret("mysql://u:p#: {w}@h:3306"), Tables: []string{"shop.orders", "shop.item_*"}, Snapshot: "never"}
	source.RateLimit.Rows, source.RateLimit.Bytes = 5000, 10<<20
	want := &config.Config{
		Path: "testdata/full.yaml",
		Pipelines: []config.Pipeline{
			{
				Name:   "shop",
				Source: config.Component{Kind: "mysql", Value: source},
				Steps: []config.Step{{
					Wasm: config.Module{Ref: "mask", Name: "mask"}, Name: "mask-email", Only: []string{"shop.orders"},
					With:    json.RawMessage(`{"columns":["email"],"how":"sha256","n":1.50,"on":true,"nothing":null,"salt":"3"}`),
					Allow:   []string{"log", "secret"},
					Secrets: map[string]unit.Secret{"salt": unit.NewSecret("3")},
					Limits:  config.Limits{Memory: 64 << 20, KV: 10 << 20, Fuel: 50e6, Time: unit.Duration(50 * time.Millisecond)},
					OnError: config.OnErrorDeadLetter,
				}, {
					Wasm: config.Module{Ref: "./own.wasm", Name: "own", File: "testdata/own.wasm"}, Name: "own",
					With: json.RawMessage(`{}`), OnError: config.OnErrorHalt,
				}},
				Sink: config.Component{Kind: "jetstream", Value: &streamConfig{Stream: "SHOP", MaxAge: unit.Duration(7 * 24 * time.Hour), Replicas: 3, Atomic: true,
					Format: unit.Choice{Kind: "rich", Config: &richConfig{Schemas: true, Skip: []string{"t"}}}}},
			},
			{
				Name:   "files",
				Source: config.Component{Kind: "binlog_files", Value: &dbConfig{DSN: unit.NewSecret("fallback"), Files: []string{"testdata/a.000001", "/b"}}},
				Sink:   config.Component{Kind: "stdout", Value: &struct{}{}},
			},
		},
		Tests: []config.Test{{
			Name: "emails are hashed", Pipeline: "shop",
			Given:  []config.TestRow{{Op: "insert", Table: "shop.orders", After: json.RawMessage(`{"id":18446744073709551615,"email":"a@b.c"}`)}},
			Expect: []config.TestMessage{{Subject: "cdc.shop.shop.orders", After: json.RawMessage(`{"id":1,"email":{"matches":"^[0-9a-f]{64}$"}}`)}},
		}},
		Server: &config.Server{Listen: "127.0.0.1:7070"},
		State:  config.State{Dir: "testdata/data"},
		NATS:   config.NATS{Embedded: &config.Embedded{Listen: "127.0.0.1:4222", Durability: config.DurabilityFsync}},
		Memory: config.Memory{InFlight: 64 << 20, InFlightMin: config.DefaultInFlightMin},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(unit.Secret{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

// A format is a name, or a name with options, of which those that are not
// written keep their defaults.
func TestChoice(t *testing.T) {
	for text, want := range map[string]unit.Choice{
		"":                                  {Kind: "plain"},
		"format: ":                          {Kind: "plain"},
		"format: plain":                     {Kind: "plain", Config: &struct{}{}},
		"format: rich":                      {Kind: "rich", Config: &richConfig{Skip: []string{"t"}}},
		"format: {rich: }":                  {Kind: "rich", Config: &richConfig{Skip: []string{"t"}}},
		"format: {rich: {schemas: true}}":   {Kind: "rich", Config: &richConfig{Schemas: true, Skip: []string{"t"}}},
		"format: {rich: {skip: []}}":        {Kind: "rich", Config: &richConfig{Skip: []string{}}},
		"format: ${env:HOST|plain}":         {},
		"format: {rich: {skip: [a, long]}}": {},
	} {
		c, err := config.Parse("c.yaml", []byte("version: 1\npipelines:\n  p:\n    source: {mysql: {dsn: x}}\n    sink:\n      jetstream:\n        stream: S\n        "+text+"\n"), options())
		if want.Kind == "" {
			if err == nil {
				t.Errorf("%s: no finding", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want, c.Pipelines[0].Sink.Value.(*streamConfig).Format); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
	o := options()
	o.Formats = nil // names are not checked, then
	c, err := config.Parse("c.yaml", []byte("version: 1\npipelines: {p: {source: {mysql: {dsn: x}}, sink: {jetstream: {stream: S, format: any}}}}\n"), o)
	if err != nil || c.Pipelines[0].Sink.Value.(*streamConfig).Format.Kind != "any" {
		t.Error(err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), options())
	if !fault.HasCode(err, config.CodeUnreadable) || fault.ExitCode(err) != 2 {
		t.Errorf("Load of no file = %v", err)
	}
}

// A secret from a file keeps every character but the last newline.
func TestSecretFromFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dsn"), []byte("a: b\n#c \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte("version: 1\npipelines:\n  p:\n    source: {mysql: {dsn: \"${file:dsn}\"}}\n    sink: stdout\n"), options())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Pipelines[0].Source.Value.(*dbConfig).DSN.Reveal(); got != "a: b\n#c " {
		t.Errorf("secret = %q", got)
	}
}

func TestParseModule(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for _, c := range []struct {
		ref  string
		want config.Module
		ok   bool
	}{
		{"mask", config.Module{Name: "mask"}, true},
		{"mask@sha256:" + digest, config.Module{Name: "mask", Digest: digest}, true},
		{"./x/m.wasm", config.Module{Name: "m", File: "dir/x/m.wasm"}, true},
		{"/x/m.wasm@sha256:" + digest, config.Module{Name: "m", File: "/x/m.wasm", Digest: digest}, true},
		{"mask@sha256:" + digest[1:], config.Module{}, false},
		{"mask@latest", config.Module{}, false},
		{"./mask", config.Module{}, false},
		{"", config.Module{}, false},
	} {
		got, err := config.ParseModule(c.ref, "dir")
		if (err == nil) != c.ok {
			t.Errorf("ParseModule(%q) error = %v", c.ref, err)
		}
		c.want.Ref = c.ref
		if diff := cmp.Diff(c.want, got); c.ok && diff != "" {
			t.Errorf("ParseModule(%q) (-want +got):\n%s", c.ref, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			f.Add(text)
		}
	}
	for _, s := range []string{"[", "- - - a", "a: &a [*a]", "<<: *x", "? : ", "a: !b c", "\x00", "a:\n\t- b", "x: .inf"} {
		f.Add([]byte(s))
		f.Add([]byte("version: 1\npipelines: {p: {source: {mysql: " + s + "}}}"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("f.yaml", text, options())
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", c, err)
		}
	})
}

// The schema accepts what Load accepts, and refuses an unknown key at any depth.
func TestSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema(options())))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("cdcd.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("cdcd.json")
	if err != nil {
		t.Fatal(err)
	}
	for file, ok := range map[string]bool{"full.yaml": true, "keys.yaml": false, "steps.yaml": false, "server.yaml": false} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := yaml.YAMLToJSON(text)
		if err != nil && ok {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil && ok {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != ok {
			t.Errorf("%s: schema says %v", file, err)
		}
	}
}

func TestReplicate(t *testing.T) {
	const head = "version: 1\npipelines: {p: {source: good, sink: good}}\n"
	load := func(text string) (*config.Config, error) {
		good := config.Kind{Name: "good", NewConfig: func() any { return &struct{}{} }}
		return config.Parse("c.yaml", []byte(head+text), config.Options{Sources: []config.Kind{good}, Sinks: []config.Kind{good}})
	}
	c, err := load("state: {replicate: s3://b/p}")
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Replicate{URL: "s3://b/p", Every: config.DefaultReplicateEvery, Keep: 3, Restore: true}
	if d := cmp.Diff(want, c.State.Replicate, cmp.AllowUnexported(unit.Secret{})); d != "" || c.State.Dir != config.DefaultStateDir[2:] {
		t.Errorf("as a text: %s, dir %s", d, c.State.Dir)
	}
	if c, err = load("state: {dir: /d, replicate: {url: s3://b, every: 5m, keep: 9, restore: false, access_key_id: k, secret_access_key: s}}"); err != nil {
		t.Fatal(err)
	}
	want = &config.Replicate{URL: "s3://b", Every: unit.Duration(5 * time.Minute), Keep: 9, Key: unit.NewSecret("k"), Secret: unit.NewSecret("s")}
	if d := cmp.Diff(want, c.State.Replicate, cmp.AllowUnexported(unit.Secret{})); d != "" || c.State.Dir != "/d" {
		t.Errorf("as keys: %s, dir %s", d, c.State.Dir)
	}
	if c, err = load("state: {dir: d}"); err != nil || c.State.Replicate != nil {
		t.Errorf("none: %v, %v", c, err)
	}
	for text, want := range map[string]string{
		"state: {replicate: b/p}":                             `"b/p" is not a place in an object store`,
		"state: {replicate: {every: 10s}}":                    `the key "url" is missing`,
		"state: {replicate: {url: http://x}}":                 `"http://x" is not a place`,
		"state: {replicate: {url: s3://b, keep: 0}}":          `0 copies can't be kept`,
		"state: {replicate: {url: s3://b, every: 1ms}}":       `copies can't be made every 1ms`,
		"state: {replicate: {url: s3://b, access_key_id: k}}": `one is missing`,
		"state: {replicate: {url: s3://b, acess_key_id: k}}":  `unknown key "acess_key_id"`,
		"state: {replicate: [s3://b]}":                        `not a list`,
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
