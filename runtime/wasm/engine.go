package wasm

import "context"

// The engine is everything the host needs of a WebAssembly runtime. wazero.go
// has the one implementation.

// program is a compiled module.
type program interface {
	// instantiate makes an instance whose linear memory comes from mem. It runs
	// the module's start section, not _initialize. After an error nothing but
	// mem is left.
	instantiate(ctx context.Context, mem *arena) (guest, error)
	// close frees the code. No instance may be left.
	close(ctx context.Context) error
}

// guest is one instance. It is used by one goroutine at a time.
type guest interface {
	// has reports whether the module exports the function.
	has(f export) bool
	// call calls an exported function with up to two arguments, as many as it takes.
	call(ctx context.Context, f export, a, b uint64) (uint64, error)
	// setFuel gives the metered guest fuel for the next call.
	setFuel(n int64)
	// fuelLeft returns what it has not used; below zero, what it owes.
	fuelLeft() int64
	// view returns guest memory: good until the next call.
	view(addr, length uint32) ([]byte, bool)
	// close drops the instance; its memory is the arena's to unmap.
	close(ctx context.Context) error
}

// hostFunc is a function that guests may import. mem is the whole of the
// caller's memory; stack holds the arguments and takes the result.
type hostFunc func(i *Instance, mem []byte, stack []uint64)

// instanceKey finds the calling Instance in the context of a guest call.
type instanceKey struct{}
