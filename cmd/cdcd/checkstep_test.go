package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestCheckGrants(t *testing.T) {
	m := &wasm.Inspection{Manifest: sdk.Manifest{Name: "number", Capabilities: []string{"kv", "log"}}}
	if got := checkGrants(m, []string{"log", "kv", "clock"}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	got := checkGrants(m, []string{"log"})
	if len(got) != 1 || got[0].Code != "capability_not_granted" || got[0].Path != "allow" ||
		!strings.Contains(got[0].Err.Error(), `"kv"`) || !strings.Contains(got[0].Hint, "allow: [kv, log]") {
		t.Errorf("%v", got)
	}
	m.Imports = []wasm.ModuleImport{{Grant: "kv", Declared: true}, {Grant: "clock"}, {Grant: "clock"}}
	got = checkGrants(m, []string{"kv", "log", "clock"})
	if len(got) != 1 || got[0].Code != "capability_not_declared" {
		t.Errorf("an import that the manifest does not list: %v", got)
	}
}

func TestCheckWith(t *testing.T) {
	var schema any
	if err := json.Unmarshal([]byte(`{
		"type": "object", "additionalProperties": false, "required": ["columns"],
		"properties": {"columns": {"type": "array", "items": {"type": "string"}}, "how": {"enum": ["sha256", "null"]}}
	}`), &schema); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		schema any
		with   string
		want   []string // path and a part of the message
	}{
		{"right", schema, `{"columns": ["email"], "how": "sha256"}`, nil},
		{"no schema", nil, `{"anything": 1}`, nil},
		{"missing", schema, `{}`, []string{"with: missing property 'columns'"}},
		{"type", schema, `{"columns": ["a", 7]}`, []string{"with.columns[1]: got number, want string"}},
		{"two", schema, `{"columns": 1, "how": "md5"}`, []string{"with.columns: got number, want array", "with.how: value must be one of"}},
		{"unknown key", schema, `{"columns": [], "colums": []}`, []string{"with: additional properties 'colums' not allowed"}},
		{"schema that reads files", map[string]any{"$ref": "file:///etc/passwd"}, `{}`, []string{"wasm: the schema of its configuration can't be used"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := checkWith(sdk.Manifest{Name: "mask", ConfigSchema: c.schema}, []byte(c.with))
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i, f := range got {
				path, part, _ := strings.Cut(c.want[i], ": ")
				if f.Path != path || !strings.Contains(f.Err.Error(), part) || f.Hint == "" {
					t.Errorf("finding %d:\n%s", i, cmp.Diff(c.want[i], f.Path+": "+f.Err.Error()+"; "+f.Hint))
				}
			}
		})
	}
}
