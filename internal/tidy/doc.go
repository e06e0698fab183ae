// Package tidy holds the house rules as tests: which package may import which,
// how long files and functions may grow, what must be documented, and what may
// not appear at all. It has no code of its own; `go test ./internal/tidy` reads
// the repository's source, without compiling it, in a second.
//
// To allow something new, edit the tables in tables_test.go and say why there.
// Each rule is proved able to fail by its own small fixture.
//
// Neighbours: none. It imports nothing of the module, and nothing imports it.
package tidy
