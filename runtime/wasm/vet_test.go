package wasm

import (
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Whatever the bytes, vet ends with a module whose counts fit its size, or with
// a fault that has a hint.
func FuzzVet(f *testing.F) {
	f.Add(passAll().bytes())
	f.Add(forged{imports: [][2]string{{wasiModule, "fd_write"}}, start: []byte{0}}.bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x05\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, module []byte) {
		v, err := vet(module)
		if err != nil {
			if f := fault.Of(err); f.Code == "unexpected" || f.Hint == "" {
				t.Fatal(err)
			}
			return
		}
		if n := len(v.types) + len(v.funcs) + len(v.imports) + len(v.exports); n > len(module) {
			t.Fatalf("%d things in %d bytes", n, len(module))
		}
		_ = checkABI(v)
	})
}

func TestVetKnowsTheShippedGuests(t *testing.T) {
	v, err := vet(goGuest(t, "lab"))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkABI(v); err != nil {
		t.Error(err)
	}
	for _, name := range []string{sdk.ExportTransform, "_initialize"} {
		if _, ok := v.exports[name]; !ok {
			t.Errorf("no export %s", name)
		}
	}
}
