// Command mask is a connector that hides the values of columns: it hashes them,
// blots them out, nulls them or keeps a few characters (README.md).
//
// Neighbours: sdk and sdk/guest, which it is built from; sdk/sdktest runs its
// cases; runtime/wasm runs it.
package main
