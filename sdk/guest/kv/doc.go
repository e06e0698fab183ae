// Package kv keeps a connector's own values from batch to batch, and over
// restarts: counters, sets of what was seen, last states. Importing it makes the
// module ask for the capability "kv": its manifest must list it and the step's
// configuration grant it.
//
// The values belong to the pipeline and the step. They are made durable with the
// batch, before its messages go out, and taken back with rows whose messages did
// not arrive; so they are at each row what they were when it was first run. What
// a connector writes for a row that it then refuses does not count.
//
// A key has 1 to 1,024 bytes, a value up to 64 KiB. One batch may do 10,000
// operations and write 4 MiB, and a step keep limits.kv (1 GiB by default): who
// passes one of these is stopped with a fault that names it.
//
// Outside WebAssembly the values are in memory, for tests: Reset forgets them.
// Only Connector.Row may use the package: there is no batch elsewhere.
//
// Neighbours: sdk/guest (which row is in hand), runtime/wasm (the other side).
package kv
