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
	// spans returns where in this process the machine code is; nil if that can't be told.
	spans() []span
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
	// resize grows the memory to the size.
	resize(bytes int64) bool
	// globals returns the module's own mutable globals, setGlobals puts them back.
	globals() []uint64
	setGlobals([]uint64)
	// close drops the instance; its memory is the arena's to unmap.
	close(ctx context.Context) error
	// handles counts the function handles that it holds: none once it is closed.
	handles() int
}

// hostFunc is a function that guests may import. mem is the whole of the
// caller's memory; stack holds the arguments and takes the result.
type hostFunc func(i *Instance, mem []byte, stack []uint64)

// instanceKey finds the calling Instance in the context of a guest call.
type instanceKey struct{}
