// Package sdk is the leaf that every part of cdcd may import, and the whole
// vocabulary that connectors, sources and sinks share: the batch of changed
// rows and its byte layout, table schemas, values, opaque positions, verdicts,
// errors and the constants of the connector ABI.
//
// It imports the standard library only, so that it builds natively and to
// WebAssembly alike, and it starts nothing and keeps no state.
//
// Neighbours: sdk/guest (what a Go connector links), runtime/wasm (the host
// side of the ABI), cdc (sources fill batches), runtime/format and
// runtime/sink (render and deliver them).
package sdk
