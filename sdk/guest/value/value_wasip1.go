package value

import "unsafe"

//go:wasmimport cdcd:value/1 read
func hostRead(index, offset uint32, buf unsafe.Pointer, bufLen uint32) int32

func read(_ *Reader, index uint32, p []byte, offset uint32) int {
	return int(hostRead(index, offset, unsafe.Pointer(unsafe.SliceData(p)), uint32(len(p))))
}
