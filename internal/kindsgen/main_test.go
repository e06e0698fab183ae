package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The list in the tree is what the folders say.
func TestListIsFresh(t *testing.T) {
	want, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../cmd/cdcd/kinds_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("cmd/cdcd/kinds_gen.go is stale: run go generate ./cmd/cdcd")
	}
}

func TestGenerate(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"cdc/pg/pg.go":                 "package pg\n\nfunc Kind() cdc.Kind { return cdc.Kind{} }\n",
		"cdc/none/none.go":             "package none\n\ntype T int\n\nfunc (T) Kind() int { return 0 }\n\nfunc KindOf(x int) int { return x }\n",
		"cdc/test/x_test.go":           "package test\n\nfunc Kind() int { return 0 }\n",
		"runtime/sink/s3/s3.go":        "package s3\n\nfunc Kind() sink.Kind { return sink.Kind{} }\n",
		"runtime/format/json/json.go":  "package json\n\nfunc Kind() format.Kind { return format.Kind{} }\n",
		"runtime/format/README/x.text": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for want, count := range map[string]int{"cdcpg.Kind()": 1, "sinks3.Kind()": 1, "formatjson.Kind()": 1, ".Kind()": 3} {
		if got := strings.Count(string(text), want); got != count {
			t.Errorf("%q comes %d times, want %d:\n%s", want, got, count, text)
		}
	}
}
