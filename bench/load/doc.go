// Package load fills a private MySQL with the rows that the benchmarks move.
//
// Neighbours: see bench, which runs it.
package load
