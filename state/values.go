package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/sdk"
)

// errValue is wrapped by what is wrong with a stored value.
var errValue = errors.New("not a value of this layout")

// valueVersion is the first byte of every value; an encoding that changes gets
// a new number and keeps being read.
const valueVersion byte = 1

// schemaIDMax bounds the schema ids that a stored row may name.
const schemaIDMax = 1 << 20

func encodeJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append([]byte{valueVersion}, b...), err
}

func decodeJSON(p []byte, v any) error {
	if len(p) == 0 || p[0] != valueVersion {
		return errValue
	}
	if err := json.Unmarshal(p[1:], v); err != nil {
		return fmt.Errorf("%w: %w", errValue, err)
	}
	return nil
}

func appendBytes[T string | []byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

// fields reads a sequence of uvarints and of byte strings with their lengths.
type fields struct {
	p   []byte
	bad bool
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.p)
	if n <= 0 {
		f.p, f.bad = nil, true
		return 0
	}
	f.p = f.p[n:]
	return v
}

func (f *fields) int() int64 {
	v, n := binary.Varint(f.p)
	if n <= 0 {
		f.p, f.bad = nil, true
		return 0
	}
	f.p = f.p[n:]
	return v
}

func (f *fields) byte() byte {
	if len(f.p) == 0 {
		f.bad = true
		return 0
	}
	v := f.p[0]
	f.p = f.p[1:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.uint()
	if n > uint64(len(f.p)) {
		f.p, f.bad = nil, true
		return nil
	}
	v := f.p[:n:n]
	f.p = f.p[n:]
	return v
}

// encodeSchema: version | position | the source's record.
func encodeSchema(behind sdk.Position, record []byte) []byte {
	return append(appendBytes([]byte{valueVersion}, string(behind)), record...)
}

// decodeSchema returns a view of p as the record.
func decodeSchema(p []byte) (behind sdk.Position, record []byte, err error) {
	if len(p) < 1 || p[0] != valueVersion {
		return "", nil, errValue
	}
	f := fields{p: p[1:]}
	behind = sdk.Position(f.bytes())
	if f.bad {
		return "", nil, errValue
	}
	return behind, f.p, nil
}
