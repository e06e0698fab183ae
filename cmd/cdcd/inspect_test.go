package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// tiny assembles a connector of a few hundred bytes: all of cdcd-abi-1, log and
// two functions of WASI, of which one is not there.
func tiny(t *testing.T, capabilities string) []byte {
	t.Helper()
	sized := func(p []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(p))), p...) }
	section := func(id byte, parts ...[]byte) []byte { return append([]byte{id}, sized(bytes.Join(parts, nil))...) }
	name := func(s string) []byte { return sized([]byte(s)) }
	// Types: 0 ()->()  1 (i32 i32)->i32  2 (i32)->i64  3 ()->i64  4 (i32 i32 i32)->()  5 (i32 i32 i32 i32)->i32  6 (i32)->i32
	types := []byte("\x07\x60\x00\x00\x60\x02\x7f\x7f\x01\x7f\x60\x01\x7f\x01\x7e\x60\x00\x01\x7e\x60\x03\x7f\x7f\x7f\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x01\x7f")
	imports := bytes.Join([][]byte{{3}, name(sdk.ModuleLog), name("write"), {0, 4}, name("wasi_snapshot_preview1"), name("fd_write"), {0, 5},
		name("wasi_snapshot_preview1"), name("fd_sync"), {0, 6}}, nil)
	exports := []byte{8}
	for i, e := range []string{sdk.ExportABI, sdk.ExportBuf, sdk.ExportInit, sdk.ExportSchema, sdk.ExportTransform, sdk.ExportError, "debug_me"} {
		exports = append(append(exports, name(e)...), 0, byte(3+i))
	}
	exports = append(append(exports, name("memory")...), 2, 0)
	i32, i64 := []byte{4, 0, 0x41, 8, 0x0b}, []byte{4, 0, 0x42, 0, 0x0b}
	module := bytes.Join([][]byte{[]byte("\x00asm\x01\x00\x00\x00"), section(1, types), section(2, imports), section(3, []byte{7, 0, 1, 2, 2, 2, 3, 0}),
		section(5, []byte{1, 0, 2}), section(7, exports), section(10, []byte{7, 2, 0, 0x0b}, i32, i64, i64, i64, i64, []byte{9, 0, 0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b, 0x0b}),
		section(11, []byte{1, 0, 0x41, 8, 0x0b}, name("hello"))}, nil)
	stamped, err := manifest.Append(module, []byte(`{"name":"tiny","version":"0.1.0","abi":1,"kind":"transform","summary":"passes all rows","capabilities":[`+capabilities+`],"columns":["email"]}`))
	if err != nil {
		t.Fatal(err)
	}
	return stamped
}

func TestInspectPrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiny.wasm")
	for _, tt := range []struct {
		golden, capabilities string
		json                 bool
	}{{"testdata/inspect.golden", `"log"`, false}, {"testdata/inspect.json.golden", `"log"`, true}, {"testdata/inspect_undeclared.golden", "", false}} {
		if err := os.WriteFile(file, tiny(t, tt.capabilities), 0o600); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := (&connectorInspectCmd{Module: file}).Run(&console{out: &got, err: &got, json: tt.json}); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(tt.golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(tt.golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("-want +got; if it is meant: go test ./cmd/cdcd -run TestInspectPrints -update\n%s", diff)
		}
	}
}

// A configuration is checked against what its modules import, offline.
func TestValidateChecksModules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiny.wasm")
	step := func(allow ...string) config.Step {
		return config.Step{Wasm: config.Module{Ref: file, File: file}, Allow: allow}
	}
	cut := func(module []byte) []byte { return module[:len(module)/2] }
	for _, tt := range []struct {
		name   string
		module []byte
		step   config.Step
		want   string
	}{
		{"good", tiny(t, `"log"`), step("log"), ""},
		{"not granted", tiny(t, `"log"`), step(), "capability_not_granted"},
		{"not declared", tiny(t, ""), step("log"), "capability_not_declared"},
		{"cut short", cut(tiny(t, `"log"`)), step("log"), "module_refused"},
	} {
		if err := os.WriteFile(file, tt.module, 0o600); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range checkStep(tt.step) {
			got += f.Code
			if f.Hint == "" || f.Path == "" {
				t.Errorf("%s: %v has no hint or no path", tt.name, f)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
