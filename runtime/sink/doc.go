// Package sink is the contract between the pipeline and a place where messages
// go: claim it, learn what it already has, publish groups in order, wait for
// what is confirmed.
//
// Neighbours: sink/chain (anchor and chain), sink/jetstream, sink/stdout and
// sink/file implement Sink; runtime/pipeline uses it; state keeps the tokens
// that sinks return.
package sink
