// Package snapshot copies tables beside the stream of their changes, without
// locks and without writing to the database, so that the two together tell each
// row once and never show an older image behind a newer one.
//
// A Copier stands between a source's log and the pipeline. Stream passes the
// log's batches on; Run reads the tables in chunks, by connections of its own,
// and puts their rows, batch by batch as they come, between two of the stream's
// transactions, less those that the stream has told about meanwhile. How far the copy has come is a
// Cursor, which travels in every position: what was delivered last says where
// both go on. docs/design/snapshots.md has the algorithm and why it is right.
//
// Run copies what the configuration asks for, Serve what people ask for while the
// stream runs; the cursor has both.
//
// Neighbours: sources implement Database and Conn (cdc/mysql on cdc/mysql/scan)
// and attach the cursor to their positions; runtime/pipeline sees batches like
// all others, whose transactions are one row each.
package snapshot
