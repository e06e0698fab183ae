package wasm

import (
	"bytes"
	"strings"
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
	for _, c := range decodeBombs() {
		if len(c.module) < 1<<16 {
			f.Add(c.module)
		}
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		at := heapBytes()
		v, err := vet(module)
		if took := heapBytes() - at; took > vetBytesMax+vetBytesEach*uint64(len(module)) {
			t.Fatalf("%d bytes allocated for a module of %d", took, len(module))
		}
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

// Each limit of the walk refuses what is beyond it, and names it.
func TestVetLimits(t *testing.T) {
	empty := []byte(magic)
	code := func(n int, body ops) []byte {
		return with(with(with(empty, 1, ops{1, 0x60, 0, 0}), 3, n32(uint64(n)), make(ops, n)), 10, n32(uint64(n)), bytes.Repeat(sized(body), n))
	}
	locals := func(n int) ops { return do(ops{1}, n32(uint64(n)), ops{0x7f}, end) }
	made := func(language string) ops {
		return do(text(nil, "producers"), ops{1}, text(nil, "language"), ops{1}, text(nil, language), text(nil, "1"))
	}
	tests := []struct {
		name     string
		in, over []byte
		says     string
	}{
		{"types", with(empty, 1, n32(4096), bytes.Repeat(ops{0x60, 0, 0}, 4096)), with(empty, 1, n32(4097), bytes.Repeat(ops{0x60, 0, 0}, 4097)), "4097 types; the limit is 4096"},
		{"parameters", with(empty, 1, ops{1, 0x60}, n32(255), bytes.Repeat(ops{0x7f}, 255), ops{0}), with(empty, 1, ops{1, 0x60}, n32(256), bytes.Repeat(ops{0x7f}, 256), ops{0}), "256 parameters"},
		{"results", with(empty, 1, ops{1, 0x60, 0}, n32(63), bytes.Repeat(ops{0x7f}, 63)), with(empty, 1, ops{1, 0x60, 0}, n32(64), bytes.Repeat(ops{0x7f}, 64)), "64 results"},
		{"functions", code(20_000, ops{0, 0x0b}), code(20_001, ops{0, 0x0b}), "20001 functions; the limit is 20000"},
		{"functions of Go", with(code(60_000, ops{0, 0x0b}), 0, made("Go")), with(code(60_001, ops{0, 0x0b}), 0, made("Go")), "60001 functions; the limit is 60000"},
		{"Go or not", with(code(20_001, ops{0, 0x0b}), 0, made("Go")), with(code(20_001, ops{0, 0x0b}), 0, made("Rust")), "another than Go"},
		{"locals", code(1, locals(10_000)), code(1, locals(10_001)), "10000 locals"},
		{"locals of Go", with(code(1, locals(1000)), 0, made("Go")), with(code(1, locals(1001)), 0, made("Go")), "1001 locals in a function; the limit is 1000"},
		{"locals of all", code(100, locals(10_000)), code(101, locals(10_000)), "more than 1000000 locals"},
		{"tables", with(empty, 4, ops{8}, bytes.Repeat(ops{0x70, 0, 1}, 8)), with(empty, 4, ops{9}, bytes.Repeat(ops{0x70, 0, 1}, 9)), "9 tables"},
		{"entries", with(empty, 4, ops{2, 0x70, 0}, n32(65_535), ops{0x70, 0, 1}), with(empty, 4, ops{2, 0x70, 0}, n32(65_535), ops{0x70, 0, 2}), "65537 entries of tables"},
		{"memory", with(empty, 5, ops{1, 0}, n32(16384)), with(empty, 5, ops{1, 0}, n32(16385)), "16385 pages"},
		{"globals", with(empty, 6, n32(4096), make(ops, 4096)), with(empty, 6, n32(4097), make(ops, 4097)), "4097 globals"},
		{"exports", with(empty, 7, n32(1000), make(ops, 3000)), with(empty, 7, n32(1001), make(ops, 3003)), "1001 exports"},
		{"name", with(empty, 7, ops{1}, n32(512), make(ops, 512), ops{0, 0}), with(empty, 7, ops{1}, n32(513), make(ops, 513), ops{0, 0}), "513 bytes; the limit is 512"},
		{"data", with(empty, 11, n32(20_000), bytes.Repeat(ops{1, 0}, 20_000)), with(empty, 11, n32(20_001), bytes.Repeat(ops{1, 0}, 20_001)), "20001 segments of data"},
		{"passive data", with(empty, 11, ops{1, 1}, n32(1<<20), make(ops, 1<<20)), with(empty, 11, ops{1, 1}, n32(1<<20+1), make(ops, 1<<20+1)), "--shared-memory"},
		{"custom sections", append(bytes.Clone(empty), bytes.Repeat(ops{0, 2, 1, 'x'}, 256)...), append(bytes.Clone(empty), bytes.Repeat(ops{0, 2, 1, 'x'}, 257)...), "256 custom"},
		{"size", with(empty, 0, ops{1, 'x'}, make(ops, 8<<20-20)), with(empty, 0, ops{1, 'x'}, make(ops, 8<<20)), "the limit is 8388608"},
		{"imports of a table", empty, with(empty, 2, ops{1, 1, 'a', 1, 'b', 1, 0x70, 0, 0}), "not a function"},
	}
	for _, tt := range tests {
		if _, err := vet(tt.in); err != nil {
			t.Errorf("%s, at the limit: %v", tt.name, err)
		}
		if _, err := vet(tt.over); err == nil || !strings.Contains(err.Error(), tt.says) || fault.Of(err).Hint == "" {
			t.Errorf("%s, beyond the limit: %v, want %q", tt.name, err, tt.says)
		}
	}
	for name, module := range map[string][]byte{"memory64": with(empty, 5, ops{1, 4, 1}), "GC": with(empty, 1, ops{1, 0x5f, 0}), "tags": with(empty, 13, ops{1, 0, 0}),
		"tag imported": with(empty, 2, ops{1, 1, 'a', 1, 'b', 4, 0, 0}), "table64": with(empty, 4, ops{1, 0x70, 4, 1}), "computed address": with(empty, 11, ops{1, 0}, i32(1), i32(2), add, end, ops{0})} {
		if _, err := vet(module); err == nil || fault.Of(err).Code != "module_unsupported" || fault.Of(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
