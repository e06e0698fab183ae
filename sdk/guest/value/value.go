package value

import (
	"errors"
	"io"

	"github.com/cdcd-io/cdcd/sdk"
)

// ErrGone is what reading gives outside the call that the row came with.
var ErrGone = errors.New("the value belongs to a row that is not in hand")

// Reader reads the value of one column, large or not. It holds no copy of it:
// reading a value of 1 GiB takes as much memory as the buffer that is read into.
type Reader struct {
	image  sdk.Image
	column int
	offset uint32
}

// NewReader returns a Reader of column c, of a type that is not Inline. It is
// good until Row or Transform returns.
func NewReader(m sdk.Image, c int) *Reader { return &Reader{image: m, column: c} }

// Len returns the value's length in bytes.
func (r *Reader) Len() int {
	if _, n, large := r.image.IsLarge(r.column); large {
		return int(n)
	}
	return len(r.image.Bytes(r.column))
}

// Read implements io.Reader. Besides io.EOF its error is ErrGone.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, int64(r.offset))
	r.offset += uint32(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= int64(r.Len()) {
		return 0, io.EOF
	}
	n := 0
	if index, _, large := r.image.IsLarge(r.column); large {
		n = read(r, index, p, uint32(offset))
	} else {
		n = copy(p, r.image.Bytes(r.column)[offset:])
	}
	switch {
	case n < 0:
		return 0, ErrGone
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}
