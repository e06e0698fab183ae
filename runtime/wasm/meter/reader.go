package meter

import (
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// reader reads a stretch of a module: p ends with the stretch, and at counts
// from the beginning of the module. After the first error it stands still and
// returns zeros.
type reader struct {
	p   []byte
	at  int
	err error
}

// unsupported refuses an instruction or a form that is not understood: what
// can't be metered must not run.
func (r *reader) unsupported(at int, f Feature, format string, args ...any) {
	if r.err == nil {
		r.err = f.Refuse("%s at offset %d of the module", fmt.Sprintf(format, args...), at)
	}
}

// refuse ends reading: the module is malformed, or beyond a limit.
func (r *reader) refuse(format string, args ...any) {
	if r.err == nil {
		r.err = fault.New(fault.Config, "module_refused", "",
			"build the connector anew with an up-to-date toolchain; a file that was cut short looks like this too",
			"the module is malformed or beyond a limit: %s at offset %d", fmt.Sprintf(format, args...), r.at)
	}
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.p) }

func (r *reader) u8() byte {
	if !r.more() {
		r.refuse("cut short")
		return 0
	}
	r.at++
	return r.p[r.at-1]
}

func (r *reader) skip(n int) {
	if r.err == nil && n > len(r.p)-r.at {
		r.refuse("%d bytes announced, %d left", n, len(r.p)-r.at)
	}
	if r.err == nil {
		r.at += n
	}
}

// u32 reads an unsigned LEB128 number of up to 5 bytes.
func (r *reader) u32() uint32 {
	v := uint64(0)
	for shift := 0; shift < 35; shift += 7 {
		b := r.u8()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				r.refuse("not a number of 32 bits")
				return 0
			}
			return uint32(v)
		}
	}
	r.refuse("not a number of 32 bits")
	return 0
}

// index reads an index of something of which there are n.
func (r *reader) index(what string, n int) uint32 {
	v := r.u32()
	if r.err == nil && uint64(v) >= uint64(n) {
		r.refuse("%s %d of %d", what, v, n)
		return 0
	}
	return v
}

// number skips a signed LEB128 number of up to most bytes.
func (r *reader) number(most int) {
	for range most {
		if r.u8() < 0x80 {
			return
		}
	}
	r.refuse("a number of more than %d bytes", most)
}

// zero reads a byte that the format reserves.
func (r *reader) zero() {
	if at := r.at; r.u8() != 0 {
		r.unsupported(at, MultiMemory, "a second memory")
	}
}

// count reads the length of a vector whose elements have a byte at least.
func (r *reader) count(what string, most int) int {
	n := r.u32()
	if r.err == nil && (uint64(n) > uint64(most) || uint64(n) > uint64(len(r.p)-r.at)) {
		r.refuse("%d %s in %d bytes; the limit is %d", n, what, len(r.p)-r.at, most)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// vector returns a vector of bytes.
func (r *reader) vector() []byte {
	n := r.u32()
	from := r.at
	r.skip(int(n))
	if r.err != nil {
		return nil
	}
	return r.p[from:r.at]
}

// valueType reads a type of a value: numbers, vectors, references.
func (r *reader) valueType() byte {
	at := r.at
	t := r.u8()
	if !isValueType(t) {
		r.unsupported(at, FeatureOfType(t), "type %#x", t)
	}
	return t
}

func isValueType(t byte) bool { return t >= 0x7b && t <= 0x7f || isRefType(t) }

func isRefType(t byte) bool { return t == 0x70 || t == 0x6f }
