package canal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

func suite(name string, cfg Config) formattest.Suite {
	return formattest.Suite{Name: name, Update: *update, New: func() format.Format { return New(cfg) },
		Value: formattest.At("data", "0"), Type: formattest.At("sqlType")}
}

func TestConformance(t *testing.T) { suite("plain", Config{}).Run(t) }

func TestConformanceWithLabels(t *testing.T) { suite("labels", Config{Labels: true}).Run(t) }

func BenchmarkAppendRow(b *testing.B) { suite("plain", Config{}).Benchmark(b) }

// Every value is the text that the server prints, but for those that Canal has
// another form of.
func TestValues(t *testing.T) {
	suite("labels", Config{Labels: true}).Values(t, func(p *cdctest.Probe, v *cdctest.Value, got any) {
		text, ok := got.(string)
		switch p.Type {
		case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
			raw := make([]byte, 0, len(text))
			for _, r := range text {
				raw = append(raw, byte(r))
			}
			text = hex.EncodeToString(raw)
		case sdk.TypeFloat32, sdk.TypeFloat64:
			text = fmt.Sprint(number(t, text))
			if p.Type == sdk.TypeFloat32 {
				text = fmt.Sprint(float32(number(t, text)))
				if text != fmt.Sprint(float32(number(t, v.Text))) {
					t.Errorf("%s: %s, want %s", p.Column, text, v.Text)
				}
				return
			}
			if text != fmt.Sprint(number(t, v.Text)) {
				t.Errorf("%s: %s, want %s", p.Column, text, v.Text)
			}
			return
		}
		if !ok || text != v.Text {
			t.Errorf("%s: %.200v, want %.200q", p.Column, got, v.Text)
		}
	})
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	var f float64
	if err := json.Unmarshal([]byte(s), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// Labels are the numbers that the server keeps.
func TestLabelNumbers(t *testing.T) {
	for _, c := range []struct {
		typ    sdk.Type
		labels []string
		text   string
		want   string
	}{
		{sdk.TypeEnum, []string{"a", "b"}, "b", "2"}, {sdk.TypeEnum, []string{"a", "b"}, "", "0"}, {sdk.TypeEnum, []string{"a", ""}, "", "2"},
		{sdk.TypeEnum, []string{"a", "b"}, "a,b", "a,b"}, {sdk.TypeSet, []string{"a", "b", "c"}, "a,c", "5"}, {sdk.TypeSet, []string{"a"}, "", "0"},
		{sdk.TypeSet, []string{"a"}, "a,x", "a,x"}, {sdk.TypeEnum, nil, "x", "x"},
	} {
		l := columnOf(&sdk.Column{Type: c.typ, Labels: c.labels}, false)
		if got := string(l.appendLabels(nil, []byte(c.text))); got != c.want {
			t.Errorf("%v %q of %q: %s, want %s", c.typ, c.text, c.labels, got, c.want)
		}
	}
}

// The type of an unsigned value that its column's signed type can't hold is the
// next wider one.
func TestUnsignedTypes(t *testing.T) {
	for _, c := range []struct {
		native, text string
		want         int
	}{
		{"tinyint unsigned", "127", sqlTinyint}, {"tinyint unsigned", "128", sqlSmallint}, {"smallint unsigned", "32768", sqlInteger},
		{"mediumint unsigned", "8388608", sqlInteger}, {"int unsigned", "2147483647", sqlInteger}, {"int unsigned", "2147483648", sqlBigint},
		{"bigint unsigned", "9223372036854775807", sqlBigint}, {"bigint unsigned", "9223372036854775808", sqlDecimal},
	} {
		table := &sdk.Schema{ID: 1, Columns: []sdk.Column{{Name: "u", Type: sdk.TypeUint, Native: c.native}}}
		b := formattest.Batch(t, table, formattest.Transaction("a:1"), true, formattest.Row{Op: sdk.OpInsert, After: []string{c.text}})
		body := string(formattest.Messages(New(Config{}), b.Row(0))[0].Body)
		if want := fmt.Sprintf(`"sqlType":{"u":%d}`, c.want); !strings.Contains(body, want) {
			t.Errorf("%s %s: no %s in %s", c.native, c.text, want, body)
		}
	}
}

// The recorded messages are of a program whose values have their JSON types and
// whose old is the whole row; Canal's own are strings, and old what changed.
func TestCorpus(t *testing.T) {
	ops := map[string]sdk.Op{"INSERT": sdk.OpInsert, "UPDATE": sdk.OpUpdate, "DELETE": sdk.OpDelete}
	for i, want := range formattest.Corpus(t, "canal-json.txt") {
		data := want["data"].([]any)[0].(map[string]any)
		var old map[string]any
		if list, ok := want["old"].([]any); ok {
			old = list[0].(map[string]any)
		}
		before, after := old, data
		if want["type"] == "DELETE" {
			before, after = data, nil
		}
		b := formattest.CorpusRow(t, want["table"].(string), ops[want["type"].(string)], before, after, false)
		d := json.NewDecoder(bytes.NewReader(formattest.Messages(New(Config{Labels: true}), b.Row(0))[0].Body))
		d.UseNumber()
		var got map[string]any
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"type", "database", "table", "pkNames"} {
			if fmt.Sprint(got[key]) != fmt.Sprint(want[key]) {
				t.Errorf("message %d: %s is %v, want %v", i, key, got[key], want[key])
			}
		}
		texts(t, i, data, got["data"].([]any)[0].(map[string]any))
		if (old == nil) != (got["old"] == nil) {
			t.Fatalf("message %d: old is %v, want %v", i, got["old"], old)
		}
		if old == nil {
			continue
		}
		changed := got["old"].([]any)[0].(map[string]any)
		for name, v := range old {
			if _, told := changed[name]; !told {
				changed[name] = data[name] // what did not change
			} else if changed[name] == fmt.Sprint(data[name]) {
				t.Errorf("message %d: old has %s, which did not change", i, name)
			}
			_ = v
		}
		texts(t, i, old, changed)
	}
}

// texts compares values with those of a recorded message, as text.
func texts(t *testing.T, i int, want, got map[string]any) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("message %d: %v, want %v", i, got, want)
	}
	for name, v := range want {
		if (v == nil) != (got[name] == nil) || v != nil && fmt.Sprint(v) != fmt.Sprint(got[name]) {
			t.Errorf("message %d: %s is %v, want %v", i, name, got[name], v)
		}
	}
}
