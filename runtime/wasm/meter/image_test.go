package meter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// parts are the sections of a module that begins with something; a nil one is
// left out.
type parts struct {
	globals, start, count, data []byte
	code                        []byte // of f0, () -> ()
}

// beginner is a module that can be split: two mutable globals and one that is
// not, a start function, two segments.
func beginner() parts {
	return parts{
		globals: cat([]byte{3}, []byte{typeI64, 1, opI64Const, 7, opEnd}, []byte{typeI32, 0, opI32Const, 3, opEnd},
			[]byte{typeF64, 1, opF64Const, 0, 0, 0, 0, 0, 0, 0, 0, opEnd}),
		start: []byte{0},
		count: []byte{2},
		data:  cat([]byte{2}, []byte{0, opI32Const, 16, opEnd, 2, 'h', 'i'}, []byte{0, opI32Const, 0x80, 0x80, 4, opEnd, 0}),
		code:  []byte{opI64Const, 9, opGlobalSet, 0},
	}
}

func (s parts) bytes() []byte {
	p := []byte("\x00asm\x01\x00\x00\x00")
	p = section(p, secType, []byte("\x01\x60\x00\x00")...)
	p = section(p, secFunction, 1, 0)
	p = section(p, secTable, 1, 0x70, 0, 1)
	p = section(p, secMemory, 1, 0, 1)
	p = section(p, secGlobal, s.globals...)
	p = section(p, secExport, []byte("\x02\x06memory\x02\x00\x02f0\x00\x00")...)
	if s.start != nil {
		p = section(p, secStart, s.start...)
	}
	p = section(p, secElement, 1, 0, opI32Const, 0, opEnd, 1, 0)
	if s.count != nil {
		p = section(p, secCount, s.count...)
	}
	body := cat([]byte{0}, s.code, []byte{opEnd})
	p = section(p, secCode, cat([]byte{1, byte(len(body))}, body)...)
	if s.data != nil {
		p = section(p, secData, s.data...)
	}
	return p
}

