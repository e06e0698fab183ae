// Program bench measures cdcd against what it is to be weighed against, both in
// one run on one machine, and prints ratios: absolute figures move with the
// machine and with its neighbours, ratios much less.
//
//	go run ./bench -rows 1000000 -runs 5
//
// It needs the MySQL that `make servers` gets. People read the lines; the last
// one is one object of JSON. docs/benchmarks.md says what each figure means.
//
// Neighbours: bench/bareloop is the loop that it is weighed against, bench/load
// fills the database, bench/host stands in for a test.
package main
