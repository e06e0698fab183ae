// Package meter rewrites WebAssembly modules so that they count what they do
// and ask the host to go on: at function entries and loops a module pays for
// the instructions that follow, and calls the host when what it was given is
// used up, or when it has recursed too deep. The host can then refill, or end
// it. Function bodies, which are untrusted, are vetted in the same pass.
//
// A module may run on any engine afterwards; it gains an import
// (HostModule.HostFunc), a mutable global that it exports (FuelGlobal), and
// loses its custom sections.
//
// Neighbours: runtime/wasm rewrites modules before it compiles them, and is the
// host. It vets what surrounds the bodies before.
package meter
