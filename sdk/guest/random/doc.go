// Package random gives a connector random bytes that repeat: a batch that is run
// again gets the same, and every other batch, step and pipeline others. Importing
// it makes the module ask for the capability "random": its manifest must list it
// and the step's configuration grant it. Go's math/rand and crypto/rand draw from
// the same source without asking, through WASI.
//
// The bytes are no secret: who knows the pipeline's name and the row can make them.
//
// Neighbours: runtime/wasm (the other side).
package random
