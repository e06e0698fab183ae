package wasm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cdcd-io/cdcd/internal/skip"
)

// A disk that is full keeps no code, and stops nothing: neither one without any
// room nor one that fills up while it is written to.
func TestFullDisk(t *testing.T) {
	module := distinct(t, 1)
	for _, way := range []Compiling{CompileApart, CompileHere} {
		for _, fill := range []bool{false, true} {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k,mode=700"); err != nil {
				skip.For(t, "root, who alone can mount a small disk: %v", err)
			}
			defer unix.Unmount(dir, unix.MNT_DETACH)
			if fill {
				_ = os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 1<<20), 0o600)
			}
			h, err := NewHost(Options{Compile: way, CacheDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			m, err := h.Load(t.Context(), module)
			if err != nil {
				t.Fatalf("way %d, filled %v: %v", way, fill, err)
			}
			_ = m.Close(t.Context())
			if s := h.CompileStats(); s.Compiled != 1 || s.Cache.Failures != 1 {
				t.Errorf("%+v", s)
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
			list, _ := os.ReadDir(dir)
			for _, d := range list {
				if !slices.Contains([]string{"lock", "mac.key", "filler"}, d.Name()) {
					t.Errorf("%s is left", d.Name())
				}
			}
		}
	}
}
