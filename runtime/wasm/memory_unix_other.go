//go:build unix && !linux

package wasm

const mapNoReserve = 0

func systemMapsMax() int64 { return 0 }
