// Package host lets a program use what is made for tests: internal/testserver
// wants a testing.TB, and a benchmark that runs two programs against each other
// is not a test.
//
// Neighbours: see bench, which runs it.
package host
