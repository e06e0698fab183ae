package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/examples/demo"
)

// Programs read what cdcd run prints where there is no terminal: one JSON object
// a line, whose keys and types only grow.
func TestRunPrintsLines(t *testing.T) {
	needConnectors(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files()); err != nil {
		t.Fatal(err)
	}
	const config = `{version: 1, pipelines: {shop: {
		source: {binlog_files: {files: [mysql/binlog.000001], tables: ["shop.*"]}},
		steps: [{wasm: filter, only: [shop.orders], with: {where: "status != 'draft'"}}],
		sink: {file: {path: out.jsonl}}}}}`
	if err := os.WriteFile(filepath.Join(dir, "cdcd.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, dir, "run", "cdcd.yaml", "--until", "eof")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got bytes.Buffer
	for line := range bytes.Lines(text) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, line)
		}
		if bytes.HasPrefix(line, []byte(`{"event":"status"`)) { // of a run that takes ten seconds
			continue
		}
		shape, err := json.MarshalIndent(shapeOf("", v), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got.Write(append(shape, '\n'))
	}
	const golden = "testdata/run.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-want +got; if it is meant: go test ./cmd/cdcd -run TestRunPrintsLines -update\n%s", diff)
	}
}

// shapeOf keeps keys, types and words, and takes out what differs from run to run.
func shapeOf(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = shapeOf(k, v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = shapeOf(key, v[i])
		}
		return v
	case float64:
		if strings.HasPrefix(key, "rows_") || key == "dead_letters" || strings.HasSuffix(key, "_left") {
			return v // the recording has always the same
		}
		return "number"
	case string:
		switch key {
		case "since", "checkpoint_at":
			return "time"
		case "detail": // how far it came before somebody looked
			return "text"
		}
		return v
	}
	return v
}
