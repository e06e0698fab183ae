package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/binlogfile"
	"github.com/cdcd-io/cdcd/cdc/mysql"
	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/canal"
	"github.com/cdcd-io/cdcd/runtime/format/cloudevents"
	"github.com/cdcd-io/cdcd/runtime/format/debezium"
	formatjson "github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/format/maxwell"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/kv"
	"github.com/cdcd-io/cdcd/runtime/sink/stdout"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

var kinds = runtime.Kinds{
	Sources: []cdc.Kind{binlogfile.Kind(), mysql.Kind()},
	Sinks:   []sink.Kind{jetstream.Kind(), kv.Kind(), stdout.Kind()},
	Formats: []format.Kind{canal.Kind(), cloudevents.Kind(), debezium.Kind(), formatjson.Kind(), maxwell.Kind()},
}

// mask builds the shipped connector, once.
var mask = sync.OnceValues(func() ([]byte, error) {
	return connector("../connectors-wasm/mask", "../connectors-wasm/mask/manifest.json")
})

// connector builds one and stamps it, unless it stamps itself.
func connector(source, manifestFile string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "cdcd-runtime-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "connector.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, source)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	if _, err := manifest.Read(module); err == nil {
		return module, nil
	}
	text, err := os.ReadFile(manifestFile)
	if err != nil {
		return nil, err
	}
	return manifest.Append(module, text)
}

