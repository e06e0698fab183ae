// Package golden holds guests in C, Rust and AssemblyScript as modules: the
// worked connectors of sdk/c, sdk/rust and sdk/assemblyscript, each a few KB,
// which are the same connector as sdk/guest/upper. `make guests` builds them
// anew; a test fails when a source has changed and its module has not.
//
// The modules under abi1 were built once and never are again: what was built for
// cdcd-abi-1 runs for ever, and they are how it is known.
//
// Neighbours: the three folders that they are built from; tests, bench and the
// host's own tests run them.
package golden
