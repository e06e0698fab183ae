// Package examples has one folder for each runnable example. Its tests run
// every one of them, with the program that users run and the servers that they
// have.
//
// Neighbours: none; the examples are configurations for cmd/cdcd.
package examples
