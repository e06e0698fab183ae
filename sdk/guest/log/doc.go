// Package log writes to the pipeline's log from a connector. Importing it makes
// the module ask for the capability "log": its manifest must list it and the
// step's configuration grant it, otherwise the module does not load.
//
// Neighbours: sdk/guest (what every connector links; this is apart because an
// import can't be optional), runtime/wasm (the other side).
package log
