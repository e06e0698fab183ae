package formattest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/canal"
	"github.com/cdcd-io/cdcd/runtime/format/cloudevents"
	"github.com/cdcd-io/cdcd/runtime/format/debezium"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	formatjson "github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/format/maxwell"
)

var update = flag.Bool("update", false, "write the guide's examples anew")

const guide = "../../../docs/guides/formats.md"

// example is a block of JSON in the guide, with the comment before it that says
// what it is of: <!-- debezium: update -->.
var example = regexp.MustCompile("(?s)<!-- ([^:>]+): ([^>]+) -->\n```json\n(.*?)```")

// Every example in the guide is what the format really gives.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	changed := example.ReplaceAllFunc(text, func(block []byte) []byte {
		m := example.FindSubmatch(block)
		what, of := string(m[1]), string(m[2])
		seen[what] = true
		want := render(t, what, of)
		var have bytes.Buffer
		if err := json.Compact(&have, m[3]); err != nil && !*update {
			t.Errorf("%s: %s: %v", what, of, err)
		}
		if have.String() != string(want) && !*update {
			t.Errorf("%s: %s is not what the guide says; go test ./runtime/format/formattest -update writes it anew\n%s", what, of, want)
		}
		return fmt.Appendf(nil, "<!-- %s: %s -->\n```json\n%s\n```", what, of, laidOut(t, want))
	})
	for _, what := range []string{"json", "debezium", "debezium with schemas, key", "cloudevents", "cloudevents with debezium", "maxwell", "canal", "control"} {
		if !seen[what] {
			t.Errorf("the guide has no example of %s", what)
		}
	}
	if *update {
		if err := os.WriteFile(guide, changed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func render(t *testing.T, what, of string) []byte {
	t.Helper()
	if what == "control" {
		return control(t, of)
	}
	what, key := strings.CutSuffix(what, ", key")
	schemas, events := *debezium.NewConfig(), *cloudevents.NewConfig()
	schemas.Schemas, events.Data = true, "debezium"
	f := map[string]format.Format{
		"json": formatjson.New(), "debezium": debezium.New(*debezium.NewConfig()), "debezium with schemas": debezium.New(schemas),
		"cloudevents": cloudevents.New(*cloudevents.NewConfig()), "cloudevents with debezium": cloudevents.New(events),
		"maxwell": maxwell.New(*maxwell.NewConfig()), "canal": canal.New(canal.Config{}),
	}[what]
	if f == nil {
		t.Fatalf("there is no format %q", what)
	}
	of, part, found := strings.Cut(of, ", message ")
	i := 0
	if found {
		i = int(part[0] - '1')
	}
	m := formattest.Messages(f, formattest.Example(t, of))[i]
	if key {
		return m.Key
	}
	return m.Body
}

// control returns a control message: they are the same in every format.
func control(t *testing.T, kind string) []byte {
	t.Helper()
	s := formattest.Orders()
	switch kind {
	case "schema":
		return format.AppendSchema(nil, s, s.Fingerprint())
	case "tx_end":
		return format.AppendTxEnd(nil, format.TxEndBody{Tx: formattest.WithGTID, Rows: 1200, Messages: 1180,
			Subjects: map[string]*uint64{"cdc.shop.shop.orders": new(uint64(1000)), "cdc.shop.shop.items": new(uint64(180))}})
	case "heartbeat":
		return format.AppendHeartbeat(nil, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23", "binlog.000003:1700")
	}
	t.Fatalf("there is no control message %q", kind)
	return nil
}

// laidOut puts each field of an object on a line of its own.
func laidOut(t *testing.T, body []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	var lines []string
	for _, err := d.Token(); d.More(); {
		if err != nil {
			t.Fatal(err)
		}
		var key string
		var value json.RawMessage
		token, err := d.Token()
		if err == nil {
			key, err = fmt.Sprint(token), d.Decode(&value)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf(" %q: %s", key, value))
	}
	return "{" + strings.TrimPrefix(strings.Join(lines, ",\n"), " ") + "}"
}
