package random

import "unsafe"

//go:wasmimport cdcd:random/1 fill
func hostFill(p unsafe.Pointer, n uint32) int32

func fill(p []byte) { hostFill(unsafe.Pointer(unsafe.SliceData(p)), uint32(len(p))) }
