// Package chain is the delivery protocol of streams whose broker can compare
// and swap on the last sequence: anchor and chain. It decides what is sent,
// what the stream has, and where to resume; it does no I/O of its own.
//
// Neighbours: sink/stream implements Log on a connection and is otherwise a
// thin cover of Chain. See DESIGN.md here, and docs/design/anchor-and-chain.md.
package chain
