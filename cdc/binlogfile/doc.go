// Package binlogfile is a source over binlog files: for replay, for rescue, for
// the demo and for tests. It reads the files in the order given and ends behind
// the last one.
//
// A position is a file's base name and an offset, so that files may move to
// another directory between runs. Transactions are named by their GTIDs where
// the log has them.
//
// Neighbours: cdc/mysql/binlog reads files and rows; cdc/mysql/assemble makes
// the batches.
package binlogfile
