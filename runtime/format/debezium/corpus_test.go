package debezium

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/sdk"
)

// render gives the message that a recorded one is compared with.
func render(t *testing.T, s formattest.Suite, want map[string]any, narrow bool) map[string]any {
	t.Helper()
	op := map[string]sdk.Op{"c": sdk.OpInsert, "u": sdk.OpUpdate, "d": sdk.OpDelete}[want["op"].(string)]
	before, _ := want["before"].(map[string]any)
	after, _ := want["after"].(map[string]any)
	b := formattest.CorpusRow(t, want["source"].(map[string]any)["table"].(string), op, before, after, narrow)
	d := json.NewDecoder(bytes.NewReader(formattest.Messages(s.New(), b.Row(0))[0].Body))
	d.UseNumber()
	var got map[string]any
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

// fields takes out of got what want has not: the recorded messages have few of
// an envelope's fields. What they have must be there.
func fields(got, want map[string]any) map[string]any {
	out := map[string]any{}
	for key := range want {
		v, ok := got[key]
		if !ok {
			continue
		}
		inner, ok := v.(map[string]any)
		wanted, ok2 := want[key].(map[string]any)
		if ok && ok2 && key == "source" {
			v = fields(inner, wanted)
		}
		out[key] = v
	}
	return out
}

func TestCorpus(t *testing.T) {
	for _, narrow := range []bool{true, false} {
		for i, want := range formattest.Corpus(t, "debezium-json.txt") {
			got := render(t, suite("plain"), want, narrow)
			if !narrow { // the recording's documents are as the server prints them
				for _, image := range []any{want["before"], want["after"]} {
					if row, ok := image.(map[string]any); ok && row["json_c"] != nil {
						row["json_c"] = strings.ReplaceAll(row["json_c"].(string), ": ", ":")
						row["json_c"] = strings.ReplaceAll(row["json_c"].(string), ", ", ",")
					}
				}
			}
			if d := cmp.Diff(want, fields(got, want)); d != "" {
				t.Errorf("message %d (-want +got):\n%s", i, d)
			}
		}
	}
}

// The schemas of the recorded messages have the columns' default values, which
// no log tells; they have no names, and not all fields.
func TestCorpusWithSchema(t *testing.T) {
	s := suite("schemas", func(c *Config) { c.Schemas = true })
	for i, m := range formattest.Corpus(t, "debezium-json-with-schema.txt") {
		want := m["payload"].(map[string]any)
		got := render(t, s, want, true)
		if d := cmp.Diff(want, fields(got["payload"].(map[string]any), want)); d != "" {
			t.Errorf("message %d (-want +got):\n%s", i, d)
		}
		schema, wanted := got["schema"].(map[string]any), m["schema"].(map[string]any)
		if schema["type"] != wanted["type"] || schema["optional"] != wanted["optional"] {
			t.Errorf("message %d: %v", i, schema)
		}
		for k, image := range wanted["fields"].([]any) {
			columns := image.(map[string]any)
			for _, c := range columns["fields"].([]any) {
				delete(c.(map[string]any), "default")
			}
			if d := cmp.Diff(columns, fields(schema["fields"].([]any)[k].(map[string]any), columns)); d != "" {
				t.Errorf("message %d, field %d of the schema (-want +got):\n%s", i, k, d)
			}
		}
	}
}
