// Program delivery measures how cdcd delivers: throughput and CPU against the
// hand-written loop, with and without a sync before each acknowledgement, the
// memory of one large transaction into a slow broker, and the time from a
// commit's return to a consumer's callback at 1,000 changes a second.
//
//	go run ./bench/delivery -rows 400000 -runs 3 -bigtxn 1024
//
// Everything is measured in one run on one machine; the last line is one object
// of JSON. docs/benchmarks.md says what each figure means.
//
// Neighbours: bench/jobs has the processes, bench/load the rows.
package main
