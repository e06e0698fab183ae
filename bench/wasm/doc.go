// Program wasm measures the WebAssembly host against the bare engine, side by
// side in one run: what metering costs and what the engine's own way of stopping
// a guest costs, what a row costs in each of the four languages, what an instance
// costs in time and memory, and what loading a module does.
//
//	go run ./bench/wasm
//
// People read the lines; the last one is one object of JSON. docs/benchmarks.md
// says what its keys mean. Contestants take turns and the best of their rounds
// counts: what a neighbour on the machine takes is nobody's doing.
//
// Neighbours: sdk/golden and sdk/guest/upper are the guests, runtime/wasm and its
// meter what is measured; bench/soak looks at what is left behind.
package main
