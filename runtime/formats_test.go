package runtime_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// rowChange is what every format says of a row in its own words.
type rowChange struct{ op, db, table string }

// Recorded files in every format into the embedded JetStream: each says the
// same of the same rows, the keys of those that have some are beside the bodies,
// and a second run adds nothing.
func TestFormats(t *testing.T) {
	for _, flavor := range []string{"mysql", "mariadb"} {
		t.Run(flavor, func(t *testing.T) {
			files := recording(t, flavor)
			run := func(format string) (string, []*nats.Msg) {
				yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}%s
    sink: {jetstream: {stream: SHOP, format: %s}}
state: {dir: %s}
nats: {embedded: {listen: "127.0.0.1:0"}}
`, files, oneStep, format, t.TempDir())
				return yaml, runAndRead(t, yaml)
			}
			_, plain := run("json")
			var want []rowChange
			deletes := 0
			for _, m := range plain {
				c := debeziumChange(t, m.Data)
				want = append(want, c)
				if c.op == "d" {
					deletes++
				}
				if m.Header.Get("Cdc-Key") != "" {
					t.Fatal("the format json sends a key")
				}
			}
			if deletes == 0 {
				t.Fatal("the recording has no deletes")
			}
			yaml, messages := run("{debezium: {schemas: false}}")
			sameChanges(t, want, debeziumChanges(t, messages, deletes))
			if again := runAndRead(t, yaml); len(again) != len(messages) {
				t.Errorf("%d messages, %d after a second run", len(messages), len(again))
			}
			if flavor == "mariadb" {
				return // the rest knows nothing of the server
			}
			for format, read := range map[string]func(*testing.T, []byte) rowChange{
				"maxwell": maxwellChange, "canal": canalChange, "cloudevents": eventChange,
				"{debezium: {schemas: true, tombstones: false}}":                 wrappedChange,
				"{cloudevents: {data: debezium, debezium: {tombstones: false}}}": eventChange,
			} {
				_, messages := run(format)
				var got []rowChange
				for _, m := range messages {
					got = append(got, read(t, m.Data))
					if format != "canal" && m.Header.Get("Cdc-Key") == "" {
						t.Errorf("%s: no key", format)
					}
				}
				sameChanges(t, want, got)
			}
		})
	}
}

func sameChanges(t *testing.T, want, got []rowChange) {
	t.Helper()
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("%d changes, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
}

// debeziumChanges takes the tombstones out: each lies behind a delete of the
// same row, with the same key.
func debeziumChanges(t *testing.T, messages []*nats.Msg, deletes int) (all []rowChange) {
	t.Helper()
	for i, m := range messages {
		key := m.Header.Get("Cdc-Key")
		if !json.Valid([]byte(key)) {
			t.Errorf("key %q", key)
		}
		if len(m.Data) > 0 {
			all = append(all, debeziumChange(t, m.Data))
			continue
		}
		deletes--
		before := messages[i-1]
		pos := before.Header.Get("Cdc-Pos")
		if !strings.Contains(string(before.Data), `"op":"d"`) || before.Header.Get("Cdc-Key") != key || before.Subject != m.Subject ||
			!strings.Contains(pos, ".0/2#") || !strings.Contains(m.Header.Get("Cdc-Pos"), strings.SplitN(pos, ".", 2)[0]) {
			t.Errorf("a tombstone %v behind %v %s", m.Header, before.Header, before.Data)
		}
	}
	if deletes != 0 {
		t.Errorf("%d tombstones are missing", deletes)
	}
	return all
}

func decode(t *testing.T, body []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
}

func debeziumChange(t *testing.T, body []byte) rowChange {
	t.Helper()
	var m struct {
		Op     string
		Source struct{ DB, Table string }
	}
	decode(t, body, &m)
	return rowChange{m.Op, m.Source.DB, m.Source.Table}
}

func wrappedChange(t *testing.T, body []byte) rowChange {
	t.Helper()
	var m struct{ Payload json.RawMessage }
	decode(t, body, &m)
	return debeziumChange(t, m.Payload)
}

func eventChange(t *testing.T, body []byte) rowChange {
	t.Helper()
	var m struct{ Data json.RawMessage }
	decode(t, body, &m)
	return debeziumChange(t, m.Data)
}

func maxwellChange(t *testing.T, body []byte) rowChange {
	t.Helper()
	var m struct{ Type, Database, Table string }
	decode(t, body, &m)
	return rowChange{map[string]string{"insert": "c", "update": "u", "delete": "d"}[m.Type], m.Database, m.Table}
}

func canalChange(t *testing.T, body []byte) rowChange {
	t.Helper()
	var m struct{ Type, Database, Table string }
	decode(t, body, &m)
	return rowChange{map[string]string{"INSERT": "c", "UPDATE": "u", "DELETE": "d"}[m.Type], m.Database, m.Table}
}
