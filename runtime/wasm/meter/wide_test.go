package meter

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// A large fill or copy does what it did, and the host is asked on the way.
func TestWideOperations(t *testing.T) {
	args := func(op ...byte) []byte { return cat([]byte{opLocalGet, 0, opLocalGet, 1, opLocalGet, 2}, op) }
	// (i32, i32, i32) -> (), exported as f0 and f1.
	p := section([]byte("\x00asm\x01\x00\x00\x00"), secType, []byte("\x01\x60\x03\x7f\x7f\x7f\x00")...)
	p = section(p, secFunction, 2, 0, 0)
	p = section(p, secMemory, 1, 0, 16)
	p = section(p, secExport, []byte("\x03\x02f0\x00\x00\x02f1\x00\x01\x06memory\x02\x00")...)
	body := func(code []byte) []byte {
		return append(leb(nil, uint32(len(code)+2)), append(append([]byte{0}, code...), opEnd)...)
	}
	p = section(p, secCode, append(append([]byte{2}, body(args(opBulk, 11, 0))...), body(args(opBulk, 10, 0, 0))...)...)
	h := &host{left: 1 << 40, slice: 1 << 30}
	m, err := h.run(t, rewrite(t, p))
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 16
	for _, tt := range []struct {
		f       string
		a, b, n uint32
		trap    bool
	}{
		{"f0", 0, 7, 0, false}, {"f0", 3, 7, wideBytes, false}, {"f0", 3, 8, wideBytes + 1, false}, {"f0", 5, 9, 2 * wideBytes, false},
		{"f0", 0, 300, size, false}, {"f0", size, 1, 0, false}, {"f0", size - 5, 1, 3*wideBytes + 5, true}, {"f0", 1, 1, size, true},
		{"f0", 0, 1, 1<<32 - 1, true}, {"f0", 1<<32 - 1, 1, 1<<32 - 1, true}, {"f0", 1 << 31, 1, 1 << 31, true},
		{"f1", 0, 1, size - 1, false}, {"f1", 1, 0, size - 1, false}, {"f1", wideBytes / 2, 0, 3*wideBytes + 77, false},
		{"f1", 0, wideBytes/2 + 1, 3*wideBytes + 77, false}, {"f1", 9, 9, wideBytes + 1, false}, {"f1", 3 * wideBytes, 0, wideBytes, false},
		{"f1", 1, 0, size, true}, {"f1", 0, 1, size, true}, {"f1", 1 << 18, 0, 1<<32 - 1, true}, {"f1", 0, 1 << 18, 1<<32 - 1, true},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			mem, _ := m.Memory().Read(0, size)
			for i := range mem {
				mem[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
			}
			want := bytes.Clone(mem)
			if !tt.trap && tt.f == "f0" {
				copy(want[tt.a:tt.a+tt.n], bytes.Repeat([]byte{byte(tt.b)}, int(tt.n)))
			} else if !tt.trap {
				copy(want[tt.a:tt.a+tt.n], want[tt.b:tt.b+tt.n])
			}
			looks := h.looks
			if err := callThree(t, m, tt.f, tt.a, tt.b, tt.n); (err != nil) != tt.trap {
				t.Fatal(err)
			}
			if !tt.trap && !bytes.Equal(mem, want) {
				t.Error("the memory differs")
			}
			if !tt.trap && h.looks-looks < int(tt.n)/wideBytes-1 {
				t.Errorf("%d looks for %d bytes", h.looks-looks, tt.n)
			}
		})
	}
}

func callThree(t *testing.T, m api.Module, name string, a, b, c uint32) error {
	_, err := m.ExportedFunction(name).Call(t.Context(), uint64(a), uint64(b), uint64(c))
	return err
}
