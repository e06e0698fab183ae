// Package testserver starts private, real servers for tests: MySQL, MariaDB
// and NATS, each in its own process with its own data directory and its own
// port on 127.0.0.1.
//
// They are separate processes so that a test can do to them what an outage
// does: Kill is SIGKILL, Pause is SIGSTOP, Restart comes back on the same port
// and data. Every process dies with the test binary, whatever ends it.
//
//	db := testserver.MySQL(t, testserver.Args("--binlog-row-image=MINIMAL"))
//	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.a (id INT PRIMARY KEY)")
//	db.Kill()
//	db.Restart(t)
//
// A Proxy does to a connection what networks do, SmallDisk is a disk that can be
// filled, and StartWithClock gives a process a wall clock that can be set.
//
// A database starts from a copy of a data directory that is initialised once
// for each server version and kept in the user's cache directory. `make
// servers` installs what is missing; without a server the test is skipped with
// a message that says so, or fails when CI=true or
// CDCD_TEST_REQUIRE_SERVERS=1. Under `go test -short` no server is started.
//
// Neighbours: used by tests of cdc/..., runtime/... and cmd/..., imports
// nothing of the module. No code that ships imports it.
package testserver
