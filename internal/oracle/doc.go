// Package oracle tells whether a stream is what the database did. It is support
// for tests and does not ship.
//
// A Workload changes a real database with several writers. What a row holds
// follows from its table, its key and its version, and the version rises by one
// with every change of the key, deletes included; so a Checker that reads the
// resulting stream knows of every single message what it must say and what must
// have come before, without keeping more than the latest row of each key. At
// the end it compares what it has folded together with the tables themselves.
//
// The tests here do harm to the real binary, real databases and real brokers
// while a Workload runs: TestTorture, which `make torture` runs for longer.
//
// Neighbours: internal/testserver (the databases and brokers, and the harm that
// is done to them); used by tests of cmd and runtime. It knows the product only
// through its messages, and imports none of its code but internal/testserver,
// so that it can't share an error with it.
package oracle
