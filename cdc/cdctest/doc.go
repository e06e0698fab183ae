// Package cdctest has three things: Conform, the suite that every source passes;
// a scripted source: a log made of Go values, for tests and benchmarks of what
// comes behind a source; and Probes, the matrix of column types with the text
// that a server prints for each edge value, from which docs/reference/types.md is
// made.
//
// Neighbours: implements cdc.Source; used by tests of cdc/... and runtime/... No
// code that ships imports it.
package cdctest

//go:generate go test . -run TestTypesPage -update
