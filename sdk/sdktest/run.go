package sdktest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// outcome is what one way of running a case gave.
type outcome struct {
	Err    string
	Schema []Table
	Rows   []Row
	Dead   []Dead
}

// Run runs the cases of the files that match the pattern, natively and in the
// host. The package under test is built as the module, with its manifest.json.
func Run(t *testing.T, connector func() guest.Connector, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases match %s (%v)", pattern, err)
	}
	m := Module(t, ".")
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			c, err := readCase(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("native", func(t *testing.T) { c.compare(t, c.native(t, connector())) })
			t.Run("wasm", func(t *testing.T) { c.compare(t, c.hosted(t, m)) })
		})
	}
}

// RunModule runs the cases of the files that match the pattern in the host
// alone, on a module with its manifest: one that was written in another language.
func RunModule(t *testing.T, module []byte, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases match %s (%v)", pattern, err)
	}
	m := Load(t, module)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			c, err := readCase(path)
			if err != nil {
				t.Fatal(err)
			}
			c.compare(t, c.hosted(t, m))
		})
	}
}

// Build builds the connector in a directory and stamps it with the directory's
// manifest.json.
func Build(t testing.TB, dir string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "connector.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if module, err = manifest.Append(module, text); err != nil {
		t.Fatal(err)
	}
	return module
}

// Module builds the connector in a directory and loads it into a host that ends
// with the test.
func Module(t testing.TB, dir string) *wasm.Module {
	t.Helper()
	return Load(t, Build(t, dir))
}

