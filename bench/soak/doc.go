// Program soak proves that what a job had is gone when it ends: it loads and
// unloads modules in C, Rust, AssemblyScript and Go through the host as the daemon
// does, hundreds of thousands of times, and looks at the process's memory, machine
// code, goroutines and descriptors.
//
//	go run ./bench/soak -cycles 300000
//	go run ./bench/soak -jobs 5000
//	go run ./bench/soak -batch 5000
//
// With -jobs it runs whole pipelines instead, from a MySQL of its own into an
// embedded JetStream; with -batch, pipelines of one daemon that run by a schedule.
// A naive run beside it, in a process of its own, shows what
// the same work leaves behind when the engine is used in the obvious way. The
// last line of output is one object of JSON; docs/benchmarks.md says what its
// keys mean. The exit code is 1 when something grew.
//
// Neighbours: sdk/golden and sdk/guest/upper are the guests, runtime/wasm the host,
// runtime the daemon, bench/host stands in for a test.
package main
