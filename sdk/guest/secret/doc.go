// Package secret gives a connector the secrets of its step: keys and tokens that
// `with:` is no place for, because it is shown. Importing it makes the module ask
// for the capability "secret": its manifest must list it and the step's
// configuration grant it and say `secrets: {name: ${env:NAME}}`.
//
// The host neither logs a secret nor keeps it in the image that instances start
// from. What the connector does with it is the connector's.
//
// Neighbours: runtime/wasm (the other side).
package secret
