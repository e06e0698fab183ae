// Package assemble makes batches of transactions out of the raw events of a
// binary log, in the log's order. It keeps the position, knows where
// transactions begin and end on both flavours of server, follows the tables of
// a filter, and stops with a fault at everything that it can't read rightly.
//
// Neighbours: cdc/mysql feeds it from a connection and cdc/binlogfile from
// files; cdc/mysql/binlog decodes events and rows; what it emits goes to
// runtime/pipeline.
package assemble
