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
}

func (c *streamConfig) StreamName() string { return c.Stream }

func options() config.Options {
	env := map[string]string{"SHOP_DSN": "mysql://u:p#: {w}@h:3306", "REPLICAS": "3", "HOST": "h"}
	return config.Options{
		Sources:    []config.Kind{{Name: "mysql", NewConfig: func() any { return &dbConfig{Snapshot: "initial"} }}, {Name: "binlog_files", NewConfig: func() any { return &dbConfig{} }}},
		Sinks:      []config.Kind{{Name: "jetstream", NewConfig: func() any { return &streamConfig{Replicas: 1} }}, {Name: "stdout", NewConfig: func() any { return &struct{}{} }}},
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
				Sink: config.Component{Kind: "jetstream", Value: &streamConfig{Stream: "SHOP", MaxAge: unit.Duration(7 * 24 * time.Hour), Replicas: 3, Atomic: true}},
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
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(unit.Secret{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
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
