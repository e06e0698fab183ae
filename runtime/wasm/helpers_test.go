package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// buildDir holds what the tests build, once for the test binary: Go guests, and
// the code cache that spares compiling them again and again.
var buildDir string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		beChild(os.Args[1], os.Args[2:])
	}
	dir, err := os.MkdirTemp("", "cdcd-wasm-test")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// aloneEnv names the test that a child process runs.
const aloneEnv = "CDCD_WASM_ALONE"

// alone has the test run in a process of its own, and reports whether this is
// not it. What other tests left of their heap comes and goes by more than what is
// measured.
func alone(t *testing.T) (elsewhere bool) {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return false
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v", err)
	}
	return true
}

var building sync.Map // of name to func() ([]byte, error)

// goGuest builds testdata/guests/NAME for wasip1 and stamps it.
func goGuest(t testing.TB, name string, capabilities ...string) []byte {
	t.Helper()
	build := sync.OnceValues(func() ([]byte, error) {
		out := filepath.Join(buildDir, name+".wasm")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, "./testdata/guests/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, text)
		}
		return os.ReadFile(out)
	})
	f, _ := building.LoadOrStore(name, build)
	module, err := f.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return stamp(t, module, name, capabilities...)
}

func stamp(t testing.TB, module []byte, name string, capabilities ...string) []byte {
	t.Helper()
	list := ""
	for i, c := range capabilities {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf("%q", c)
	}
	stamped, err := manifest.Append(module, fmt.Appendf(nil,
		`{"name":%q,"version":"1.0.0","abi":1,"kind":"transform","capabilities":[%s]}`, name, list))
	if err != nil {
		t.Fatal(err)
	}
	return stamped
}

func newHost(t testing.TB) *Host {
	t.Helper()
	h, err := NewHost(Options{Compile: CompileHere, CacheDir: filepath.Join(buildDir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s := h.Stats(); s.Instances != 0 || s.Mappings != 0 || s.MemoryBytes != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
	return h
}

func load(t testing.TB, h *Host, module []byte) *Module {
	t.Helper()
	m, err := h.Load(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func labInstance(t testing.TB, config string) *Instance {
	t.Helper()
	i, err := load(t, newHost(t), goGuest(t, "lab")).Instantiate(t.Context(),
		InstanceConfig{Pipeline: "shop", Step: "lab", Config: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

var (
	tableA      = &sdk.Schema{ID: 1, DB: "shop", Table: "a", Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt}, {Name: "text", Type: sdk.TypeString, Nullable: true}}, Key: []int{0}}
	tableB      = &sdk.Schema{ID: 2, DB: "shop", Table: "b", Columns: tableA.Columns, Key: []int{0}}
	testSchemas = []*sdk.Schema{nil, tableA, tableB}
)

// batchOf makes a batch of one transaction with one inserted row for each text;
// a text that begins with "b/" is a row of table b.
func batchOf(texts ...string) *sdk.Batch {
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("tx-1"), File: []byte("binlog.000001"), PosStart: 4, Time: 1_700_000_000_123_456, Server: 1})
	for i, text := range texts {
		s := tableA
		if len(text) > 2 && text[:2] == "b/" {
			s, text = tableB, text[2:]
		}
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(i))
		b.After().SetSlot(0, uint64(i))
		b.SetBytes(b.After(), 1, []byte(text))
		b.EndRow()
	}
	b.EndTx(100, 0)
	batch := b.Seal(testSchemas)
	batch.SetSeq(7)
	return batch
}

// textsOf returns "ordinal text" of each row.
func textsOf(b *sdk.Batch) []string {
	var list []string
	for i := range b.Rows() {
		r := b.Row(i)
		list = append(list, fmt.Sprint(r.Ordinal(), " ", string(r.After().Bytes(1))))
	}
	return list
}
