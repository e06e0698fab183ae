// Command number is a connector that numbers the changes of each key, in a
// header: 1, 2, 3, without a gap, over restarts (README.md).
//
// Neighbours: sdk, sdk/guest and sdk/guest/kv, which it is built from;
// sdk/sdktest runs its cases; runtime/wasm runs it.
package main
