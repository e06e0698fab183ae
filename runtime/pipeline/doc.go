// Package pipeline is the one loop: read, process, publish, commit. A Pipeline
// takes a source, steps, a format and a sink, and moves rows from the first to
// the last so that what the sink holds is at any moment a prefix of what one
// undisturbed run would have written.
//
// DESIGN.md has the goroutines, the resume and the shape of messages;
// docs/design/order-of-writes.md the order in which things become durable.
// Only this package decides between retry, dead letter and halt.
//
// Neighbours: cdc (sources), runtime/format, runtime/sink, state; runtime
// builds a Pipeline out of them and adapts runtime/wasm's steps to Step.
package pipeline
