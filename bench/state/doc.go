// Command state measures what the local state and its copies cost: the memory of
// the store, the throughput that copies to an object store take from a job whose
// connector writes to the state with every batch, and how long a state takes to
// come back. The last line is JSON.
//
// Neighbours: bench/jobs runs the jobs; internal/testserver the object store.
package main
