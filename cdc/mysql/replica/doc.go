// Package replica speaks to a server as a replica does: it connects, asks a few
// questions in SQL, and then receives the binary log as raw events, blocking in
// the reader's own goroutine. It starts none of its own that outlives a call,
// and never kills sessions on the server: closing the socket is enough.
//
// go-mysql's client does the handshake and the SQL; the dump itself is read
// here, so that an event too large is refused by its announced length, nothing
// is allocated per event, and the reader learns when nothing more is buffered
// on the socket (which is when a batch should go out).
//
// Neighbours: cdc/mysql runs it and gives the events to cdc/mysql/assemble.
package replica
