// Package manifest writes and reads the custom section "cdcd:manifest" of a
// WebAssembly module: what a connector says of itself, readable without
// compiling or running it. It imports the standard library and sdk only.
//
// Neighbours: sdk (the Manifest type), sdk/manifest/stamp (the build step),
// runtime/wasm (reads it before anything else).
package manifest
