package metrics

import "unsafe"

//go:wasmimport cdcd:metrics/1 declare
func hostDeclare(kind uint32, name unsafe.Pointer, nameLen uint32, bounds unsafe.Pointer, count uint32) int32

//go:wasmimport cdcd:metrics/1 add
func hostAdd(id int32, v float64) int32

//go:wasmimport cdcd:metrics/1 set
func hostSet(id int32, v float64) int32

//go:wasmimport cdcd:metrics/1 observe
func hostObserve(id int32, v float64) int32

func declare(kind uint32, name string, bounds []float64) int32 {
	return hostDeclare(kind, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)),
		unsafe.Pointer(unsafe.SliceData(bounds)), uint32(len(bounds)))
}

func add(id int32, v float64)     { hostAdd(id, v) }
func set(id int32, v float64)     { hostSet(id, v) }
func observe(id int32, v float64) { hostObserve(id, v) }
