package wasm

import (
	"testing"
	"time"
)

func TestReceiptString(t *testing.T) {
	r := Receipt{MemoryBytesUnmapped: 4 << 20, Took: 390_861 * time.Nanosecond}
	if got, want := r.String(), "4.0 MiB unmapped in 391µs, nothing left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.GoroutinesLeft = 1
	if got, want := r.String(), "4.0 MiB unmapped in 391µs, LEFT: 0 mappings, 1 calls, 0 handles"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
