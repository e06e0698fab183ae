// Package wasm is the host of connectors: it vets modules, compiles them or
// takes the machine code from the disk cache, gives every instance its own
// bounded memory, calls it once per batch, checks all that it gives back, and
// frees everything when the instance goes (DESIGN.md).
//
// A Host is one per daemon. Load gives a Module, Module.Instantiate an
// Instance, and a Step is an instance with what a pipeline needs around it: the
// choice of rows, a fresh instance after a trap, the row that caused it.
//
// Neighbours: sdk (the batch and the ABI), sdk/manifest (what a module says of
// itself), runtime/pipeline (drives Steps and decides about refused rows),
// runtime (owns the Host). Its own parts: meter (rewrites modules so that they
// count what they do), apart (a limited child process, in which modules are
// compiled), codecache (machine code on disk). wazero is imported here and nowhere else.
package wasm
