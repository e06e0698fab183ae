package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/sdk"
)

const good = `{"name": "mask", "version": "1.0.0", "abi": 1, "kind": "transform", "capabilities": ["log"]}`

var empty = []byte("\x00asm\x01\x00\x00\x00")

func TestAppendAndRead(t *testing.T) {
	module := append(bytes.Clone(empty), 0, 3, 1, 'x', 9) // a custom section "x"
	for range 2 {                                         // the second time it replaces
		var err error
		if module, err = Append(module, []byte(good)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(module)
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Manifest{Name: "mask", Version: "1.0.0", ABI: 1, Kind: "transform", Capabilities: []string{"log"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !bytes.HasPrefix(module, append(bytes.Clone(empty), 0, 3, 1, 'x', 9)) || bytes.Count(module, []byte(sdk.ManifestSection)) != 1 {
		t.Errorf("%q", module)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		module []byte
		want   error
	}{
		"empty":          {nil, ErrModule},
		"component":      {[]byte("\x00asm\x0d\x00\x01\x00"), ErrModule},
		"missing":        {empty, ErrMissing},
		"past the end":   {append(bytes.Clone(empty), 1, 200, 1), ErrModule},
		"endless number": {append(bytes.Clone(empty), 1, 0xff, 0xff, 0xff, 0xff, 0xff), ErrModule},
		"no size":        {append(bytes.Clone(empty), 1), ErrModule},
		"no name":        {append(bytes.Clone(empty), 0, 2, 9, 'x'), ErrModule},
	} {
		if _, err := Read(tt.module); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for change, says := range map[string]string{
		`"name": "mask"|"name": "Mask"`:       "lower-case",
		`"version": "1.0.0"|"version": ""`:    "no version",
		`"abi": 1|"abi": 2`:                   "abi is 2",
		`"kind": "transform"|"kind": "other"`: `"transform" or "sink"`,
		`"kind"|"kinds"`:                      "unknown field",
		`{|[`:                                 "not understood",
	} {
		from, to, _ := strings.Cut(change, "|")
		if _, err := Append(empty, []byte(strings.Replace(good, from, to, 1))); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", change, err, says)
		}
	}
	if _, err := Parse(make([]byte, BytesMax+1)); err == nil {
		t.Error("a manifest over the limit was read")
	}
}

func FuzzRead(f *testing.F) {
	module, _ := Append(empty, []byte(good))
	f.Add(module)
	f.Add(append(bytes.Clone(empty), 0, 2, 9, 'x'))
	f.Fuzz(func(t *testing.T, module []byte) {
		_, err := Read(module)
		if errors.Is(err, ErrModule) {
			return
		}
		stamped, err := Append(module, []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := Read(stamped); err != nil || m.Name != "mask" {
			t.Fatal(m, err)
		}
	})
}