// What the host does in the module's place leaves what the module would have.
func TestSplit(t *testing.T) {
	whole := beginner().bytes()
	split, image, why, err := RewriteSplit(whole, bounds)
	if err != nil || image == nil {
		t.Fatal(err, why)
	}
	want := &Image{Segments: []Segment{{16, []byte("hi")}, {65536, []byte{}}}, Globals: 2, Start: true}
	if d := cmp.Diff(want, image, cmpopts.IgnoreUnexported(Image{})); d != "" {
		t.Error(d)
	}
	a := &host{left: 1000, slice: 1000}
	plain, err := a.run(t, rewrite(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	b := &host{left: 1000, slice: 1000}
	m, err := b.run(t, split)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := m.Memory().Read(16, 2); string(text) != "\x00\x00" {
		t.Errorf("the segments are still in: %q", text)
	}
	if v := m.ExportedGlobal(GlobalName(0)).Get(); v != 7 {
		t.Errorf("the start function has run: %d", v)
	}
	for _, s := range image.Segments {
		m.Memory().Write(s.Offset, s.Bytes)
	}
	if _, err := m.ExportedFunction(StartFunc).Call(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := m.ExportedGlobal(GlobalName(0)).Get(); v != 9 {
		t.Errorf("after the start function: %d", v)
	}
	x, _ := plain.Memory().Read(0, 65536)
	y, _ := m.Memory().Read(0, 65536)
	if string(x) != string(y) {
		t.Error("the memories differ")
	}
	if m.ExportedGlobal(GlobalName(1)) == nil || m.ExportedGlobal(GlobalName(2)) != nil {
		t.Error("not the mutable globals are exported")
	}
	if a.looks > 1 || b.looks > 1 {
		t.Error(a.looks, b.looks)
	}
}

// What has more to it than memory and globals, or begins in a way that the host can't do, is
// left whole.
func TestUnsplittable(t *testing.T) {
	prefixed := func(sub byte, operands ...byte) []byte { return append([]byte{opBulk, sub}, operands...) }
	three := []byte{opI32Const, 0, opI32Const, 0, opI32Const, 0}
	tests := []struct {
		name   string
		change func(*parts)
		why    string
	}{
		{"table.set", func(p *parts) { p.code = []byte{opI32Const, 0, opRefNull, 0x70, opTableSet, 0} }, "writes to a table"},
		{"table.grow", func(p *parts) { p.code = cat([]byte{opRefNull, 0x70, opI32Const, 0}, prefixed(15, 0), []byte{0x1a}) }, "writes to a table"},
		{"table.fill", func(p *parts) {
			p.code = cat([]byte{opI32Const, 0, opRefNull, 0x70, opI32Const, 0}, prefixed(17, 0))
		}, "writes to a table"},
		{"table.copy", func(p *parts) { p.code = cat(three, prefixed(14, 0, 0)) }, "writes to a table"},
		{"table.init", func(p *parts) { p.code = cat(three, prefixed(12, 0, 0)) }, "writes to a table"},
		{"elem.drop", func(p *parts) { p.code = prefixed(13, 0) }, "drops segments"},
		{"data.drop", func(p *parts) { p.code = prefixed(9, 0) }, "drops segments"},
		{"memory.init", func(p *parts) { p.code = cat(three, prefixed(8, 0, 0)) }, "data segments later"},
		{"passive data", func(p *parts) { p.data = []byte{2, 1, 1, 'x', 1, 0} }, "passive"},
		{"computed address", func(p *parts) { p.data = []byte{2, 0, opGlobalGet, 1, opEnd, 1, 'x', 1, 0} }, "computed address"},
		{"count differs", func(p *parts) { p.count = []byte{3} }, "malformed"},
		{"data cut short", func(p *parts) { p.data = p.data[:5] }, "malformed"},
		{"global of references", func(p *parts) {
			p.globals = []byte{2, typeI64, 1, opI64Const, 0, opEnd, 0x70, 1, opRefNull, 0x70, opEnd}
		}, "reference"},
		{"vector", func(p *parts) {
			p.globals = cat([]byte{2, typeI64, 1, opI64Const, 0, opEnd, 0x7b, 1, opVector, vectorConst}, make([]byte, 16), []byte{opEnd})
		}, "vector"},
		{"many globals", func(p *parts) {
			p.globals = []byte{0xe9, 7} // 1001
			for range 1001 {
				p.globals = append(p.globals, typeI64, 1, opI64Const, 0, opEnd)
			}
		}, "1000 mutable globals"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := beginner()
			tt.change(&p)
			out, image, why, err := RewriteSplit(p.bytes(), bounds)
			if err != nil || image != nil || !strings.Contains(why, tt.why) {
				t.Fatalf("image %v, %q, %v", image, why, err)
			}
			if string(out) != string(rewrite(t, p.bytes())) {
				t.Error("it is not the module that Rewrite makes")
			}
		})
	}
}

// A table that is read only is no obstacle.
func TestTableReadsSplit(t *testing.T) {
	p := beginner()
	p.code = []byte{opI32Const, 0, opTableGet, 0, 0x1a, opBulk, 16, 0, 0x1a}
	if _, image, why, err := RewriteSplit(p.bytes(), bounds); err != nil || image == nil {
		t.Error(why, err)
	}
}

func TestReservedNames(t *testing.T) {
	p := beginner().bytes()
	p = []byte(strings.Replace(string(p), "\x02\x06memory\x02\x00\x02f0\x00\x00", "\x01\x0bcdcd:global\x00\x00", 1))
	p[strings.Index(string(p), "\x01\x0bcdcd")-1] = 15 // the section's size
	if _, _, _, err := RewriteSplit(p, bounds); err == nil || !strings.Contains(err.Error(), "the host's") {
		t.Error(err)
	}
}
