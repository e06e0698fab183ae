// Package clock tells a connector the time that its batch has. Importing it makes
// the module ask for the capability "clock": its manifest must list it and the
// step's configuration grant it. Package time gives the same without asking,
// through WASI; this says what it means.
//
// Time in a connector is not the machine's: a row that is run again must find the
// time that it was first run at.
//
// Neighbours: runtime/wasm (the other side).
package clock
