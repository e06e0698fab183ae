// Package state keeps everything that is durable and local, in one Pebble
// store for the whole daemon: checkpoints, table definitions, dead letters,
// connector values and the configuration of steps. DESIGN.md has the layout of
// the keys and what happens when the disk fails.
//
// The store is a hint about delivery, never the truth: what has been delivered
// is known only from the sink.
//
// Neighbours: runtime opens the store; runtime/pipeline writes through Pipeline;
// cdc sources get Schemas as their SchemaStore. state imports neither.
package state
