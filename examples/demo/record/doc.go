// Package record makes the recordings that `cdcd demo` replays: it runs a small
// shop on private MySQL and MariaDB servers and keeps their binlog files. It
// is a test, because the servers belong to tests:
//
//	go test ./examples/demo/record -record
//
// Neighbours: examples/demo holds the files, cmd/cdcd replays them.
package record
