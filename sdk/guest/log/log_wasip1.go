package log

import "unsafe"

//go:wasmimport cdcd:log/1 write
func hostWrite(level int32, text unsafe.Pointer, length uint32)

func write(level Level, message string) {
	hostWrite(int32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}
