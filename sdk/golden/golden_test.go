package golden_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/fstest"

	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/golden"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

const cases = "../guest/upper/testdata/*.json"

func TestCases(t *testing.T) {
	for _, g := range golden.Guests() {
		t.Run(g.Language, func(t *testing.T) { sdktest.RunModule(t, g.Module, cases) })
	}
}

// The modules of abi1 are never built again: their sums are here, and the host
// that no longer runs them has broken the ABI.
func TestABI1RunsForEver(t *testing.T) {
	sums := map[string]string{
		"c":              "006a336a02bebdd8c086e58215f6935f3667e97c9afed534827ee94c52be594c",
		"rust":           "ecb1b3b2dfcbd90019b225e9b4eef80595501ed7aaaac2864e4d6eae44232b07",
		"assemblyscript": "0a6531f04d12a88fa3ace152623ffc76cbffa27a122857ef829f38f3dff0722e",
	}
	for _, g := range golden.ABI1() {
		t.Run(g.Language, func(t *testing.T) {
			if sum := fmt.Sprintf("%x", sha256.Sum256(g.Module)); sum != sums[g.Language] {
				t.Fatalf("the module has changed: its SHA-256 is %s", sum)
			}
			sdktest.RunModule(t, g.Module, cases)
		})
	}
}

func TestFresh(t *testing.T) {
	text, err := os.ReadFile("built.json")
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]golden.Built{}
	if err := json.Unmarshal(text, &built); err != nil {
		t.Fatal(err)
	}
	for _, g := range golden.Guests() {
		sources, err := golden.Digest(os.DirFS("../" + g.Language))
		if err != nil {
			t.Fatal(err)
		}
		if sources != built[g.Language].Sources {
			t.Errorf("sdk/%s has changed since its golden guest was built: run `make guests`", g.Language)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(g.Module)); sum != built[g.Language].Module {
			t.Errorf("%s.wasm is not the module that built.json speaks of: run `make guests`", g.Language)
		}
	}
}

func TestDigest(t *testing.T) {
	digest := func(changes ...string) string {
		files := fstest.MapFS{"a.c": {Data: []byte("a")}, "b/c.c": {Data: []byte("b")}, "README.md": {Data: []byte("r")}}
		for i := 0; i < len(changes); i += 2 {
			files[changes[i]] = &fstest.MapFile{Data: []byte(changes[i+1])}
		}
		sum, err := golden.Digest(files)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	same := digest()
	for _, other := range []string{digest("a.c", "A"), digest("b/c.c", ""), digest("d.c", "")} {
		if other == same {
			t.Error("a change of a source changes nothing")
		}
	}
	if digest("README.md", "R", "target/x", "x", "node_modules/x/y.ts", "x", "Cargo.lock", "x") != same {
		t.Error("what is no source changes the digest")
	}
}

// texts is a batch whose values, made anew, need more room than a guest is given
// at first.
func texts(rows int, value func(row int) []byte) *sdk.Batch {
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "texts", Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt}, {Name: "name", Type: sdk.TypeString}}}
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("tx"), File: []byte("f"), PosStart: 4})
	for i := range rows {
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(i))
		b.After().SetSlot(0, uint64(i))
		b.SetBytes(b.After(), 1, value(i))
		b.EndRow()
	}
	b.EndTx(100, 0)
	return b.Seal([]*sdk.Schema{nil, s})
}

func value(row int) []byte { return bytes.Repeat(fmt.Appendf(nil, "Row %d. ", row), 500) }

// Every guest runs out of room and goes on, refuses many rows at once, and gives
// the same after many batches as in the first.
func TestRoom(t *testing.T) {
	guests := append(golden.Guests(), golden.Guest{Language: "go", Module: sdktest.Build(t, "../guest/upper")})
	for _, g := range guests {
		t.Run(g.Language, func(t *testing.T) {
			i, err := sdktest.Load(t, g.Module).Instantiate(t.Context(),
				wasm.InstanceConfig{Pipeline: "p", Step: "s", Config: []byte(`{"column": "name", "bytes_max": 50000}`)})
			if err != nil {
				t.Fatal(err)
			}
			var res wasm.Result
			for n := range 5 {
				in := texts(100, value)
				if err := i.Transform(t.Context(), in, &res); err != nil {
					t.Fatal(err)
				}
				if n == 0 && res.Calls < 2 || res.Out.Rows() != 100 {
					t.Fatalf("%d calls, %d rows", res.Calls, res.Out.Rows())
				}
				for row := range 100 {
					if got := res.Out.Row(row).After().Bytes(1); !bytes.Equal(got, bytes.ToUpper(value(row))) {
						t.Fatalf("row %d is %.40q", row, got)
					}
				}
			}
			long := bytes.Repeat([]byte("x"), 50_001)
			if err := i.Transform(t.Context(), texts(300, func(int) []byte { return long }), &res); err != nil {
				t.Fatal(err)
			}
			if len(res.Dead) != 300 || res.Dead[299].Row != 299 || res.Dead[299].Reason != "name has 50001 bytes, more than 50000" {
				t.Errorf("%d rows are refused, the last as %+v", len(res.Dead), res.Dead[len(res.Dead)-1])
			}
			for n := 10; n <= 500; n += 10 { // batches that grow and grow leave little behind
				if err := i.Transform(t.Context(), texts(n, value), &res); err != nil {
					t.Fatal(err)
				}
			}
			if n := i.MemoryBytes(); n > 48<<20 {
				t.Errorf("%d bytes for batches of at most 4 MB", n)
			}
		})
	}
}
