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
)

// runStep runs the recording through one step of a module and returns what the
// daemon said and logged.
func runStep(t *testing.T, module func() ([]byte, error), step string) (error, string) {
	t.Helper()
	yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}
    steps: [{wasm: mask, name: one, %s}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {embedded: {listen: "127.0.0.1:0"}}
`, recording(t, "mysql"), step, t.TempDir())
	o := options(t, parse(t, yaml))
	o.Module = func(config.Module) ([]byte, error) { return module() }
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(t.Context())
	return err, log.String()
}

// A step's `allow` is what its module may import.
func TestAllowGrantsCapabilities(t *testing.T) {
	logger := func() ([]byte, error) {
		path := filepath.Join(t.TempDir(), "manifest.json")
		if err := os.WriteFile(path, []byte(`{"name":"logger","version":"1.0.0","abi":1,"kind":"transform","capabilities":["log"]}`), 0o600); err != nil {
			return nil, err
		}
		return connector("./wasm/testdata/guests/logger", path)
	}
	err, log := runStep(t, logger, "allow: [log]")
	if err != nil || !strings.Contains(log, `text="a row came"`) {
		t.Errorf("granted: %v\n%.2000s", err, log)
	}
	err, log = runStep(t, logger, "allow: []")
	if !fault.HasCode(err, "capability_not_granted") || !strings.Contains(fault.Of(err).Hint, "allow: [log]") || strings.Contains(log, "a row came") {
		t.Errorf("not granted: %v", err)
	}
}

// A step's limits.fuel ends a batch, and halting on a row is the default.
func TestFuelLimitsAStep(t *testing.T) {
	err, _ := runStep(t, mask, "with: {columns: [email]}, limits: {fuel: 100}")
	if err == nil || !strings.Contains(err.Error(), "used up the fuel of a batch, 100") {
		t.Error("a tenth of what a call takes:", err)
	}
	if err, _ := runStep(t, mask, "with: {columns: [email]}, limits: {fuel: 1G}"); err != nil {
		t.Error("plenty:", err)
	}
}
