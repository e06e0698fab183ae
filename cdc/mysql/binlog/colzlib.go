package binlog

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
)

var (
	errColumnZlib = errors.New("the value is not what a COMPRESSED column holds")
	errColumnSize = errors.New("the value of a COMPRESSED column has more bytes than event_bytes_max")
)

// columnZlib expands the values of MariaDB's COMPRESSED columns: a byte of
// method (high four bits; 0 as they are, 8 zlib), bit 3 for a stream without
// zlib's frame, and bytes of the length that follows, big-endian. An empty value
// has no header. Source: sql/field_comp.cc.
type columnZlib struct {
	framed, raw io.Reader
	src         bytes.Reader
	max         int    // bytes of a value
	buf         []byte // of the last value
}

// expand returns the value: a view of v, or good until the next call.
func (z *columnZlib) expand(v []byte) ([]byte, error) {
	if len(v) == 0 {
		return nil, nil
	}
	head, v := v[0], v[1:]
	if head>>4 == 0 {
		return v, nil
	}
	lenlen, size := int(head&7), 0
	if head>>4 != 8 || lenlen > 4 || lenlen > len(v) {
		return nil, errColumnZlib
	}
	for _, b := range v[:lenlen] {
		size = size<<8 | int(b)
	}
	if size > z.max {
		return nil, errColumnSize
	}
	r, err := z.open(v[lenlen:], head&8 != 0)
	if err != nil {
		return nil, errColumnZlib
	}
	// readSized grows its buffer with what comes, and deflate gives at most a
	// thousand bytes for one.
	if z.buf, err = readSized(r, z.buf, size); err != nil {
		return nil, errColumnZlib
	}
	return z.buf, nil
}

// open points a reader, made when first needed, at src.
func (z *columnZlib) open(src []byte, raw bool) (io.Reader, error) {
	z.src.Reset(src)
	if raw {
		if z.raw == nil {
			z.raw = flate.NewReader(&z.src)
			return z.raw, nil
		}
		return z.raw, z.raw.(flate.Resetter).Reset(&z.src, nil)
	}
	if z.framed == nil {
		r, err := zlib.NewReader(&z.src)
		if err != nil {
			return nil, err
		}
		z.framed = r
		return r, nil
	}
	return z.framed, z.framed.(zlib.Resetter).Reset(&z.src, nil)
}
