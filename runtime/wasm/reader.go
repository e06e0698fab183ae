package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// reader reads the WebAssembly binary format. After the first thing that is
// wrong it is bad and returns zeros.
type reader struct {
	p   []byte
	bad bool
	why string
}

func (r *reader) fail(format string, args ...any) {
	if !r.bad {
		r.bad, r.why = true, fmt.Sprintf(format, args...)
	}
}

func (r *reader) refuse() error {
	return fault.New(fault.Config, "module_refused", "", "build the connector anew with an up-to-date toolchain; a file that was cut short looks like this too",
		"the module is malformed or beyond a limit: %s", r.why)
}

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.p)) {
		r.fail("%d bytes announced, %d left", n, len(r.p))
	}
	if r.bad {
		return nil
	}
	v := r.p[:n]
	r.p = r.p[n:]
	return v
}

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
		r.fail("not a number")
		return 0
	}
	r.p = r.p[n:]
	return uint32(v)
}

func (r *reader) name() string { return string(r.take(r.u32())) }

// count reads the length of a vector; each element takes a byte at least.
func (r *reader) count(what string, most uint32) int {
	n := r.u32()
	if n > most {
		r.fail("%d %s; the limit is %d", n, what, most)
	} else if uint64(n) > uint64(len(r.p)) {
		r.fail("%d %s announced in %d bytes", n, what, len(r.p))
	}
	if r.bad {
		return 0
	}
	return int(n)
}

// limits reads the limits of a table or a memory. Only plain ones are allowed:
// no shared or 64-bit memories.
func (r *reader) limits() (from, to uint32) {
	switch flag := r.u8(); flag {
	case 0:
		return r.u32(), 0
	case 1:
		return r.u32(), r.u32()
	default:
		r.fail("limits of kind %d: shared and 64-bit memories are not allowed", flag)
		return 0, 0
	}
}
