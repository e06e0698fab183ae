package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/sdk/manifest"
)

func TestStamp(t *testing.T) {
	dir := t.TempDir()
	module, text := filepath.Join(dir, "m.wasm"), filepath.Join(dir, "manifest.json")
	_ = os.WriteFile(module, []byte("\x00asm\x01\x00\x00\x00"), 0o600)
	_ = os.WriteFile(text, []byte(`{"name": "x", "version": "1", "abi": 1, "kind": "transform"}`), 0o600)
	if err := stamp(module, text); err != nil {
		t.Fatal(err)
	}
	stamped, _ := os.ReadFile(module)
	if m, err := manifest.Read(stamped); err != nil || m.Name != "x" {
		t.Error(m, err)
	}
	// Once more it is not even touched: another build may be reading it.
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(module, long, long); err != nil {
		t.Fatal(err)
	}
	if err := stamp(module, text); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(module); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("what was stamped already was written again: %v, %v", info, err)
	}
	_ = os.WriteFile(text, []byte(`{}`), 0o600)
	if err := stamp(module, text); err == nil {
		t.Error("an empty manifest was stamped")
	}
	if now, _ := os.ReadFile(module); string(now) != string(stamped) {
		t.Error("the module changed all the same")
	}
}
