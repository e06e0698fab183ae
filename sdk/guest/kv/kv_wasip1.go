package kv

import (
	"encoding/binary"
	"unsafe"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

//go:wasmimport cdcd:kv/1 get
func hostGet(key unsafe.Pointer, keyLen uint32, buf unsafe.Pointer, bufLen uint32) int32

//go:wasmimport cdcd:kv/1 put
func hostPut(row uint32, key unsafe.Pointer, keyLen uint32, value unsafe.Pointer, valueLen uint32) int32

//go:wasmimport cdcd:kv/1 delete
func hostDelete(row uint32, key unsafe.Pointer, keyLen uint32) int32

//go:wasmimport cdcd:kv/1 scan
func hostScan(prefix unsafe.Pointer, prefixLen uint32, after unsafe.Pointer, afterLen uint32, buf unsafe.Pointer, bufLen uint32) int64

//go:wasmimport cdcd:kv/1 undo
func hostUndo(row uint32) int32

// buf takes values and scanned entries.
var buf = make([]byte, 4<<10)

// What is written for a row that is refused does not count.
var _ = func() bool {
	guest.Follow(nil, func(row int) { hostUndo(uint32(row)) })
	return true
}()

func data(p []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(p)) }

// room makes buf hold n bytes.
func room(n int) {
	if len(buf) < n {
		buf = make([]byte, max(n, 2*len(buf)))
	}
}

func get(key []byte) ([]byte, bool, error) {
	for {
		n := hostGet(data(key), uint32(len(key)), data(buf), uint32(len(buf)))
		switch {
		case n == sdk.CapNotFound:
			return nil, false, nil
		case n < 0:
			return nil, false, failure(n)
		case int(n) <= len(buf):
			return buf[:n], true, nil
		}
		room(int(n))
	}
}

func put(key, value []byte) error {
	row, _ := guest.CurrentRow()
	return failure(hostPut(uint32(row), data(key), uint32(len(key)), data(value), uint32(len(value))))
}

func remove(key []byte) error {
	row, _ := guest.CurrentRow()
	return failure(hostDelete(uint32(row), data(key), uint32(len(key))))
}

func scan(prefix, after []byte, f func(key, value []byte) bool) error {
	after = append([]byte(nil), after...)
	for {
		n := hostScan(data(prefix), uint32(len(prefix)), data(after), uint32(len(after)), data(buf), uint32(len(buf)))
		if n < 0 {
			return failure(int32(n))
		}
		entries, used := sdk.Unpack(n)
		if entries == 0 {
			if used == 0 {
				return nil
			}
			room(int(used))
			continue
		}
		for p := buf[:used]; len(p) > 0; {
			k := p[8 : 8+binary.LittleEndian.Uint32(p)]
			v := p[8+len(k) : 8+len(k)+int(binary.LittleEndian.Uint32(p[4:]))]
			if !f(k, v) {
				return nil
			}
			after = append(after[:0], k...)
			p = p[8+len(k)+len(v):]
		}
	}
}

func failure(code int32) error {
	switch code {
	case sdk.CapNoBatch:
		return ErrNoBatch
	case sdk.CapTooLarge:
		return ErrValue
	case sdk.CapInvalid:
		return ErrKey
	}
	return nil
}
