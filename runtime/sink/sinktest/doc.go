// Package sinktest makes groups of messages for tests of sinks, and holds the
// conformance suite that every sink passes.
//
// Neighbours: tests of sink/jetstream, sink/stdout, sink/file and of new sinks.
package sinktest
