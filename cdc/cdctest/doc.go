// Package cdctest has two things: Conform, the suite that every source passes,
// and a scripted source: a log made of Go values, for tests and
// benchmarks of what comes behind a source.
//
// Neighbours: implements cdc.Source; used by tests of runtime/... No code that
// ships imports it.
package cdctest
