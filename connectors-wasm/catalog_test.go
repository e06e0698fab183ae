package catalog

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
)

func TestCatalog(t *testing.T) {
	for _, name := range Names() {
		module, err := Module(name)
		if err != nil || !bytes.HasPrefix(module, []byte("\x00asm")) {
			t.Errorf("Module(%q) = %d bytes, %v; want a WebAssembly module", name, len(module), err)
		}
	}
	if _, err := Module("no-such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Module of an unknown name: %v, want fs.ErrNotExist", err)
	}
}
