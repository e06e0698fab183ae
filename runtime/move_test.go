package runtime_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/state"
)

// A rewind sends again exactly what came behind the place, with what connectors
// kept as it was there; the counter goes on densely. Moving ahead leaves out what
// lies between. An order that can't be carried out halts, once.
func TestPositionIsMoved(t *testing.T) {
	ns := testserver.NATS(t)
	dir, files := t.TempDir(), recording(t, "mysql")
	number, err := connector("../connectors-wasm/number", "../connectors-wasm/number/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	run := func() error {
		yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}
    steps: [{wasm: mask, name: number, allow: [kv]}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, files, dir, ns.URL())
		o := options(t, parse(t, yaml))
		o.Module = func(config.Module) ([]byte, error) { return number, nil }
		d, err := runtime.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return d.Run(t.Context())
	}
	order := func(o state.MoveOrder) {
		t.Helper()
		s, err := state.Open(dir, state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Pipeline("shop")
		if err == nil {
			err = p.OrderMove(o)
		}
		if cerr := s.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
	}
	stream := func() (data []string, bases []string) {
		t.Helper()
		seq := 0
		for _, m := range readFrom(t.Context(), t, ns.Conn(t)) {
			if m.Header.Get("Cdc-Kind") == "" {
				seq++
				data = append(data, m.Subject+" "+m.Header.Get("Row-Change")+" "+string(m.Data))
			}
			if m.Header.Get("Cdc-Seq") != fmt.Sprint(seq) {
				t.Fatalf("Cdc-Seq %s behind %d data messages", m.Header.Get("Cdc-Seq"), seq)
			}
			if base := m.Header.Get("Cdc-Base"); base != "" && seq > 0 {
				bases = append(bases, base)
			}
		}
		return data, bases
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	first, bases := stream()
	end := standsAt(t, dir)
	back := bases[len(bases)/2]

	order(state.MoveOrder{To: back, Back: true})
	if err := run(); err != nil {
		t.Fatal(err)
	}
	second, _ := stream()
	again := second[len(first):]
	if len(again) < 10 || len(again) >= len(first) || strings.Join(again, "\n") != strings.Join(first[len(first)-len(again):], "\n") {
		t.Fatalf("%d messages, then %d more: not what came behind the place", len(first), len(again))
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if data, _ := stream(); len(data) != len(second) {
		t.Errorf("%d messages more: the order was carried out twice", len(data)-len(second))
	}

	order(state.MoveOrder{To: "earliest", Back: true})
	order(state.MoveOrder{To: end}) // in its place
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if data, _ := stream(); len(data) != len(second) {
		t.Errorf("%d messages more behind the end", len(data)-len(second))
	}

	order(state.MoveOrder{To: back})
	if err := run(); err != nil {
		t.Fatal(err)
	}
	third, _ := stream()
	order(state.MoveOrder{To: back, Back: true})
	order(state.MoveOrder{To: "nowhere"})
	for _, want := range []string{"start_invalid", ""} { // withdrawn with its fault
		if err := run(); want != "" && !fault.HasCode(err, want) || want == "" && err != nil {
			t.Errorf("%q: %v", want, err)
		}
	}
	order(state.MoveOrder{To: strings.Replace(end, `"pos":`, `"pos":9`, 1), Back: true})
	if err := run(); !fault.HasCode(err, "position_refused") || fault.Of(err).Hint == "" {
		t.Error("ahead is not back:", err)
	}
	if err := run(); err != nil {
		t.Error(err)
	}
	if data, _ := stream(); len(data) != len(third) {
		t.Errorf("%d messages more by orders that were refused", len(data)-len(third))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tar")); len(left) > 0 {
		t.Error(left)
	}
}

// standsAt returns where delivery stands, as the state knows it.
func standsAt(t *testing.T, dir string) string {
	t.Helper()
	found, err := state.Checkpoints(dir, []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	return string(found["shop"].Position)
}
