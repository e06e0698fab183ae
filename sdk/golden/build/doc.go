// Program build builds the golden guests from sdk/c, sdk/rust and
// sdk/assemblyscript into sdk/golden, and notes what they were built from in
// built.json. It runs in the root of the repository: `make guests`.
//
// It needs Debian's clang, lld and rustc with libstd-rust-dev-wasm32, and npm.
// CLANG, WASM_LD, RUSTC and NPM name others.
//
// Neighbours: sdk/golden has the modules and tests that they are fresh.
package main
