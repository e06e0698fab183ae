package secret

import "unsafe"

//go:wasmimport cdcd:secret/1 get
func hostGet(name unsafe.Pointer, nameLen uint32, buf unsafe.Pointer, bufLen uint32) int32

func get(name string) (string, bool) {
	buf := make([]byte, 1<<10)
	for {
		n := hostGet(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)))
		if n < 0 {
			return "", false
		}
		if int(n) <= len(buf) {
			return string(buf[:n]), true
		}
		buf = make([]byte, n)
	}
}
