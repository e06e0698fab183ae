// Package demo holds the recordings that `cdcd demo` replays: binlog files of a
// small shop, written by a real MySQL 9.7 and a real MariaDB 10.11. See
// examples/demo/record.
//
// Neighbours: cmd/cdcd embeds it; it imports nothing of the module.
package demo
