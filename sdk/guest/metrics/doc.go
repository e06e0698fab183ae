// Package metrics counts what a connector does, for the operator: Prometheus
// shows it as cdcd_connector_NAME with the labels pipeline and step. Importing it
// makes the module ask for the capability "metrics": its manifest must list it
// and the step's configuration grant it.
//
// A connector may have 32 metrics, without labels of their own. They are declared
// in Init, and changed in Row. What a batch changes counts once it has been
// transformed: a batch that is run again counts once. Numbers begin at 0 with
// each start of the pipeline.
//
// Outside WebAssembly nothing is counted but Value, for tests.
//
// Neighbours: runtime/wasm (the other side), runtime/telemetry (which shows them).
package metrics