// recording copies the demo's binlog files of a flavour and returns their paths.
func recording(t testing.TB, flavor string) string {
	t.Helper()
	dir := t.TempDir()
	names, err := fs.Glob(demo.Files(), flavor+"/binlog.*")
	if err != nil || len(names) == 0 {
		t.Fatal("no recording of", flavor, err)
	}
	var paths []string
	for _, name := range names {
		data, err := fs.ReadFile(demo.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return "[" + strings.Join(paths, ", ") + "]"
}

func parse(t testing.TB, yaml string) *config.Config {
	t.Helper()
	return parseKinds(t, yaml, kinds)
}

func parseKinds(t testing.TB, yaml string, kinds runtime.Kinds) *config.Config {
	t.Helper()
	o := config.Options{Connectors: []string{"mask"}}
	for _, k := range kinds.Sources {
		o.Sources = append(o.Sources, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	for _, k := range kinds.Sinks {
		o.Sinks = append(o.Sinks, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	for _, k := range kinds.Formats {
		o.Formats = append(o.Formats, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	c, err := config.Parse(filepath.Join(t.TempDir(), "cdcd.yaml"), []byte(yaml), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// codeCache keeps compiled code from test to test, and from run to run: compiling takes
// seconds, and is tested in runtime/wasm.
func codeCache() string { return filepath.Join(os.TempDir(), "cdcd-test-cache", "cdcd", "wasm") }

func options(t testing.TB, c *config.Config) runtime.Options {
	return runtime.Options{Config: c, Kinds: kinds, Version: "test", Compile: wasm.CompileHere, CacheDir: codeCache(),
		Module: func(config.Module) ([]byte, error) { return mask() }}
}

// started is a daemon that runs until stop is called, or the test is over. It must end
// in order.
func started(t *testing.T, o runtime.Options) (d *runtime.Daemon, stop func()) {
	t.Helper()
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the daemon: %v", err)
		}
	})
	t.Cleanup(stop)
	return d, stop
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneStep = `
    steps:
      - wasm: mask
        with: {columns: [email], how: sha256}
        only: ["shop.*"]`

// Recorded files through a WebAssembly step into the embedded JetStream: twice,
// and the second run adds no row.
func TestFilesToJetStream(t *testing.T) {
	for _, flavor := range []string{"mysql", "mariadb"} {
		t.Run(flavor, func(t *testing.T) {
			dir, files := t.TempDir(), recording(t, flavor)
			yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}%s
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {embedded: {listen: "127.0.0.1:0"}}
`, files, oneStep, dir)
			first := runAndRead(t, yaml)
			if len(first) == 0 {
				t.Fatal("no messages")
			}
			masked := 0
			for _, m := range first {
				var body struct {
					Op     string
					After  map[string]any
					Source struct{ DB, Table string }
				}
				if err := json.Unmarshal(m.Data, &body); err != nil {
					t.Fatalf("%s: %v", m.Data, err)
				}
				if want := "cdc.shop." + body.Source.DB + "." + body.Source.Table; m.Subject != want {
					t.Errorf("subject %s, want %s", m.Subject, want)
				}
				if email, ok := body.After["email"].(string); ok {
					masked++
					if !regexp.MustCompile("^[0-9a-f]{64}$").MatchString(email) {
						t.Errorf("an address got through: %s", email)
					}
				}
			}
			if masked == 0 {
				t.Error("no row had an address")
			}
			if again := runAndRead(t, yaml); len(again) != len(first) {
				t.Errorf("%d messages, %d after a second run", len(first), len(again))
			}
		})
	}
}

// runAndRead runs a configuration until its files end and returns the data
// messages of the stream SHOP.
func runAndRead(t *testing.T, yaml string) []*nats.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := parse(t, yaml)
	d, err := runtime.New(options(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s := d.Status()[0]
	if s.State != string(pipeline.StateEnded) || !s.Ready || s.GuestBytes != 0 || s.BudgetBytes != 0 || s.Receipts == nil {
		t.Fatalf("%+v", s)
	}
	receipts, _ := json.Marshal(s.Receipts)
	if !strings.Contains(string(receipts), `"mappings_left":0,"goroutines_left":0,"handles_left":0`) {
		t.Errorf("receipts: %s", receipts)
	}
	g, u := d.Guests(), d.Unloaded()
	if len(g.Steps) == 0 || g.Modules != 0 || g.Instances != 0 || g.Mappings != 0 || g.SnapshotBytes != 0 || g.CodeNotUnmapped != 0 {
		t.Errorf("guests: %+v", g)
	}
	made := g.Compile
	if g.MemoryBytesPeak == 0 || made.Hits+made.Misses == 0 || made.Misses != made.Compiled || (made.Compiled > 0) != (made.Seconds > 0) || (made.Hits > 0) != (made.LoadSeconds > 0) || made.Failed+made.Damaged+made.Unwritten > 0 {
		t.Errorf("compiling: %+v", g)
	}
	for _, step := range g.Steps {
		if step.Calls == 0 || step.Fuel == 0 || step.BusySeconds == 0 || step.InstancesPeak == 0 || step.MemoryBytesPeak == 0 || step.MemoryBytes != 0 {
			t.Errorf("a step's account: %+v", step)
		}
	}
	if u.Measured && u.CodeBytesUnmapped == 0 || u.CodeBytesLeft != 0 {
		t.Errorf("machine code: %v", u)
	}
	return readStream(t, c.State.Dir)
}

// A pipeline that can't be built, and one that halts, leave the others alone;
// the admin server tells them apart.
func TestBadPipelinesLeaveGoodOnesAlone(t *testing.T) {
	dir := t.TempDir()
	yaml := fmt.Sprintf(`
version: 1
pipelines:
  good:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}
    sink: {jetstream: {stream: GOOD}}
  unbuilt:
    source: {binlog_files: {files: [x.000001], tables: ["shop.*"]}}
    steps: [{wasm: mask, with: {columns: [email]}}]
    sink: {jetstream: {stream: UNBUILT}}
  halted:
    source: {binlog_files: {files: [/nowhere/binlog.000001], tables: ["shop.*"]}}
    sink: {jetstream: {stream: HALTED}}
server: {listen: "127.0.0.1:0"}
state: {dir: %s}
nats: embedded
`, recording(t, "mysql"), dir)
	o := options(t, parse(t, yaml))
	missing := fault.New(fault.Config, "module_missing", "mask", "build it", "not there")
	o.Module = func(config.Module) ([]byte, error) { return nil, missing }
	o.Stay = true
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	want := map[string]string{"good": "ended", "unbuilt": "halted", "halted": "halted"}
	got := map[string]string{}
	for ctx.Err() == nil {
		for _, s := range d.Status() {
			got[s.Pipeline] = s.State
		}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("states %v", got)
	}
	if d.Status()[1].Code != "module_missing" && d.Status()[0].Code != "module_missing" && d.Status()[2].Code != "module_missing" {
		t.Errorf("%+v", d.Status())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + d.AdminAddr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "module_missing") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	cancel()
	if err := <-done; !fault.HasCode(err, "module_missing") {
		t.Error(err)
	}
}

func TestUnknownPipelineIsRefused(t *testing.T) {
	o := options(t, &config.Config{Pipelines: []config.Pipeline{{Name: "shop"}}})
	o.Only = []string{"shpo"}
	_, err := runtime.New(o)
	if f := fault.Of(err); f.Code != "no_such_pipeline" || f.Class != fault.Config || !strings.Contains(f.Hint, "shop") {
		t.Fatal(err)
	}
}
