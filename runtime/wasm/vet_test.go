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
		if n := v.types + v.functions + len(v.imports) + len(v.exports) + v.data + v.dataBytes + v.codeBytes; n > len(module) {
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

// The walk over untrusted bytes allocates nothing: there is nothing that a
// module could make it allocate. What is laid out afterwards goes with what
// the ABI asks, not with the module's size.
func TestVetAllocatesNothing(t *testing.T) {
	for name, module := range map[string][]byte{"go": goGuest(t, "lab"), "forged": passAll().bytes()} {
		var s survey
		if err := s.read(module); err != nil {
			t.Fatal(name, err)
		}
		if n := testing.AllocsPerRun(5, func() { _ = s.read(module) }); n > 0 {
			t.Errorf("%s: the pass allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(5, func() { s.layOut() }); n > 4*float64(len(s.layOut().imports)+s.exports)+16 {
			t.Errorf("%s: the layout allocates %v times", name, n)
		}
	}
}

func BenchmarkVet(b *testing.B) {
	module := goGuest(b, "lab")
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := vet(module); err != nil {
			b.Fatal(err)
		}
	}
}
