package meter

import "github.com/cdcd-io/cdcd/internal/fault"

// Feature is a proposal beyond WebAssembly 2.0 that connectors are not built
// with, because it can't be metered or bounded.
type Feature uint8

// The proposals that toolchains turn on, by the form of theirs that is met first.
const (
	Unknown Feature = iota
	Threads
	Memory64
	MultiMemory
	Exceptions
	TailCalls
	GC
	FunctionReferences
	RelaxedSIMD
	ExtendedConst
	OddAlignment
)

// features says for each proposal what it is called, and what to change in
// the toolchain.
var features = [...]struct{ name, hint string }{
	Unknown:            {"", "build the connector without proposals beyond WebAssembly 2.0, such as threads, tail calls, exceptions or relaxed SIMD"},
	Threads:            {"threads", "build for one thread: clang and Rust without -pthread, -matomics and +atomics, AssemblyScript without --sharedMemory"},
	Memory64:           {"64-bit memory", "build for 32-bit addresses: wasm32-wasip1 rather than wasm64, clang without -mmemory64"},
	MultiMemory:        {"several memories", "keep to one memory: don't merge modules with wasm-merge, and link without --enable-multimemory"},
	Exceptions:         {"exceptions", "build without WebAssembly exceptions: clang with -fno-exceptions -fno-wasm-exceptions, Rust with -C panic=abort"},
	TailCalls:          {"tail calls", "turn tail calls off: clang with -mno-tail-call, wasm-opt with --disable-tail-call"},
	GC:                 {"garbage-collected types", "build with a toolchain that brings its own collector: Go, Rust, C or AssemblyScript rather than Kotlin, Dart or OCaml for WasmGC"},
	FunctionReferences: {"typed function references", "turn typed function references off: wasm-opt with --disable-typed-function-references --disable-gc"},
	RelaxedSIMD:        {"relaxed SIMD", "turn relaxed SIMD off, its results differ from machine to machine: clang with -mno-relaxed-simd, Rust without +relaxed-simd"},
	ExtendedConst:      {"computed constants", "turn extended constants off: clang with -mno-extended-const, Rust with -C target-feature=-extended-const, and link without -shared"},
	OddAlignment:       {"an alignment that makes no sense", "build the connector anew with an up-to-date toolchain; bit 6 of an alignment means a second memory, which there is not"},
}

// String returns what people call the proposal.
func (f Feature) String() string { return features[f].name }

// Refuse returns the fault of a module that uses the feature: module_unsupported,
// with a hint that says what to change in the toolchain.
func (f Feature) Refuse(format string, args ...any) *fault.Fault {
	if f != Unknown {
		format += " (" + features[f].name + ")"
	}
	return fault.New(fault.Config, "module_unsupported", "", features[f].hint, format, args...)
}

// featureOf returns the proposal that an opcode is of.
func featureOf(op byte) Feature {
	switch {
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		return Exceptions
	case op == 0x12, op == 0x13:
		return TailCalls
	case op == 0x14, op == 0x15, op >= 0xd4 && op <= 0xd6:
		return FunctionReferences
	case op == 0xd3, op == 0xfb:
		return GC
	case op == 0xfe:
		return Threads
	}
	return Unknown
}

// FeatureOfType returns the proposal that a type, of a value or in the type
// section, is of.
func FeatureOfType(t byte) Feature {
	switch t {
	case 0x69, 0x74: // exnref, noexnref
		return Exceptions
	case 0x63, 0x64: // (ref null t), (ref t)
		return FunctionReferences
	}
	if t >= 0x4e && t <= 0x5f || t >= 0x6a && t <= 0x6e || t >= 0x71 && t <= 0x78 {
		return GC
	}
	return Unknown
}

// FeatureOfLimits returns the proposal that the flag before the limits of a
// memory or a table is of.
func FeatureOfLimits(flag byte) Feature {
	switch {
	case flag == 2, flag == 3:
		return Threads
	case flag >= 4 && flag <= 7:
		return Memory64
	}
	return Unknown
}
