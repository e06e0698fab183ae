//go:build !unix

package wasm

// Without mmap the memory is Go's: the collector gives it back.
func reserve(n int) ([]byte, error) { return make([]byte, n), nil }
func open([]byte) error             { return nil }
func release([]byte) error          { return nil }

func systemMapsMax() int64 { return 0 }
