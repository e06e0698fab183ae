// Program decode weighs the decoder of cdc/mysql/binlog against go-mysql's on
// the same bytes in memory, in turns, on one core, and prints ratios:
//
//	go run ./bench/decode -runs 5
//
// Its logs are the recorded sakila load of ../shared/corpus, and an OLTP load that
// it writes itself into the MySQL that `make servers` gets: transactions of 16
// inserts and 16 updates, and rows of many types. The last line is one object of
// JSON; a figure is 0 where its log is not there.
//
// Neighbours: bench/load fills the database, bench/host stands in for a test.
package main
