// Package stream delivers to one JetStream stream: it makes the stream or
// checks the one that is there, is chain.Log on a connection, and looks the
// stream over afterwards. What the stream is like and which messages go where,
// the kinds of sink that are built on it say.
//
// Neighbours: sink/chain is the protocol; sink/jetstream and sink/kv are the
// kinds. See DESIGN.md.
package stream
