// Program snapshot weighs the copy of a table against a plain reader of it, by as
// many connections, in turns on one machine, and prints the ratio:
//
//	go run ./bench/snapshot -rows 2000000 -workers 4 -runs 3 -server mysql
//
// The copy is the whole of what the source does: it plans and divides the table,
// reads chunks between marks, and puts them between the log's transactions as
// batches. The plain reader is go-mysql's client, which streams one range of the
// primary key for each connection and looks at every value. What the binary makes
// of the same table with `snapshot: only` is there for information. The last line
// is one object of JSON.
//
// Neighbours: bench/load fills the table, bench/jobs runs the binary, bench/host
// stands in for a test.
package main
