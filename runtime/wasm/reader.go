package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// reader reads the WebAssembly binary format. After the first thing that is
// wrong it has an error and returns zeros. Until then it allocates nothing.
type reader struct {
	p   []byte
	err error
}

// fail refuses the module: it is malformed or beyond a limit.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = refused(fmt.Sprintf(format, args...))
	}
}

func refused(why string) error {
	return fault.New(fault.Config, "module_refused", "", "build the connector anew with an up-to-date toolchain; a file that was cut short looks like this too",
		"the module is malformed or beyond a limit: %s", why)
}

// unsupported refuses the module for a proposal that it uses.
func (r *reader) unsupported(f meter.Feature, format string, args ...any) {
	if r.err == nil {
		r.err = f.Refuse(format, args...)
	}
}

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.p)) {
		r.fail("%d bytes announced, %d left", n, len(r.p))
	}
	if r.err != nil {
		return nil
	}
	v := r.p[:n]
	r.p = r.p[n:]
	return v
}

func (r *reader) skip(n int) { r.take(uint32(n)) }

func (r *reader) u8() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	v, n := binary.Uvarint(r.p[:min(len(r.p), 5)])
	if n <= 0 || v > 1<<32-1 {
		r.fail("a number is cut short or has more than 32 bits")
		return 0
	}
	r.p = r.p[n:]
	return uint32(v)
}

// index reads an index of something of which there are n.
func (r *reader) index(what string, n int) uint32 {
	v := r.u32()
	if r.err == nil && uint64(v) >= uint64(n) {
		r.fail("%s %d of %d", what, v, n)
	}
	return v
}

// name reads a name; the bytes are the module's.
func (r *reader) name() []byte {
	n := r.u32()
	if n > nameBytesMax {
		r.fail("a name has %d bytes; the limit is %d", n, nameBytesMax)
	}
	return r.take(n)
}

// length reads the length of a vector that has been surveyed; of no section, 0.
func (r *reader) length() int {
	if len(r.p) == 0 {
		return 0
	}
	return int(r.u32())
}

// count reads the length of a vector; each element takes a byte at least.
func (r *reader) count(what string, most int) int {
	n := r.u32()
	if uint64(n) > uint64(most) {
		r.fail("%d %s; the limit is %d", n, what, most)
	} else if uint64(n) > uint64(len(r.p)) {
		r.fail("%d %s announced in %d bytes", n, what, len(r.p))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// limits reads the limits of a table or a memory. Only plain ones are allowed:
// no shared or 64-bit memories.
func (r *reader) limits(of string) (from, to uint32) {
	switch flag := r.u8(); flag {
	case 0:
		return r.u32(), 0
	case 1:
		return r.u32(), r.u32()
	default:
		r.unsupported(meter.FeatureOfLimits(flag), "the limits of a %s are of kind %d", of, flag)
		return 0, 0
	}
}

// constant skips a constant expression: one instruction that gives an i32, and
// the end.
func (r *reader) constant() {
	switch op := r.u8(); op {
	case 0x41: // i32.const
		for n := 0; r.u8() >= 0x80 && r.err == nil; n++ {
			if n == 4 {
				r.fail("a number has more than 32 bits")
			}
		}
	case 0x23: // global.get
		r.u32()
	default:
		r.fail("opcode %#02x where a constant address is expected", op)
	}
	if end := r.u8(); end != 0x0b && r.err == nil {
		r.unsupported(meter.ExtendedConst, "a constant address is computed by several instructions")
	}
}
