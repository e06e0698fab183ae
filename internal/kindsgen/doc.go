// Kindsgen writes the list of kinds that the cdcd binary knows: every package
// below cdc, runtime/sink and runtime/format that has a function Kind. A new
// kind is a new folder and `go generate ./cmd/cdcd`.
//
// Neighbours: cmd/cdcd holds what it writes; it imports nothing of the module.
package main