// Load loads a module into a host that ends with the test.
func Load(t testing.TB, module []byte) *wasm.Module {
	t.Helper()
	h, err := wasm.NewHost(wasm.Options{Compile: wasm.CompileHere})
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.Load(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// compare checks an outcome against what the case wants.
func (c *Case) compare(t *testing.T, got outcome) {
	t.Helper()
	wantErr := c.InitError + c.SchemaErr
	if (wantErr == "") != (got.Err == "") || !strings.Contains(got.Err, wantErr) {
		t.Fatalf("error %q; want %q", got.Err, wantErr)
	}
	if c.Schema != nil {
		if d := cmp.Diff(c.Schema, got.Schema); d != "" {
			t.Errorf("schema (-want +got):\n%s", d)
		}
	}
	if d := cmp.Diff(plain(t, c.Want), plain(t, got.Rows)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if len(c.Dead) != len(got.Dead) {
		t.Fatalf("refused %+v; want %+v", got.Dead, c.Dead)
	}
	for i, d := range c.Dead {
		if got.Dead[i].Row != d.Row || !strings.Contains(got.Dead[i].Reason, d.Reason) {
			t.Errorf("refused %+v; want %+v", got.Dead[i], d)
		}
	}
}

// plain turns rows into the form that JSON has, so that spacing and the order of
// keys don't matter.
func plain(t *testing.T, rows []Row) any {
	t.Helper()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	var v []any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// hosted runs the case in the host.
func (c *Case) hosted(t *testing.T, m *wasm.Module) outcome {
	t.Helper()
	schemas, err := c.schemas()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.batch(schemas)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wasm.NewStep(t.Context(), m, wasm.StepConfig{Instance: wasm.InstanceConfig{Pipeline: "test", Step: "case", Config: c.With,
		Capabilities: m.Manifest().Capabilities, Secrets: c.secrets(), KV: kept{}}})
	if err != nil {
		return outcome{Err: err.Error()}
	}
	defer func() {
		if r, err := s.Close(t.Context()); err != nil || !r.Clean() {
			t.Errorf("receipt %+v, %v", r, err)
		}
	}()
	var o outcome
	for _, schema := range schemas[1:] {
		out, err := s.Schema(t.Context(), schema)
		if err != nil {
			return outcome{Err: err.Error()}
		}
		o.Schema = append(o.Schema, tableOf(out))
	}
	var res wasm.Result
	if err := s.Process(t.Context(), in, &res); err != nil {
		return outcome{Err: err.Error()}
	}
	for i := range res.Out.Rows() {
		o.Rows = append(o.Rows, render(res.Out.Row(i)))
	}
	for _, d := range res.Dead {
		o.Dead = append(o.Dead, Dead{d.Row, d.Reason})
	}
	return o
}

// native runs the case on a guest.Instance in this process.
func (c *Case) native(t *testing.T, connector guest.Connector) outcome {
	t.Helper()
	schemas, err := c.schemas()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.batch(schemas)
	if err != nil {
		t.Fatal(err)
	}
	c.surround(in)
	i := guest.New(connector)
	put := func(kind uint32, p []byte, capacity int) int {
		copy(i.Buf(kind, capacity), p)
		return len(p)
	}
	if err := i.Init(put(sdk.BufConfig, c.With, len(c.With))); err != nil {
		return outcome{Err: err.Error()}
	}
	var o outcome
	outs := append([]*sdk.Schema(nil), schemas...)
	for id, s := range schemas[1:] {
		p := sdk.AppendSchema(nil, s)
		answer, err := i.Schema(put(sdk.BufSchema, p, len(p)))
		if err != nil {
			return outcome{Err: err.Error()}
		}
		if answer != nil {
			if outs[id+1], err = sdk.DecodeSchema(answer); err != nil {
				t.Fatal(err)
			}
		}
		o.Schema = append(o.Schema, tableOf(outs[id+1]))
	}
	capacity := len(in.Bytes()) + 1<<20
	n := put(sdk.BufBatch, in.Bytes(), capacity)
	region := i.Buf(sdk.BufBatch, capacity)
	sdk.SetCapacity(region, len(region))
	result, err := i.Transform(n)
	if err != nil {
		return outcome{Err: err.Error()}
	}
	if int(result.RowsDone) != in.Rows() {
		t.Fatalf("%d of %d rows done", result.RowsDone, in.Rows())
	}
	if err := o.read(i, region, in, outs); err != nil {
		t.Fatal(err)
	}
	return o
}

// read puts together what a native instance answered.
func (o *outcome) read(i *guest.Instance, region []byte, in *sdk.Batch, outs []*sdk.Schema) error {
	var stay, given sdk.Batch
	stay.CopyFrom(in)
	if err := stay.Adopt(region); err != nil {
		return err
	}
	verdicts, reasons := i.Verdicts(), i.Reasons()
	for k, v := range verdicts {
		if sdk.Verdict(v) == sdk.VerdictEdited {
			stay.Row(k).Adopt(region)
		}
	}
	stay.Keep(func(k int) bool {
		return sdk.Verdict(verdicts[k]) == sdk.VerdictPass || sdk.Verdict(verdicts[k]) == sdk.VerdictEdited
	})
	if err := stay.Reopen(stay.Bytes(), outs, in.Large()); err != nil {
		return err
	}
	if len(i.Output()) > 0 {
		if err := given.Reopen(i.Output(), outs, in.Large()); err != nil {
			return err
		}
	}
	s, g := 0, 0
	for k, v := range verdicts {
		switch sdk.Verdict(v) {
		case sdk.VerdictPass, sdk.VerdictEdited:
			o.Rows = append(o.Rows, render(stay.Row(s)))
			s++
		case sdk.VerdictReplaced:
			for ; g < given.Rows() && given.Row(g).Source() == k; g++ {
				o.Rows = append(o.Rows, render(given.Row(g)))
			}
		case sdk.VerdictDeadLetter:
			if len(reasons) < 8 || int(binary.LittleEndian.Uint32(reasons)) != k {
				return fmt.Errorf("row %d has no reason", k)
			}
			n := binary.LittleEndian.Uint32(reasons[4:])
			o.Dead = append(o.Dead, Dead{k, string(reasons[8 : 8+n])})
			reasons = reasons[8+n:]
		}
	}
	return nil
}
