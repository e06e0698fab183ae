// Cdcd is the binary: one file per verb, each of which parses its flags, builds
// what it needs, runs it and turns the outcome into lines and an exit code.
//
// Neighbours: everything below; nothing imports it.
package main

//go:generate go run ../../internal/kindsgen ../.. kinds_gen.go
