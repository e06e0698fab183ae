package runtime_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// keep runs the recording through a connector that keeps something, with the
// state in dir, and returns the status, what Run said and what was logged.
func keep(t *testing.T, module []byte, dir, limits string) (telemetry.Status, error, string) {
	t.Helper()
	t.Setenv("CDCD_TEST_WORD", "open sesame")
	yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}
    steps: [{wasm: mask, name: one, allow: [kv, metrics, secret], secrets: {word: "${env:CDCD_TEST_WORD}"}, limits: %s}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {embedded: {listen: "127.0.0.1:0"}}
`, recording(t, "mysql"), limits, dir)
	o := options(t, parse(t, yaml))
	o.Module = func(config.Module) ([]byte, error) { return module, nil }
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(t.Context())
	return d.Status()[0], err, log.String()
}

// What a step's connector keeps, counts and is told in secret.
func TestStepsKeepCountAndAreTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, []byte(`{"name":"keeper","version":"1.0.0","abi":1,"kind":"transform","capabilities":["kv","metrics","secret"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	module, err := connector("./wasm/testdata/guests/keeper", path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var rows uint64
	for run := range 2 { // the second finds nothing to do, and must not count again
		s, err, log := keep(t, module, dir, "{}")
		if err != nil || strings.Contains(log, "sesame") || strings.Contains(fmt.Sprintf("%+v", s), "sesame") {
			t.Fatalf("run %d: %v\n%s", run, err, log)
		}
		if run == 0 {
			rows = s.RowsIn
			if len(s.Connectors) != 1 || s.Connectors[0].Name != "kept" || s.Connectors[0].Step != "one" ||
				s.Connectors[0].Kind != telemetry.Gauge || s.Connectors[0].Value != float64(rows) || rows < 10 {
				t.Errorf("%d rows, %+v", rows, s.Connectors)
			}
		}
	}
	store, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	v, ok, err := p.Values("one").Get([]byte("rows"))
	if !ok || err != nil || uint64(v[0])|uint64(v[1])<<8|uint64(v[2])<<16 != rows {
		t.Errorf("%v of %d are kept: %v", v, rows, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err, _ := keep(t, module, t.TempDir(), "{kv: 11B}"); !fault.HasCode(err, "kv_quota") || fault.Of(err).Path != "shop/one" {
		t.Error("a byte too little:", err)
	}
	if _, err, _ := keep(t, module, t.TempDir(), "{kv: 12B}"); err != nil {
		t.Error("just enough:", err)
	}
}
