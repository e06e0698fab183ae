// Package binlogfile is a source over binlog files: for replay, for rescue, for
// the demo and for tests. It reads the files in the order given and ends behind
// the last one.
//
// A file may be packed by gzip, and a directory stands for the log files in it.
// A position is a file's base name and an offset in its content, so that files
// may move to another directory, and be packed, between runs. Transactions are named by their GTIDs where
// the log has them.
//
// Neighbours: cdc/mysql/binlog reads files and rows; cdc/mysql/assemble makes
// the batches.
package binlogfile
