package cloudevents

import (
	stdjson "encoding/json"
	"flag"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/debezium"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

func suite(name string, options ...func(*Config)) formattest.Suite {
	cfg := *NewConfig()
	for _, o := range options {
		o(&cfg)
	}
	return formattest.Suite{Name: name, Update: *update, New: func() format.Format { return New(cfg) }, Value: formattest.At("data", "after")}
}

func withDebezium(c *Config) { c.Data = "debezium" }

func TestConformance(t *testing.T) { suite("json").Run(t) }

func TestConformanceWithDebezium(t *testing.T) { suite("debezium", withDebezium).Run(t) }

func BenchmarkAppendRow(b *testing.B) { suite("json").Benchmark(b) }

// What the specification demands of an event, and that data is the body that
// the other format gives.
func TestEvents(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9]+$`)
	s := &sdk.Schema{ID: 1, DB: "d", Table: "t", Key: []int{0}, Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt, Native: "int"}}}
	rows := []formattest.Row{{Op: sdk.OpInsert, After: []string{"1"}}, {Op: sdk.OpUpdate, Before: []string{"1"}, After: []string{"2"}, Ordinal: 1},
		{Op: sdk.OpDelete, Before: []string{"2"}, Ordinal: 2}}
	for _, c := range []struct {
		f, inner format.Format
		events   int
	}{
		{New(*NewConfig()), json.New(), 3},
		{suite("", withDebezium).New(), debezium.New(*debezium.NewConfig()), 4}, // and two tombstones
	} {
		ids := map[string]bool{}
		b := formattest.Batch(t, s, formattest.Transaction(formattest.WithGTID), true, rows...)
		for i := range b.Rows() {
			inner := formattest.Messages(c.inner, b.Row(i))
			for k, m := range formattest.Messages(c.f, b.Row(i)) {
				if string(m.Key) != string(inner[k].Key) || string(m.Headers) != string(inner[k].Headers) {
					t.Errorf("row %d: key %s, headers %q", i, m.Key, m.Headers)
				}
				if len(m.Body) == 0 && len(inner[k].Body) == 0 {
					continue
				}
				var event map[string]stdjson.RawMessage
				if err := stdjson.Unmarshal(m.Body, &event); err != nil {
					t.Fatal(err)
				}
				if string(event["data"]) != string(inner[k].Body) {
					t.Errorf("row %d: data is %s, want %s", i, event["data"], inner[k].Body)
				}
				text := map[string]string{}
				for attribute, v := range event {
					var s string
					if attribute != "data" && (stdjson.Unmarshal(v, &s) != nil || s == "" || !name.MatchString(attribute)) {
						t.Errorf("attribute %s is %s", attribute, v)
					}
					text[attribute] = s
				}
				if at, err := time.Parse(time.RFC3339Nano, text["time"]); err != nil || at.UnixMicro() != 1714550400123456 || text["specversion"] != "1.0" {
					t.Errorf("row %d: %v, %v", i, text, err)
				}
				if text["partitionkey"] != string(m.Key) || ids[text["source"]+text["id"]] {
					t.Errorf("row %d: %v", i, text)
				}
				ids[text["source"]+text["id"]] = true
			}
		}
		if len(ids) != c.events {
			t.Errorf("%d events, want %d: %v", len(ids), c.events, ids)
		}
	}
}

func TestValidate(t *testing.T) {
	cfg := NewConfig()
	if f := cfg.Validate(); len(f) != 0 {
		t.Errorf("the defaults: %v", f)
	}
	cfg.Data, cfg.Debezium.Connector = "avro", "oracle"
	var got []string
	for _, f := range cfg.Validate() {
		got = append(got, f.Code+" "+f.Path)
	}
	if want := "[format_cloudevents data format_debezium debezium.connector]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}
