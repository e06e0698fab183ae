package wasm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// shipped builds one of the connectors that come with cdcd.
func shipped(t testing.TB, name string) []byte {
	t.Helper()
	dir := filepath.Join("..", "..", "connectors-wasm", name)
	out := filepath.Join(buildDir, name+".wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	m, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if module, err = manifest.Append(module, m); err != nil {
		t.Fatal(err)
	}
	return module
}

// shippedConfig is a configuration for each.
var shippedConfig = map[string]string{"mask": `{"columns":["text"],"how":"sha256"}`, "filter": `{"where":"true"}`}

// startPlainly has the module's instances start without a snapshot.
func startPlainly(m *Module) { m.code.origin.settled, m.code.origin.why = true, "asked for" }

// BenchmarkStart is an instance's start and end; BenchmarkJob has a batch of
// two rows in between.
func BenchmarkStart(b *testing.B) { benchmarkStart(b, false) }

func BenchmarkJob(b *testing.B) { benchmarkStart(b, true) }

func benchmarkStart(b *testing.B, work bool) {
	for _, name := range []string{"mask", "filter"} {
		for _, way := range []string{"plain", "snapshot"} {
			b.Run(name+"/"+way, func(b *testing.B) {
				m := load(b, newHost(b), shipped(b, name))
				if way == "plain" {
					startPlainly(m)
				}
				c := InstanceConfig{Pipeline: "bench", Step: name, Config: []byte(shippedConfig[name])}
				batch, res := batchOf("x", "y"), Result{}
				b.ReportAllocs()
				for b.Loop() {
					i, err := m.Instantiate(b.Context(), c)
					if err != nil {
						b.Fatal(err)
					}
					if work {
						if err := i.Transform(b.Context(), batch, &res); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := i.Close(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
